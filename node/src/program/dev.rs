//! `rollcall dev`: a whole cluster on this machine, in one terminal.
//!
//! Owns the nodes as child processes, each with a directory and ports of its own, and a prefix before every line that it logs.
//! Promises that they stop with it: by SIGTERM first, by SIGKILL when that takes too long. A node that ends by itself is
//! not started again, since whoever killed it wants to see what the others do; the command that brings it back is printed.

use super::{Failure, command_line::DevOptions, stop};
use crate::{key_file, welcome::started_as};
use anstyle::{AnsiColor, Style};
use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Ports of one node after those of the one before: room for a third listener.
const PORTS_A_NODE: u16 = 10;
/// How long nodes have to hand over and stop, once they were asked to.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How often a starting node is asked whether it can serve.
const READY_EVERY: Duration = Duration::from_millis(100);
/// How long a cluster has to come up: a slow disk and a few elections.
const READY_MAX: Duration = Duration::from_secs(60);

/// Why there is no cluster. Directories and keys that were made stay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    #[error("{} cannot be made: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Key(#[from] key_file::KeyFileError),
    #[error("{nodes} nodes from port {first} on need ports up to {last}, and there are none above 65535")]
    Ports { nodes: u16, first: u16, last: u32 },
    #[error("no free port: {0}")]
    NoPort(std::io::Error),
    #[error("this program cannot be started again: {0}")]
    Program(std::io::Error),
    #[error("{0} ended before it could serve; its last lines say why")]
    Ended(String),
    #[error("the nodes did not come up within {} s", READY_MAX.as_secs())]
    NotReady,
}

/// One node to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    name: String,
    http: String,
    peer: String,
    directory: PathBuf,
}

/// A node that runs.
struct Running {
    plan: Plan,
    style: Style,
    /// What it was started with.
    arguments: Vec<String>,
    child: Child,
}

/// Runs a cluster until told to stop.
pub(crate) async fn run(options: &DevOptions) -> Result<(), Failure> {
    let plans = plans(options)?;
    let failed = |path: &Path, source| DevError::Directory { path: path.to_owned(), source };
    std::fs::create_dir_all(&options.data_dir).map_err(|source| failed(&options.data_dir, source))?;
    let keys = [options.data_dir.join("auth.key"), options.data_dir.join("cluster.key")];
    for key in &keys {
        key_file::read_or_make(key).map_err(DevError::from)?;
    }
    // The nodes are in process groups of their own: a terminal that goes away tells this program alone.
    let stopped = async {
        tokio::select! { () = stop::signalled() => {}, () = stop::hung_up() => {} }
    };
    tokio::pin!(stopped);
    let mut nodes = Vec::new();
    let arguments: Vec<Vec<String>> =
        plans.iter().enumerate().map(|(at, plan)| arguments(plan, founds(at, &plans), &plans, &keys)).collect();
    for (index, (plan, arguments)) in plans.iter().zip(arguments).enumerate() {
        nodes.push(start(plan, index, arguments)?);
    }
    let outcome = tokio::select! {
        came = up(&mut nodes) => came,
        () = &mut stopped => { end(nodes).await; return Ok(()) }
    };
    if let Err(error) = outcome {
        end(nodes).await;
        return Err(error.into());
    }
    say(&welcome(&nodes, options))?;
    let outcome = tokio::select! {
        ended = all_end(&mut nodes) => Err(Failure::failed(ended)),
        () = &mut stopped => Ok(()),
    };
    end(nodes).await;
    outcome
}

fn plans(options: &DevOptions) -> Result<Vec<Plan>, DevError> {
    let ports = if options.port == 0 { free_ports(options.nodes)? } else { spaced_ports(options)? };
    let plan = |(index, [http, peer]): (usize, [u16; 2])| {
        let name = format!("n{}", index + 1);
        Plan {
            http: format!("127.0.0.1:{http}"),
            peer: format!("127.0.0.1:{peer}"),
            directory: options.data_dir.join(&name),
            name,
        }
    };
    Ok(ports.into_iter().enumerate().map(plan).collect())
}

