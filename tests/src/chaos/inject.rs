//! Faults as they come and go: what each does to nodes, and how it is taken back.

use super::{
    Injected, Kind, Step,
    ground::{Ground, signal},
    members::Members,
    store_damage,
};
use crate::{
    history::{FaultId, Micros},
    socket::Socket,
};
use serde_json::json;

/// Watchers of a herd that reads nothing.
const SLOW_READERS: usize = 20;
/// How many of a hundred packets are lost.
const LOSS_PERCENT: u32 = 30;
/// How far a clock is off, s.
const HOUR_S: i64 = 3_600;

/// What has to be taken back.
#[derive(Debug)]
enum Held {
    /// Nodes that do not run.
    Down(Vec<usize>),
    /// Nodes that do not run, and whose disks lost power.
    Dark(Vec<usize>),
    Paused(usize),
    /// Rules at these nodes.
    Rules(Vec<usize>),
    Full(usize),
    Frozen(usize),
    Skewed(usize),
    /// A stopped node with a damaged store.
    Damaged(usize),
    /// A stopped node without a store.
    Wiped(usize),
    Joined(usize),
    Slow(Vec<Socket>),
    Nothing,
}

/// A fault that is under way.
#[derive(Debug)]
pub(super) struct Active {
    kind: Kind,
    fault: FaultId,
    start: Micros,
    struck: Vec<usize>,
    held: Held,
}

/// Lets a fault take effect.
///
/// # Errors
/// Why it could not.
pub(super) async fn begin(
    members: &mut Members,
    ground: &Ground,
    step: Step,
    users: &[String],
) -> Result<Active, String> {
    let kind = step.kind;
    let struck = victims(members, kind, step.draw).await?;
    let names = members.names(&struck);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let start = members.recorder.now();
    // What checkers know by its word begins when it has taken effect for certain; of all else nobody must think that all
    // was calm while it was being done.
    let early = (!kind.takes_effect_at_once()).then(|| members.recorder.fault_begins(kind.recorded(), &names));
    let held = strike(members, ground, step, &struck, users).await;
    let fault = early.unwrap_or_else(|| members.recorder.fault_begins(kind.recorded(), &names));
    let held = held.inspect_err(|_| members.recorder.fault_ends(fault))?;
    let struck = if kind.spares_nodes() { Vec::new() } else { struck };
    members.struck.extend(&struck);
    Ok(Active { kind, fault, start, struck, held })
}

/// The nodes that a fault befalls; of a cut, the smaller side.
async fn victims(members: &Members, kind: Kind, draw: u64) -> Result<Vec<usize>, String> {
    let none = || format!("{kind}: no sound node");
    match kind {
        Kind::KillAll | Kind::PowerCutAll | Kind::RollingRestart | Kind::Loss | Kind::CutSockets | Kind::CutBridge => {
            Ok(members.all())
        }
        Kind::JoinAndLeave | Kind::SlowReaders => Ok(Vec::new()),
        Kind::KillHome | Kind::CutHome => Ok(vec![members.home_of_most().await.ok_or_else(none)?]),
        Kind::CutMinority => {
            let mut side = members.all();
            let count = (side.len() - 1) / 2;
            let turn = usize::try_from(draw % 64).unwrap_or(0) % side.len();
            side.rotate_left(turn);
            side.truncate(count);
            Ok(side)
        }
        _ => Ok(vec![members.any_sound(draw).ok_or_else(none)?]),
    }
}

async fn strike(
    members: &mut Members,
    ground: &Ground,
    step: Step,
    struck: &[usize],
    users: &[String],
) -> Result<Held, String> {
    let first = struck.first().copied().unwrap_or(0);
    Ok(match step.kind {
        Kind::Kill | Kind::KillHome | Kind::KillAll => {
            struck.iter().for_each(|at| members.cluster.kill9(*at));
            Held::Down(struck.to_vec())
        }
        Kind::PauseLease | Kind::PauseTtl => {
            signal("STOP", members.cluster.node(first).process())?;
            Held::Paused(first)
        }
        Kind::PowerCut | Kind::PowerCutAll => {
            let volumes = ground.volumes.as_ref().ok_or("no disks")?;
            struck.iter().try_for_each(|at| volumes.cut_power(*at))?;
            struck.iter().for_each(|at| members.cluster.kill9(*at));
            Held::Dark(struck.to_vec())
        }
        Kind::FullDisk => {
            ground.volumes.as_ref().ok_or("no disks")?.fill(first)?;
            Held::Full(first)
        }
        Kind::FrozenDisk => {
            ground.volumes.as_ref().ok_or("no disks")?.freeze(first)?;
            Held::Frozen(first)
        }
        Kind::ClockJump => {
            let seconds = if step.draw.is_multiple_of(2) { HOUR_S } else { -HOUR_S };
            ground.clocks.as_ref().ok_or("no clocks")?.set(first, seconds)?;
            Held::Skewed(first)
        }
        Kind::TornTail | Kind::FlippedBits => {
            members.cluster.kill9(first);
            let data = members.cluster.node(first).data.clone();
            let done = match step.kind {
                Kind::TornTail => store_damage::tear(&data),
                _ => store_damage::flip(&data, step.draw),
            };
            eprintln!("  {}", done?);
            Held::Damaged(first)
        }
        Kind::Wiped => {
            members.cluster.wipe(first);
            Held::Wiped(first)
        }
        Kind::RollingRestart => {
            for at in struck {
                tokio::task::block_in_place(|| members.cluster.terminate(*at));
                members.whole("a rolling restart").await?;
            }
            Held::Nothing
        }
        Kind::JoinAndLeave => Held::Joined(members.join().await?),
        Kind::SlowReaders => Held::Slow(slow_readers(members, users).await),
        _ => cut(members, ground, step.kind, struck)?,
    })
}

