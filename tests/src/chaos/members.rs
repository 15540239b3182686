//! The nodes of a run: who belongs to the cluster, who is struck, who is back; and waiting until it is whole.

use crate::{
    client::Client, cluster::Cluster, cluster_status::ClusterStatus, history::Recorder, load::Roll, wait::looked_for,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::timeout;

/// How long a cluster may take to be whole again after its last fault.
const WHOLE_MAX: Duration = Duration::from_secs(90);
/// How long one may take to serve again before what it says is written down; it is given as long again.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long one answer may take then.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a node takes to end after its disk failed.
const ENDING_MAX: Duration = Duration::from_secs(3);
/// Lines of a node that ended which are told.
const TOLD_LINES: usize = 12;

/// A cluster, and what is known of its nodes.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) cluster: Cluster,
    pub(super) recorder: Recorder,
    pub(super) roll: Roll,
    /// Places of the nodes that belong to it, running or not.
    members: Vec<usize>,
    /// Those under a fault.
    pub(super) struck: BTreeSet<usize>,
    /// Those whose disk failed in this round: they may end late, with this word in what they print.
    pub(super) excused: BTreeMap<usize, &'static str>,
    /// What nodes did that they must not.
    pub(super) findings: Vec<String>,
    /// What the run did not get done.
    pub(super) failures: Vec<String>,
}

impl Members {
    pub(super) fn new(cluster: Cluster, recorder: Recorder, roll: Roll) -> Self {
        let members = (0..cluster.len()).collect();
        let (struck, excused) = (BTreeSet::new(), BTreeMap::new());
        Self { cluster, recorder, roll, members, struck, excused, findings: Vec::new(), failures: Vec::new() }
    }

    /// The places of all members.
    pub(super) fn all(&self) -> Vec<usize> {
        self.members.clone()
    }

    pub(super) fn name(&self, at: usize) -> String {
        self.cluster.name(at).to_owned()
    }

    /// The names of these.
    pub(super) fn names(&self, at: &[usize]) -> Vec<String> {
        at.iter().map(|at| self.name(*at)).collect()
    }

    /// Nodes did what they must not; said at once, since whatever comes next may end the run.
    pub(super) fn find(&mut self, what: String) {
        eprintln!("  FOUND: {what}");
        self.findings.push(what);
    }

    /// The run did not get something done.
    pub(super) fn fail(&mut self, what: String) {
        eprintln!("  not done: {what}");
        self.failures.push(what);
    }

    /// Whether there is nothing to be gained from going on.
    pub(super) fn is_over(&self) -> bool {
        !(self.findings.is_empty() && self.failures.is_empty())
    }

    /// Members that run, and that no fault befalls.
    pub(super) fn sound(&self) -> Vec<usize> {
        let is_sound = |at: &usize| !self.struck.contains(at) && self.cluster.node(*at).is_running();
        self.members.iter().copied().filter(is_sound).collect()
    }

    /// One of them, by a draw.
    pub(super) fn any_sound(&self, draw: u64) -> Option<usize> {
        let sound = self.sound();
        let count = u64::try_from(sound.len()).ok().filter(|count| *count > 0)?;
        sound.get(usize::try_from(draw % count).ok()?).copied()
    }

    /// The sound one that leads most partitions, by the word of the first that answers.
    pub(super) async fn home_of_most(&self) -> Option<usize> {
        let sound = self.sound();
        let status = self.any_status(&sound).await?;
        let led = status.led();
        let count = |at: &usize| led.get(self.cluster.name(*at)).copied().unwrap_or(0);
        sound.into_iter().max_by_key(count)
    }

    async fn any_status(&self, of: &[usize]) -> Option<ClusterStatus> {
        for at in of {
            if let Some(status) = self.cluster.status(*at).await {
                return Some(status);
            }
        }
        None
    }

    /// Waits until a node that was started serves.
    ///
    /// # Errors
    /// What it printed when it did not.
    pub(super) async fn serves(&mut self, at: usize) -> Result<(), String> {
        let (name, admin) = (self.name(at), self.cluster.admin(at));
        let said = looked_for(READY_MAX, async || {
            let ready = self.is_ready(at, &admin).await;
            ready.then_some(())
        });
        if said.await.is_none() {
            let answer = admin.try_send("GET", "/readyz", &[], None).await;
            let status = self.cluster.status(at).await.map(|status| status.0.to_string());
            eprintln!("  {name} is not ready: {answer:?}\n  {status:?}");
        }
        let ready = tokio::task::block_in_place(|| self.cluster.server(at).get_ready());
        ready.map_err(|refusal| format!("{name} did not serve ({:?}):\n{}", refusal.status, refusal.printed))
    }

