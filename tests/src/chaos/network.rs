//! A network for the nodes of a run: each in a namespace of its own, with one link for other nodes and one for clients.
//!
//! Both links end on bridges in a namespace between them; only the clients' bridge has an end in the host's namespace. Rules
//! are made at the receiving node, by the sender's address among peers, so that no client's packet is touched unless asked.
//! Everything is named `rollcall-<process id>-…` and removed with this value; what killed runs have left is removed before.

use super::system::{as_root, is_left_over, run};
use std::process;

const PREFIX: &str = "rollcall-";
/// Networks of this many processes do not meet.
const NETWORKS: u32 = 120;
/// Where nodes listen.
const CLIENTS_PORT: u16 = 7_700;
const PEERS_PORT: u16 = 7_701;

/// Namespaces, links and bridges. Nodes are counted from 0.
#[derive(Debug)]
pub(super) struct Network {
    id: u32,
    nodes: usize,
}

impl Network {
    /// A network for this many nodes.
    ///
    /// # Errors
    /// Why this machine cannot have one.
    pub(super) fn new(nodes: usize) -> Result<Self, String> {
        as_root()?;
        run("nft", &["--version"])?;
        sweep();
        let network = Self { id: process::id(), nodes };
        network.make()?;
        Ok(network)
    }

    fn make(&self) -> Result<(), String> {
        let hub = self.hub();
        ip(&format!("netns add {hub}"))?;
        for bridge in ["peers", "clients"] {
            ip(&format!("-n {hub} link add {bridge} type bridge"))?;
            ip(&format!("-n {hub} link set {bridge} up"))?;
        }
        let host = format!("rc{}", self.id);
        ip(&format!("link add {host} type veth peer name host netns {hub}"))?;
        ip(&format!("-n {hub} link set host master clients up"))?;
        ip(&format!("address add {}.254/24 dev {host}", self.subnet("clients")))?;
        ip(&format!("link set {host} up"))?;
        (0..self.nodes).try_for_each(|at| self.make_node(at))
    }

    fn make_node(&self, at: usize) -> Result<(), String> {
        let (hub, space) = (self.hub(), self.space(at));
        ip(&format!("netns add {space}"))?;
        ip(&format!("-n {space} link set lo up"))?;
        for bridge in ["peers", "clients"] {
            let end = format!("{}{at}", &bridge[..1]);
            ip(&format!("-n {hub} link add {end} type veth peer name {bridge} netns {space}"))?;
            ip(&format!("-n {hub} link set {end} master {bridge} up"))?;
            ip(&format!("-n {space} address add {}/24 dev {bridge}", self.address(bridge, at)))?;
            ip(&format!("-n {space} link set {bridge} up"))?;
        }
        self.rule(at, "add table inet chaos")?;
        self.rule(at, "add chain inet chaos in { type filter hook input priority 0; }")
    }

    fn hub(&self) -> String {
        format!("{PREFIX}{}-hub", self.id)
    }

    /// The name of a node's namespace.
    fn space(&self, at: usize) -> String {
        format!("{PREFIX}{}-n{}", self.id, at + 1)
    }

    fn subnet(&self, bridge: &str) -> String {
        format!("10.77.{}", self.id % NETWORKS * 2 + u32::from(bridge == "clients"))
    }

    fn address(&self, bridge: &str, at: usize) -> String {
        format!("{}.{}", self.subnet(bridge), at + 1)
    }

    /// Where the node at `at` listens for clients.
    pub(super) fn http(&self, at: usize) -> String {
        format!("{}:{CLIENTS_PORT}", self.address("clients", at))
    }

    /// Where it listens for other nodes.
    pub(super) fn peer(&self, at: usize) -> String {
        format!("{}:{PEERS_PORT}", self.address("peers", at))
    }

    /// What starts a program in its namespace.
    pub(super) fn within(&self, at: usize) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", self.space(at))]
    }

    fn rule(&self, at: usize, rule: &str) -> Result<(), String> {
        run("ip", &["netns", "exec", &self.space(at), "nft", rule]).map(drop)
    }

    /// The node at `to` no longer hears the one at `from`.
    pub(super) fn cut(&self, from: usize, to: usize) -> Result<(), String> {
        self.rule(to, &format!("add rule inet chaos in ip saddr {} counter drop", self.address("peers", from)))
    }

    /// No node of `some` hears one of `others`, nor the other way.
    pub(super) fn part(&self, some: &[usize], others: &[usize]) -> Result<(), String> {
        for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (*one, *other))) {
            self.cut(one, other)?;
            self.cut(other, one)?;
        }
        Ok(())
    }

    /// The node at `to` loses this many of a hundred packets of all others.
    pub(super) fn lose(&self, to: usize, percent: u32) -> Result<(), String> {
        let peers = self.subnet("peers");
        self.rule(
            to,
            &format!("add rule inet chaos in ip saddr {peers}.0/24 numgen random mod 100 < {percent} counter drop"),
        )
    }

    /// Whatever clients send to the node at `to` is answered by a reset.
    pub(super) fn reset_clients(&self, to: usize) -> Result<(), String> {
        self.rule(to, &format!("add rule inet chaos in tcp dport {CLIENTS_PORT} counter reject with tcp reset"))
    }

    /// Every rule at the node at `at` is taken back; how many packets they hit.
    pub(super) fn heal(&self, at: usize) -> Result<u64, String> {
        let listed = run("ip", &["netns", "exec", &self.space(at), "nft", "list", "chain", "inet", "chaos", "in"])?;
        self.rule(at, "flush chain inet chaos in")?;
        Ok(packets(&listed))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let own = format!("{PREFIX}{}-", self.id);
        remove(|name| name.starts_with(&own));
    }
}

/// The packets that the rules of a chain have counted.
fn packets(listed: &str) -> u64 {
    let counts = listed.split("counter packets ").skip(1);
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// `ip` with these words.
fn ip(words: &str) -> Result<(), String> {
    run("ip", &words.split(' ').collect::<Vec<_>>()).map(drop)
}

/// Removes what runs have left whose process is gone.
fn sweep() {
    remove(|name| is_left_over(name, PREFIX));
}

/// Removes namespaces; links and bridges go with them.
fn remove(chosen: impl Fn(&str) -> bool) {
    let spaces = run("ip", &["netns", "list"]).unwrap_or_default();
    for space in spaces.lines().filter_map(|line| line.split(' ').next()).filter(|name| chosen(name)) {
        if let Err(why) = ip(&format!("netns delete {space}")) {
            eprintln!("{why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packets_of_all_rules_are_counted() {
        let listed = "chain in {\n ip saddr 10.77.1.2 counter packets 12 bytes 960 drop\n\
                      ip saddr 10.77.1.3 counter packets 30 bytes 99 drop\n}";
        assert_eq!((packets(listed), packets("chain in { }")), (42, 0));
    }
}
