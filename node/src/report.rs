//! What a node knows of itself, for whoever shows the whole cluster.

use crate::{
    node::Node,
    peers::message::{LedReport, NodeReport},
};
use futures::future::join_all;
use rollcall_api::figures::Figures;
use rollcall_cluster::Role;
use std::time::Instant;

/// The report of `node`, which runs since `started`. It leads what it could confirm its lease of just now.
pub async fn of(node: &Node, started: Instant) -> NodeReport {
    let mut report = NodeReport {
        uptime_s: started.elapsed().as_secs(),
        connections: node.sockets.len() as u64,
        rss_bytes: resident_bytes(),
        ..NodeReport::default()
    };
    let homes = node.homes.partitions();
    let confirmed = join_all(homes.iter().map(|home| home.confirmed())).await;
    for (home, confirmed) in homes.iter().zip(confirmed) {
        report.user_actors += home.user_actors() as u64;
        let Some(status) = home.group().status() else { continue };
        report.partitions_held += 1;
        if let Some(applied) = status.applied {
            report.applied.push((status.id, applied));
        }
        if confirmed.is_ok() {
            report.partitions_led += 1;
            report.sessions += home.group().read(|view| view.ledger().sessions).unwrap_or_default();
            report.led.push(LedReport {
                id: status.id,
                term: status.term,
                committed: status.committed,
                users: status.users,
                online: status.online,
                matched: status.replicas.into_iter().map(|replica| (replica.node, replica.matched)).collect(),
            });
        }
    }
    report
}

/// `node` in numbers, from what it knows by itself: nothing is confirmed, nobody is asked.
pub(crate) fn figures(node: &Node, started: Instant) -> Figures {
    let mut figures = Figures {
        node: node.sockets.holder().node.to_string(),
        uptime_s: started.elapsed().as_secs(),
        watches: node.sockets.outboxes().iter().map(|outbox| outbox.watches() as u64).sum(),
        frames_sent: node.nodes.parcels_sent(),
        rss_bytes: resident_bytes(),
        ..Figures::default()
    };
    for home in node.homes.partitions() {
        figures.user_actors += home.user_actors() as u64;
        let (proposed, committed) = home.group().proposals();
        figures.proposals += proposed;
        figures.commits += committed;
        let Ok(sessions) = home.group().read(|view| view.ledger().sessions) else { continue };
        figures.partitions_held += 1;
        if matches!(home.role(), Role::Home { .. }) {
            figures.partitions_led += 1;
            figures.sessions += sessions;
        }
    }
    figures
}

/// Resident memory of this process, bytes. Source: `/proc/self/statm`, second field, in pages.
fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
