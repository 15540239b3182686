//! `rollcall status`: the cluster as a table.
//!
//! Owns the columns. Promises to show what a node cannot confirm as `?`, never as a zero.

use super::{
    Failure,
    client::{self, Client, ClientError, Credentials},
    command_line::StatusOptions,
    connect::note,
    server::Server,
    stop,
};
use anstyle::{AnsiColor, Style};
use serde::Deserialize;
use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};
use tokio::time::sleep;

/// How often `--watch` asks.
const REPEAT: Duration = Duration::from_secs(2);
/// Clears a terminal, and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

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
    moves: Vec<Move>,
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
    replicas: Vec<String>,
    users: Option<u64>,
    online: Option<u64>,
    healthy: bool,
}

#[derive(Deserialize)]
struct Move {
    partition: u32,
    from: Option<String>,
    to: Option<String>,
    state: String,
    done_percent: Option<u32>,
}

/// Prints the status once, or until told to stop.
pub(crate) async fn run(options: &StatusOptions) -> Result<(), Failure> {
    let client = Client::new(Server::of(&options.client).map_err(Failure::usage)?)?;
    let credentials = Credentials::of(&options.client).map_err(ClientError::from)?;
    loop {
        let token = credentials.admin().map_err(ClientError::from)?;
        let text = match client.get(&token, "/v1/cluster/status").await {
            Ok(text) => text,
            // A node that is away for a moment is what one watches for.
            Err(error) if options.watch => {
                note(&error.to_string());
                tokio::select! {
                    () = stop::signalled() => return Ok(()),
                    () = sleep(REPEAT) => continue,
                }
            }
            Err(error) => return Err(error.into()),
        };
        let mut out = anstream::stdout();
        if options.json {
            writeln!(out, "{text}").map_err(Failure::output)?;
        } else {
            let cluster: Cluster = client::read(client.url(), &text)?;
            // On a terminal the table stays where it is; in a pipe one follows the other.
            let home = if options.watch && std::io::stdout().is_terminal() { CLEAR } else { "" };
            writeln!(out, "{home}{}", table(&cluster)).map_err(Failure::output)?;
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

/// Good news, news, and bad news.
const WELL: Style = AnsiColor::Green.on_default();
const UNDER_WAY: Style = AnsiColor::Yellow.on_default();
const ILL: Style = AnsiColor::Red.on_default().bold();

fn of_state(state: &str) -> Style {
    match state {
        "up" => WELL,
        "joining" | "draining" | "drained" => UNDER_WAY,
        _ => ILL,
    }
}

fn table(cluster: &Cluster) -> String {
    let (health, style) = if cluster.healthy { ("healthy", WELL) } else { ("not healthy", ILL) };
    let up = known(cluster.nodes_up);
    let ring = &cluster.ring;
    let mut text = format!(
        "cluster {} {style}{health}{style:#}, {up} of {} nodes up, {} partitions, replication {}, epoch {}, version {}\n",
        cluster.cluster_id, cluster.nodes_total, ring.partitions, ring.replication, ring.epoch, cluster.version
    );
    let mut rows = vec![(
        Style::new().dimmed(),
        ["node", "state", "http", "up", "sessions", "connections", "actors", "led", "held", "MiB"].map(String::from),
    )];
    rows.extend(cluster.nodes.iter().map(|n| {
        let cells = [
            n.name.clone(),
            n.state.clone(),
            n.http.clone().unwrap_or_else(|| "?".into()),
            n.uptime_s.map_or_else(|| "?".into(), span),
            known(n.sessions),
            known(n.connections),
            known(n.user_actors),
            known(n.partitions_led),
            known(n.partitions_held),
            known(n.rss_bytes.map(|b| b / 1_048_576)),
        ];
        (of_state(&n.state), cells)
    }));
    columns(&mut text, &rows);
    troubles(&mut text, cluster);
    under_way(&mut text, cluster);
    let sum = |of: fn(&Partition) -> Option<u64>| cluster.partitions.iter().map(of).sum::<Option<u64>>();
    let (users, online) = (known(sum(|p| p.users)), known(sum(|p| p.online)));
    let _ = write!(text, "{users} users, {online} online"); // writing to a string cannot fail
    text
}

/// The partitions that are not well, one a line.
fn troubles(text: &mut String, cluster: &Cluster) {
    let mut rows =
        vec![(Style::new().dimmed(), ["partition", "leader", "term", "replicas", "users", "online"].map(String::from))];
    rows.extend(cluster.partitions.iter().filter(|p| !p.healthy || p.leader.is_none()).map(|p| {
        let leader = p.leader.clone().unwrap_or_else(|| "?".into());
        let cells = [p.id.to_string(), leader, known(p.term), p.replicas.join(" "), known(p.users), known(p.online)];
        (ILL, cells)
    }));
    if rows.len() > 1 {
        let _ = writeln!(text, "{ILL}not healthy:{ILL:#}");
        columns(text, &rows);
    }
}

/// The moves, one a line.
fn under_way(text: &mut String, cluster: &Cluster) {
    let mut rows = vec![(Style::new().dimmed(), ["move of", "from", "to", "state", "done"].map(String::from))];
    let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".into());
    rows.extend(cluster.moves.iter().map(|m| {
        let done = m.done_percent.map_or_else(|| "?".into(), |percent| format!("{percent} %"));
        (UNDER_WAY, [format!("partition {}", m.partition), name(&m.from), name(&m.to), m.state.clone(), done])
    }));
    if rows.len() > 1 {
        columns(text, &rows);
    }
}

/// `12s`, `3m 20s`, `5h 1m`, `2d 4h`.
fn span(seconds: u64) -> String {
    let two = |of: u64, unit: &str, rest: u64, smaller: &str| match rest {
        0 => format!("{of}{unit}"),
        rest => format!("{of}{unit} {rest}{smaller}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".into(), |v| v.to_string())
}

/// Rows in columns, the second one in the colour of its row: it says how things are.
fn columns<const N: usize>(text: &mut String, rows: &[(Style, [String; N])]) {
    for (style, row) in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|(_, r)| r[at].chars().count()).max().unwrap_or(0);
            let width = if at + 1 == N { 0 } else { width + 2 };
            let coloured = if at == 1 || *style == Style::new().dimmed() { *style } else { Style::new() };
            let _ = write!(line, "{coloured}{cell}{coloured:#}{:1$}", "", width.saturating_sub(cell.chars().count()));
        }
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
        let text = anstream::adapter::strip_str(&table(&serde_json::from_str(cluster).unwrap())).to_string();
        assert!(text.contains("? of 2 nodes up"), "{text}");
        assert!(text.contains("not healthy:\npartition  leader"), "{text}");
        assert!(text.ends_with("? users, ? online"), "{text}");
        assert!(text.lines().any(|l| l.starts_with("n2") && l.contains('?') && !l.contains('0')), "{text}");
    }
    #[test]
    fn moves_and_spans_read_at_a_glance() {
        let cluster = r#"{"cluster_id":"c","version":"0.1.0","healthy":true,"nodes_up":1,"nodes_total":1,
            "ring":{"partitions":1,"replication":3,"epoch":7},"nodes":[],"partitions":[],
            "moves":[{"partition":9,"from":"n1","to":"n4","state":"catching_up","done_percent":40}]}"#;
        let text = anstream::adapter::strip_str(&table(&serde_json::from_str(cluster).unwrap())).to_string();
        assert!(text.contains("partition 9  n1    n4  catching_up  40 %"), "{text}");
        assert_eq!([5, 200, 18_060, 187_200].map(span), ["5s", "3m 20s", "5h 1m", "2d 4h"]);
    }
}