/// Ports for clients and for other nodes, a fixed step between nodes: easy to remember, the same in every run.
fn spaced_ports(options: &DevOptions) -> Result<Vec<[u16; 2]>, DevError> {
    let last = u32::from(options.port) + u32::from(options.nodes) * u32::from(PORTS_A_NODE);
    if last > u32::from(u16::MAX) {
        return Err(DevError::Ports { nodes: options.nodes, first: options.port, last });
    }
    Ok((0..options.nodes).map(|index| options.port + index * PORTS_A_NODE).map(|port| [port, port + 1]).collect())
}

/// Ports that nobody uses now. All are held until all are chosen, so that none is chosen twice.
fn free_ports(nodes: u16) -> Result<Vec<[u16; 2]>, DevError> {
    let mut held = Vec::new();
    let mut port = || {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(DevError::NoPort)?;
        let port = listener.local_addr().map_err(DevError::NoPort)?.port();
        held.push(listener);
        Ok::<_, DevError>(port)
    };
    (0..nodes).map(|_| Ok([port()?, port()?])).collect()
}

/// Whether the node at `index` founds the cluster: the first one does, unless others are left of a cluster that it is no
/// longer part of. It would found a second one beside them.
fn founds(index: usize, all: &[Plan]) -> bool {
    index == 0 && (all[0].directory.exists() || !all.iter().any(|plan| plan.directory.exists()))
}

/// The arguments of a node: one founds the cluster, the others join it.
fn arguments(plan: &Plan, founds: bool, all: &[Plan], [auth, cluster]: &[PathBuf; 2]) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut arguments: Vec<String> =
        ["serve", "--name", &plan.name, "--http", &plan.http, "--peer", &plan.peer].map(String::from).to_vec();
    arguments.extend(["--data-dir".into(), path(&plan.directory)]);
    arguments.extend(["--auth-key".into(), path(auth), "--cluster-key".into(), path(cluster)]);
    if !founds {
        let others: Vec<&str> = all.iter().filter(|p| *p != plan).map(|p| p.peer.as_str()).collect();
        arguments.extend(["--join".into(), others.join(",")]);
    }
    arguments
}

fn start(plan: &Plan, index: usize, arguments: Vec<String>) -> Result<Running, DevError> {
    const COLOURS: [AnsiColor; 6] =
        [AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Blue, AnsiColor::Red];
    let style = COLOURS[index % COLOURS.len()].on_default();
    let program = std::env::current_exe().map_err(DevError::Program)?;
    let mut child = Command::new(program)
        .args(&arguments)
        .stdin(Stdio::null())
        // What a node says to try is said once, for all of them.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C goes to this process alone, which then asks its nodes.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(DevError::Program)?;
    if let Some(lines) = child.stderr.take() {
        tokio::spawn(relay(lines, plan.name.clone(), style));
    }
    Ok(Running { plan: plan.clone(), style, arguments, child })
}

/// Prints what a node logs, each line behind its name.
async fn relay(lines: impl AsyncRead + Unpin, name: String, style: Style) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A terminal that is gone ends the program by its own signal.
        let _ = say(&format!("{style}{name} |{style:#} {line}\n"));
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// Waits until every node can serve.
async fn up(nodes: &mut [Running]) -> Result<(), DevError> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
    let ready = join_all(nodes.iter_mut().map(|node| {
        let url = format!("http://{}/readyz", node.plan.http);
        let http = http.clone();
        async move {
            loop {
                if let Ok(Some(_)) = node.child.try_wait() {
                    return Err(DevError::Ended(node.plan.name.clone()));
                }
                let asked = http.get(&url).timeout(READY_MAX).send().await;
                if asked.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
                sleep(READY_EVERY).await;
            }
        }
    }));
    match timeout(READY_MAX, ready).await {
        Ok(all) => all.into_iter().collect(),
        Err(_) => Err(DevError::NotReady),
    }
}

/// Waits until no node runs any more, and says so of each.
async fn all_end(nodes: &mut [Running]) -> &'static str {
    let endings = nodes.iter_mut().map(|node| async {
        let how = node.child.wait().await;
        (node.plan.name.clone(), node.style, how, node.arguments.join(" "))
    });
    let mut endings: FuturesUnordered<_> = endings.collect();
    let program = started_as();
    while let Some((name, style, how, arguments)) = endings.next().await {
        let back =
            format!("the others go on without it; in another terminal this brings it back:\n  {program} {arguments}");
        let _ = say(&format!("{style}{name} |{style:#} {}; {back}\n", ending(how)));
    }
    "every node has ended"
}

