//! `rollcall status`: the cluster as a table.
//!
//! Owns the columns. Promises to show what a node cannot confirm as `?`, never as a zero.

use super::{
    Failure,
    client::{self, Client, ClientError, Credentials, address},
    command_line::StatusOptions,
    stop,
};
use serde::Deserialize;
use std::{fmt::Write as _, io::Write as _, time::Duration};
use tokio::time::sleep;

/// How often `--watch` asks.
const REPEAT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Cluster {
    cluster_id: String,
    version: String,
    healthy: bool,
    nodes_up: Option<u32>,
    nodes_total: u32,
    ring: Ring,
    nodes: Vec<Node>,
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Ring {
    partitions: u32,
    replication: u32,
    epoch: u64,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    state: String,
    http: Option<String>,
    uptime_s: Option<u64>,
    sessions: Option<u64>,
    connections: Option<u64>,
    user_actors: Option<u64>,
    partitions_led: Option<u64>,
    partitions_held: Option<u64>,
    rss_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Partition {
    id: u32,
    leader: Option<String>,
    term: Option<u64>,
    users: Option<u64>,
    online: Option<u64>,
    healthy: bool,
}

/// Prints the status once, or until told to stop.
pub(crate) async fn run(options: &StatusOptions) -> Result<(), Failure> {
    let client = Client::new(address(&options.client.url).map_err(Failure::usage)?)?;
    let credentials = Credentials::of(&options.client).map_err(ClientError::from)?;
    loop {
        let token = credentials.admin().map_err(ClientError::from)?;
        let text = client.get(&token, "/v1/cluster/status").await?;
        let mut out = anstream::stdout();
        if options.json {
            writeln!(out, "{text}").map_err(Failure::output)?;
        } else {
            let cluster: Cluster = client::read(client.url(), &text)?;
            writeln!(out, "{}", table(&cluster)).map_err(Failure::output)?;
        }
        if !options.watch {
            return Ok(());
        }
        tokio::select! {
            () = stop::signalled() => return Ok(()),
            () = sleep(REPEAT) => {}
        }
    }
}

fn table(cluster: &Cluster) -> String {
    let health = if cluster.healthy { "healthy" } else { "not healthy" };
    let up = known(cluster.nodes_up);
    let ring = &cluster.ring;
    let mut text = format!(
        "cluster {} {health}, {up} of {} nodes up, {} partitions, replication {}, epoch {}, version {}\n",
        cluster.cluster_id, cluster.nodes_total, ring.partitions, ring.replication, ring.epoch, cluster.version
    );
    let mut rows = vec![
        ["node", "state", "http", "up s", "sessions", "connections", "actors", "led", "held", "MiB"].map(String::from),
    ];
    rows.extend(cluster.nodes.iter().map(|n| {
        [
            n.name.clone(),
            n.state.clone(),
            n.http.clone().unwrap_or_else(|| "?".into()),
            known(n.uptime_s),
            known(n.sessions),
            known(n.connections),
            known(n.user_actors),
            known(n.partitions_led),
            known(n.partitions_held),
            known(n.rss_bytes.map(|b| b / 1_048_576)),
        ]
    }));
    columns(&mut text, &rows);
    let mut rows = vec![["partition", "leader", "term", "users", "online"].map(String::from)];
    rows.extend(cluster.partitions.iter().filter(|p| !p.healthy || p.leader.is_none()).map(|p| {
        let leader = p.leader.clone().unwrap_or_else(|| "?".into());
        [p.id.to_string(), leader, known(p.term), known(p.users), known(p.online)]
    }));
    if rows.len() > 1 {
        text.push_str("not healthy:\n");
        columns(&mut text, &rows);
    }
    let sum = |of: fn(&Partition) -> Option<u64>| cluster.partitions.iter().map(of).sum::<Option<u64>>();
    let (users, online) = (known(sum(|p| p.users)), known(sum(|p| p.online)));
    let _ = write!(text, "{users} users, {online} online"); // writing to a string cannot fail
    text
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".into(), |v| v.to_string())
}

fn columns<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    for row in rows {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let width = rows.iter().map(|r| r[at].chars().count()).max().unwrap_or(0);
            format!("{cell:width$}")
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_no_zero() {
        let cluster = r#"{"cluster_id":"c","version":"0.1.0","healthy":false,"nodes_up":null,"nodes_total":2,
            "ring":{"partitions":2,"replication":1,"epoch":1},"moves":[],
            "nodes":[{"name":"n1","state":"up","http":"127.0.0.1:7700","peer":null,"version":null,"uptime_s":5,
                "sessions":1,"connections":1,"user_actors":1,"partitions_led":2,"partitions_held":2,"rss_bytes":2097152},
                {"name":"n2","state":"unknown","http":null,"peer":null,"version":null,"uptime_s":null,"sessions":null,
                "connections":null,"user_actors":null,"partitions_led":null,"partitions_held":null,"rss_bytes":null}],
            "partitions":[{"id":0,"leader":null,"term":null,"replicas":["n1"],"committed":null,"applied":{},"users":null,
                "online":null,"healthy":false}]}"#;
        let text = table(&serde_json::from_str(cluster).unwrap());
        assert!(text.contains("? of 2 nodes up"), "{text}");
        assert!(text.contains("not healthy:\npartition  leader"), "{text}");
        assert!(text.ends_with("? users, ? online"), "{text}");
        assert!(text.lines().any(|l| l.starts_with("n2") && l.contains('?') && !l.contains('0')), "{text}");
    }
}
