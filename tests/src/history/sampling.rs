//! Samples of a node: who leads what by its word, and what it uses.

use super::{Phase, Record, Recorder, Role, Sample};
use crate::cluster_status::ClusterStatus;
use std::fs;

/// Writes down who leads each partition, as `status` of `node` says.
pub fn sample_roles(recorder: &Recorder, node: &str, status: &ClusterStatus) {
    let at = recorder.now();
    for row in status.partitions() {
        if let (Some(partition), Some(term), Some(leader)) =
            (row["id"].as_u64(), row["term"].as_u64(), row["leader"].as_str())
        {
            let (node, leader) = (node.to_owned(), leader.to_owned());
            let replicas = row["replicas"].as_array().into_iter().flatten();
            let replicas = replicas.filter_map(|name| name.as_str().map(str::to_owned)).collect();
            recorder.push(Record::Role(Role { at, node, partition, term, leader, replicas }));
        }
    }
}

/// Writes down what the process of `node` uses: by the system's word, and actors by its own `status`.
pub fn sample_process(recorder: &Recorder, phase: Phase, node: &str, process: u32, status: Option<&ClusterStatus>) {
    let fds = fs::read_dir(format!("/proc/{process}/fd")).ok().map(|fds| fds.count() as u64);
    let memory = fs::read_to_string(format!("/proc/{process}/status")).ok();
    let kib = memory.as_deref().and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?
            .trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    let rss_bytes = kib.map(|kib| kib * 1_024);
    let actors = status.and_then(|status| status.node(node)["user_actors"].as_u64());
    let (at, node) = (recorder.now(), node.to_owned());
    recorder.push(Record::Sample(Sample { at, node, phase, rss_bytes, fds, actors }));
}