fn ending(how: std::io::Result<ExitStatus>) -> String {
    match how {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("ended ({error})"),
    }
}

/// Asks every node to stop, and waits for it.
async fn end(nodes: Vec<Running>) {
    join_all(nodes.into_iter().map(|mut node| async move {
        let asked = node.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(process) = asked {
            // One that has ended meanwhile is what was asked for.
            let _ = kill_process(process, Signal::TERM);
        }
        if timeout(STOP_MAX, node.child.wait()).await.is_err() {
            let _ = say(&format!("{} does not stop and is killed\n", node.plan.name));
            let _ = node.child.kill().await;
        }
    }))
    .await;
}

fn welcome(nodes: &[Running], options: &DevOptions) -> String {
    let program = started_as();
    let data = options.data_dir.display();
    let count = if let [_] = nodes { "1 node".into() } else { format!("{} nodes", nodes.len()) };
    let mut text = format!("\nrollcall {} · {count}, data in {data}\n", env!("CARGO_PKG_VERSION"));
    for Running { plan, style, child, .. } in nodes {
        let process = child.id().map_or_else(String::new, |id| format!(", process {id}"));
        text.push_str(&format!("  {style}{}{style:#} listening on http://{}{process}\n", plan.name, plan.http));
    }
    let key = options.data_dir.join("auth.key");
    let of = |at: usize| format!("--auth-key {} --url http://{}", key.display(), nodes[at % nodes.len()].plan.http);
    text.push_str(&format!(
        "\nTry it: two friends, each on another node, and the cluster, each in a terminal of its own\n  \
         {program} connect {} alice bob\n  {program} connect {} bob alice\n  {program} status --watch {}\n",
        of(0),
        of(1),
        of(2),
    ));
    if let Some(victim) = nodes.get(1).and_then(|node| node.child.id()) {
        text.push_str(&format!("and then `kill -9 {victim}`: nobody alive is shown offline.\n"));
    }
    text.push_str(&format!(
        "\nCtrl-C stops all nodes. What they know stays in {data} for the next run; remove it to start anew.\n\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(nodes: u16, port: u16) -> DevOptions {
        DevOptions { nodes, port, data_dir: "dev".into() }
    }

    #[test]
    fn the_first_node_founds_and_the_others_join_it() {
        let plans = plans(&options(3, 7_700)).unwrap();
        let keys = ["dev/auth.key".into(), "dev/cluster.key".into()];
        let first = arguments(&plans[0], true, &plans, &keys);
        assert!(!first.contains(&"--join".to_owned()), "{first:?}");
        let third = arguments(&plans[2], false, &plans, &keys);
        let wanted = "serve --name n3 --http 127.0.0.1:7720 --peer 127.0.0.1:7721 --data-dir dev/n3 \
            --auth-key dev/auth.key --cluster-key dev/cluster.key --join 127.0.0.1:7701,127.0.0.1:7711";
        assert_eq!(third.join(" "), wanted);
    }

    #[test]
    fn nobody_founds_a_second_cluster_beside_what_is_left_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let plans = plans(&DevOptions { nodes: 3, port: 7_700, data_dir: directory.path().into() }).unwrap();
        let founders = || (0..3).filter(|at| founds(*at, &plans)).collect::<Vec<_>>();
        assert_eq!(founders(), [0], "nothing there yet");
        std::fs::create_dir(&plans[1].directory).unwrap();
        assert_eq!(founders(), [] as [usize; 0], "the first one was removed");
        std::fs::create_dir(&plans[0].directory).unwrap();
        assert_eq!(founders(), [0], "a second run");
    }

    #[test]
    fn free_ports_are_all_different_and_ports_that_do_not_exist_are_refused() {
        let plans_of = |port| plans(&options(9, port));
        let free = plans_of(0).unwrap();
        let ports: std::collections::BTreeSet<&String> = free.iter().flat_map(|p| [&p.http, &p.peer]).collect();
        assert_eq!(ports.len(), 18, "{ports:?}");
        assert!(matches!(plans_of(65_500), Err(DevError::Ports { last: 65_590, .. })));
    }
}