/// The faults of the network.
fn cut(members: &Members, ground: &Ground, kind: Kind, struck: &[usize]) -> Result<Held, String> {
    let network = ground.network.as_ref().ok_or("no network")?;
    let all = members.all();
    let others: Vec<usize> = all.iter().copied().filter(|at| !struck.contains(at)).collect();
    match kind {
        Kind::CutOneWay => others.iter().try_for_each(|to| network.cut(struck[0], *to))?,
        Kind::CutBridge => {
            let middle = all.len() / 2;
            network.part(&all[..middle], &all[middle + 1..])?;
        }
        Kind::Loss => all.iter().try_for_each(|at| network.lose(*at, LOSS_PERCENT))?,
        Kind::CutSockets => all.iter().try_for_each(|at| network.reset_clients(*at))?,
        _ => network.part(struck, &others)?,
    }
    Ok(Held::Rules(all))
}

/// Connections that watch everybody and read nothing.
async fn slow_readers(members: &Members, users: &[String]) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for at in 0..SLOW_READERS {
        let (address, token) = (members.roll.address(at), members.roll.token("the-service", "service"));
        if let Ok(mut socket) = Socket::try_connect(&address, &token, "session=false&watch=none").await
            && socket.try_send(&json!({"type": "watch", "users": users})).await.is_ok()
        {
            sockets.push(socket);
        }
    }
    sockets
}

/// Takes a fault back, and starts again whoever it ended. Waits for nobody who is merely slow.
pub(super) async fn end(members: &mut Members, ground: &Ground, active: Active) -> Result<Injected, String> {
    let Active { kind, fault, start, struck, held } = active;
    let end = members.recorder.now();
    members.recorder.fault_ends(fault);
    members.struck.retain(|at| !struck.contains(at));
    take_back(members, ground, kind, held).await.map_err(|why| format!("{kind}: {why}"))?;
    Ok(Injected { kind, start, end })
}

async fn take_back(members: &mut Members, ground: &Ground, kind: Kind, held: Held) -> Result<(), String> {
    match held {
        Held::Down(nodes) => nodes.into_iter().for_each(|at| members.cluster.awake(at)),
        Held::Dark(nodes) => {
            let volumes = ground.volumes.as_ref().ok_or("no disks")?;
            nodes.iter().try_for_each(|at| volumes.remount(*at))?;
            nodes.into_iter().for_each(|at| members.cluster.awake(at));
        }
        Held::Paused(at) => signal("CONT", members.cluster.node(at).process())?,
        // Rules of a fault that overlaps go with it: heard again is heard again.
        Held::Rules(nodes) => {
            let network = ground.network.as_ref().ok_or("no network")?;
            let packets = nodes.into_iter().map(|at| network.heal(at)).sum::<Result<u64, String>>()?;
            if packets == 0 {
                members.fail(format!("{kind} hit no packet"));
            }
        }
        Held::Full(at) => {
            ground.volumes.as_ref().ok_or("no disks")?.free(at)?;
            let ended = members.ends_late(at).await;
            restart_ended(members, at, kind, ended, "full");
        }
        Held::Frozen(at) => {
            ground.volumes.as_ref().ok_or("no disks")?.thaw(at)?;
            let ended = members.ends_late(at).await;
            restart_ended(members, at, kind, ended, "sync");
        }
        Held::Skewed(at) => ground.clocks.as_ref().ok_or("no clocks")?.set(at, 0)?,
        Held::Damaged(at) => damaged(members, at).await?,
        Held::Wiped(at) => replace(members, at).await?,
        Held::Joined(at) => {
            members.whole("a node joined").await?;
            members.remove(at).await?;
            members.whole("a node left").await?;
            members.cluster.kill9(at);
        }
        Held::Slow(sockets) => drop(sockets),
        Held::Nothing => {}
    }
    Ok(())
}

/// A node may end when its disk does, but says why: a word of that stands in what it printed.
fn restart_ended(members: &mut Members, at: usize, kind: Kind, ended: Option<String>, word: &'static str) {
    members.excused.insert(at, word);
    if let Some(printed) = ended {
        let name = members.name(at);
        eprintln!("  {name} ended: {}", printed.lines().last().unwrap_or_default());
        if !printed.to_lowercase().contains(word) {
            members.find(format!("{name} ended under {kind} without a word of it:\n{printed}"));
        }
        members.cluster.awake(at);
    }
}

/// A node with a damaged store starts whole, or refuses and is replaced.
async fn damaged(members: &mut Members, at: usize) -> Result<(), String> {
    members.cluster.awake(at);
    match members.serves(at).await {
        Ok(()) => {
            eprintln!("  {} started on it", members.name(at));
            Ok(())
        }
        Err(printed) => {
            eprintln!("  refused: {}", printed.lines().rfind(|l| !l.is_empty()).unwrap_or_default());
            replace(members, at).await
        }
    }
}

/// A node that is lost for good gives way to a new one under a new name.
async fn replace(members: &mut Members, at: usize) -> Result<(), String> {
    members.join().await?;
    members.remove(at).await
}