    /// Whether there is nothing more to wait for: it is ready, or has ended.
    async fn is_ready(&self, at: usize, admin: &Client) -> bool {
        let asked =
            async { admin.try_send("GET", "/readyz", &[], None).await.is_ok_and(|answer| answer.status == 200) };
        self.cluster.node(at).output().is_closed() || timeout(ANSWER_MAX, asked).await.unwrap_or(false)
    }

    /// Whether the process at `at` has ended by itself; it is then reaped.
    pub(super) fn has_ended(&mut self, at: usize) -> Option<String> {
        let server = self.cluster.server(at);
        if !server.is_running() || !server.output().is_closed() {
            return None;
        }
        let printed = server.output().to_string();
        let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
        let told = lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n");
        server.kill9();
        Some(told)
    }

    /// Nobody ended who was not told to, nor had a disk that failed: whoever did is a finding, and is started again.
    pub(super) fn look_for_ended(&mut self, after: &str) {
        for at in self.all() {
            if let Some(printed) = self.has_ended(at) {
                let name = self.name(at);
                if !self.excused.get(&at).is_some_and(|word| printed.to_lowercase().contains(word)) {
                    self.find(format!("{name} ended by itself after {after}:\n{printed}"));
                }
                self.cluster.awake(at);
            }
        }
    }

    /// Waits a little for a node whose disk had failed, and is well again, to end because of it; what it printed.
    pub(super) async fn ends_late(&mut self, at: usize) -> Option<String> {
        looked_for(ENDING_MAX, async || self.has_ended(at)).await
    }

    /// Waits until every member serves and the cluster is whole.
    pub(super) async fn whole(&mut self, after: &str) -> Result<(), String> {
        for at in self.all() {
            if !self.cluster.node(at).is_running() {
                self.cluster.awake(at);
            }
            self.serves(at).await.map_err(|why| format!("after {after} {why}"))?;
        }
        let members: Vec<&str> = self.members.iter().map(|at| self.cluster.name(*at)).collect();
        let missing = RefCell::new(String::new());
        let found = looked_for(WHOLE_MAX, async || {
            for at in &self.members {
                let formed = match self.cluster.status(*at).await {
                    Some(status) => status.formed(&members),
                    None => Err("nothing".into()),
                };
                if let Err(why) = formed {
                    missing.replace(format!("{} says {why}", self.cluster.name(*at)));
                    return None;
                }
            }
            Some(())
        });
        found.await.ok_or_else(|| format!("{WHOLE_MAX:?} after {after} not whole: {}", missing.borrow()))
    }

    /// A new node joins; its place. Clients know it from then on.
    ///
    /// # Errors
    /// What it printed when it did not.
    pub(super) async fn join(&mut self) -> Result<usize, String> {
        let at = self.cluster.begin_join(|launch| launch);
        self.serves(at).await.map_err(|why| format!("no node could join: {why}"))?;
        self.recorder.name(self.cluster.name(at), &self.cluster.node(at).address);
        self.members.push(at);
        self.tell_clients();
        Ok(at)
    }

    /// The node at `at` is removed from the cluster by another's word, and ends.
    ///
    /// # Errors
    /// When that is refused.
    pub(super) async fn remove(&mut self, at: usize) -> Result<(), String> {
        let name = self.name(at);
        self.members.retain(|member| *member != at);
        self.struck.remove(&at);
        self.tell_clients();
        let others = self.members.clone();
        let asked = looked_for(WHOLE_MAX, async || {
            for via in &others {
                let path = format!("/v1/cluster/nodes/{name}");
                let answer = self.cluster.admin(*via).try_send("DELETE", &path, &[], None).await;
                if answer.is_ok_and(|answer| answer.status == 202) {
                    return Some(());
                }
            }
            None
        });
        asked.await.ok_or_else(|| format!("{name} could not be removed"))?;
        Ok(())
    }

    /// What clients ask from now on: every member, running or not.
    fn tell_clients(&self) {
        self.roll.set(self.members.iter().map(|at| self.cluster.node(*at).address.clone()).collect());
    }
}
