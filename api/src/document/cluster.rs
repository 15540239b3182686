//! The cluster as operators see it, by name in the document.

use super::{
    schema::{Shape, answer, boolean, integer, list, map, named, named_or_null, string, string_or_null, word},
    shapes::{count, count_or_null},
};

const NODE_STATES: [&str; 7] = ["joining", "up", "unreachable", "draining", "drained", "removed", "unknown"];
const MOVE_STATES: [&str; 3] = ["waiting", "joining", "catching_up"];

/// All of it.
pub(super) fn all() -> Vec<(&'static str, Shape)> {
    let mut all = status();
    all.extend(members());
    all
}

fn status() -> Vec<(&'static str, Shape)> {
    vec![(
        "ClusterStatus",
        answer(
            "The cluster as far as this node can confirm it; null is what it cannot.",
            [
                ("cluster_id", string("The cluster's id.")),
                ("version", string("Of this node's program.")),
                ("healthy", boolean("Whether every partition is led and this node reaches a majority.")),
                ("nodes_up", count_or_null("Nodes that answer.")),
                ("nodes_total", count("Members.")),
                (
                    "ring",
                    answer(
                        "How users are spread.",
                        [
                            ("partitions", count("Fixed for the cluster's life.")),
                            ("replication", count("Voters wanted a partition.")),
                            ("epoch", count("Rises with every change of the placement.")),
                        ],
                    ),
                ),
                ("nodes", list(named("NodeStatus"))),
                ("partitions", list(named("PartitionStatus"))),
                (
                    "moves",
                    list(answer(
                        "A replica on its way.",
                        [
                            ("partition", count("Which.")),
                            ("from", named("NodeName")),
                            ("to", named("NodeName")),
                            ("state", word(&MOVE_STATES)),
                            ("done_percent", integer(0, 100, "How much of the log it has.")),
                        ],
                    )),
                ),
            ],
        ),
    )]
}

fn members() -> Vec<(&'static str, Shape)> {
    let text = |what: &str| string_or_null(what);
    vec![
        (
            "NodeStatus",
            answer(
                "A member.",
                [
                    ("name", named("NodeName")),
                    ("state", word(&NODE_STATES)),
                    ("http", text("Where clients connect.")),
                    ("peer", text("Where nodes connect.")),
                    ("version", text("Its program's.")),
                    ("uptime_s", count_or_null("Seconds.")),
                    ("sessions", count_or_null("Of the users whose home it is.")),
                    ("connections", count_or_null("Open here.")),
                    ("user_actors", count_or_null("Running here.")),
                    ("partitions_led", count_or_null("Whose home it is.")),
                    ("partitions_held", count_or_null("Of which it has a replica.")),
                    ("rss_bytes", count_or_null("Resident memory.")),
                ],
            ),
        ),
        (
            "PartitionStatus",
            answer(
                "A partition.",
                [
                    ("id", count("Which.")),
                    ("leader", named_or_null("NodeName")),
                    ("term", count_or_null("Of its leader.")),
                    ("replicas", list(named("NodeName"))),
                    ("committed", count_or_null("The last entry committed.")),
                    ("applied", map(count_or_null("The last entry applied there."), "By replica.")),
                    ("users", count_or_null("Of whom anything is kept.")),
                    ("online", count_or_null("With a live session.")),
                    ("healthy", boolean("Whether it has a leader that confirmed its lease just now.")),
                ],
            ),
        ),
        (
            "RestoreCounts",
            answer(
                "What a restore did.",
                [
                    ("restored", count("Users that are as the backup has them.")),
                    ("left_alone", count("Users that were there before.")),
                ],
            ),
        ),
        (
            "Located",
            answer(
                "Where a user lives.",
                [
                    ("user", named("UserId")),
                    ("partition", count("Which.")),
                    ("leader", named_or_null("NodeName")),
                    ("replicas", list(named("NodeName"))),
                ],
            ),
        ),
    ]
}
