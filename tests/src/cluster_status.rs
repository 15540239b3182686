//! The answer of `GET /v1/cluster/status`, read by its fields.
//!
//! Owns what "formed" means: it judges one answer, and says in words what is missing; and the waiting for it.

use crate::{
    client::Client,
    wait::{OnPanic, eventually_within},
};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeMap, time::Duration};

/// Replicas a partition once there are enough nodes.
const REPLICATION: usize = 3;

/// One answer.
#[derive(Debug, Clone)]
pub struct ClusterStatus(pub Value);

impl ClusterStatus {
    /// Asks a node; `None` while it cannot answer.
    pub async fn ask(admin: &Client) -> Option<Self> {
        let answer = admin.try_send("GET", "/v1/cluster/status", &[], None).await.ok()?;
        (answer.status == 200).then(|| Self(answer.json()))
    }

    /// Waits until a node shows a status for which `wanted` holds.
    ///
    /// # Panics
    /// When it does not within the deadline: with the last one.
    pub async fn until(admin: &Client, deadline: Duration, what: &str, wanted: impl Fn(&Self) -> bool) -> Self {
        let last = RefCell::new(None);
        let _say = OnPanic(|| eprintln!("{what}; the last status at {}: {:?}", admin.address, last.borrow()));
        eventually_within(deadline, what, async || {
            let status = Self::ask(admin).await?;
            let found = wanted(&status).then(|| status.clone());
            last.replace(Some(status));
            found
        })
        .await
    }

    /// Waits until each of these nodes shows a cluster that is [formed](Self::formed) of `members`.
    ///
    /// # Panics
    /// When it is not within `deadline`: with what is missing.
    pub async fn until_formed(admins: &[Client], members: &[&str], deadline: Duration) {
        let missing = RefCell::new(String::new());
        let _say = OnPanic(|| eprintln!("not formed: {}", missing.borrow()));
        eventually_within(deadline, "the cluster is formed", async || {
            for admin in admins {
                let formed = match Self::ask(admin).await {
                    Some(status) => status.formed(members),
                    None => Err("no status".into()),
                };
                if let Err(why) = formed {
                    missing.replace(format!("{} says {why}", admin.address));
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Whether the node calls the cluster healthy.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.0["healthy"] == true
    }

    /// The row of a node, `null` if there is none.
    #[must_use]
    pub fn node(&self, name: &str) -> &Value {
        self.nodes().iter().find(|n| n["name"] == name).unwrap_or(&Value::Null)
    }

    /// The state of a node, empty if it is not named.
    #[must_use]
    pub fn state(&self, name: &str) -> &str {
        self.node(name)["state"].as_str().unwrap_or_default()
    }

    /// The rows of the nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Value] {
        self.0["nodes"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The rows of the partitions.
    #[must_use]
    pub fn partitions(&self) -> &[Value] {
        self.0["partitions"].as_array().map_or(&[], Vec::as_slice)
    }

    /// How many partitions each node leads, by the partitions' own rows.
    #[must_use]
    pub fn led(&self) -> BTreeMap<String, usize> {
        let mut led = BTreeMap::new();
        for leader in self.partitions().iter().filter_map(|p| p["leader"].as_str()) {
            *led.entry(leader.to_owned()).or_insert(0) += 1;
        }
        led
    }

    /// How many partitions have a replica on each node.
    #[must_use]
    pub fn held(&self) -> BTreeMap<String, usize> {
        let mut held = BTreeMap::new();
        for name in self.partitions().iter().flat_map(replicas) {
            *held.entry(name.to_owned()).or_insert(0) += 1;
        }
        held
    }

    /// Whether every partition is healthy, has three replicas (one or two, of fewer than three nodes), all of them on `members` and
    /// evenly spread, with leaders within one of even, and nothing is under way.
    ///
    /// # Errors
    /// What is missing.
    pub fn formed(&self, members: &[&str]) -> Result<(), String> {
        for name in members {
            if self.state(name) != "up" {
                return Err(format!("{name} is {:?}", self.state(name)));
            }
        }
        // Two nodes keep one replica or, with a copy that has no vote, two.
        let wanted = if members.len() >= REPLICATION { REPLICATION..=REPLICATION } else { 1..=members.len() };
        for partition in self.partitions() {
            let held: Vec<&str> = replicas(partition).collect();
            let outside = held.iter().find(|name| !members.contains(name));
            if partition["healthy"] != true || !wanted.contains(&held.len()) || outside.is_some() {
                return Err(format!("not {wanted:?} healthy replicas on {members:?}: {partition}"));
            }
        }
        if self.partitions().is_empty() {
            return Err("no partitions are known".into());
        }
        if self.0["moves"].as_array().is_none_or(|moves| !moves.is_empty()) {
            return Err(format!("moves: {}", self.0["moves"]));
        }
        self.even(members)?;
        if self.healthy() { Ok(()) } else { Err("the cluster is not healthy".into()) }
    }

    /// Whether each member leads within one of its even share.
    fn even(&self, members: &[&str]) -> Result<(), String> {
        let led = self.led();
        let partitions = self.partitions().len();
        for name in members {
            let count = led.get(*name).copied().unwrap_or(0);
            // |count - partitions / members| <= 1, without fractions.
            if (count * members.len()).abs_diff(partitions) > members.len() {
                return Err(format!("leaders are not even: {led:?}"));
            }
        }
        Ok(())
    }
}

fn replicas(partition: &Value) -> impl Iterator<Item = &str> {
    partition["replicas"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(leaders: &[&str]) -> Value {
        let nodes: Vec<Value> = ["n1", "n2", "n3"].iter().map(|n| json!({"name": n, "state": "up"})).collect();
        let row = |leader: &&str| json!({"leader": leader, "replicas": ["n1", "n2", "n3"], "healthy": true});
        let partitions: Vec<Value> = leaders.iter().map(row).collect();
        json!({"healthy": true, "nodes": nodes, "partitions": partitions, "moves": []})
    }

    fn verdict(cluster: Value) -> Result<(), String> {
        ClusterStatus(cluster).formed(&["n1", "n2", "n3"])
    }

    #[test]
    fn an_even_cluster_of_three_is_formed() {
        assert_eq!(verdict(cluster(&["n1", "n1", "n1", "n2", "n2", "n2", "n3", "n3"])), Ok(()));
    }

    #[test]
    fn each_thing_that_is_missing_is_seen() {
        let even = ["n1", "n2", "n3", "n1", "n2", "n3"];
        assert!(verdict(cluster(&["n1", "n1", "n1", "n1", "n2", "n3"])).is_err(), "four of six");
        let planted: [fn(&mut Value); 6] = [
            |c| c["healthy"] = json!(false),
            |c| c["moves"] = json!([{"partition": 1}]),
            |c| c["nodes"][2]["state"] = json!("joining"),
            |c| c["partitions"][5]["replicas"] = json!(["n1", "n2"]),
            |c| c["partitions"][0]["replicas"] = json!(["n1", "n2", "n9"]),
            |c| c["partitions"][3]["healthy"] = json!(false),
        ];
        for (number, plant) in planted.into_iter().enumerate() {
            let mut ill = cluster(&even);
            assert_eq!(verdict(ill.clone()), Ok(()));
            plant(&mut ill);
            assert!(verdict(ill).is_err(), "{number}");
        }
    }
}
