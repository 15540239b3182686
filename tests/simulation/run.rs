//! One run: a cluster is formed, used while things go wrong, left alone, and judged.

use super::{
    chance,
    clients::{self, Client},
    faults, held,
    history::{self, Fate},
    judge::Seen,
    world::{World, name},
};
use rollcall_cluster::{Cluster, Role};
use rollcall_presence::{ListKind, MemberState, NodeName, PartitionId, Placement, UserId, partition_of};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long nodes that nothing disturbs take to form a cluster, at most.
const FORMING_MAX: Duration = Duration::from_secs(120);
/// Within which time after the last fault every partition is led, and takes writes.
const HEALING_MAX: Duration = Duration::from_secs(30);
/// Within which time after that every replica is where it should be, and holds the same.
const SETTLING_MAX: Duration = Duration::from_secs(120);
/// How often is looked whether that is so.
const LOOK: Duration = Duration::from_millis(100);
const CLIENTS: u64 = 4;
/// What each client does.
const OPERATIONS: u64 = 50;
/// What is read of a user at the end; more than there ever is.
const ROWS_MAX: usize = 10_000;

/// What came of a run.
pub struct Report {
    /// One line, the same whenever the seed is run.
    pub line: String,
    pub wrong: Vec<history::Wrong>,
}

/// Runs `seed` in this process, which must have done nothing random before. Files go to `root`.
///
/// # Errors
/// When there is no runtime to be had.
pub fn run_here(seed: u64, root: &Path, verbose: bool) -> std::io::Result<Report> {
    chance::seed_the_system(seed);
    let panicked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&panicked);
    std::panic::set_hook(Box::new(move |panic| held(&told).push(panic.to_string())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let mut report = runtime.block_on(one(seed, root, verbose));
    let _ = std::panic::take_hook();
    report.wrong.extend(held(&panicked).drain(..).map(|panic| ("no-panic", panic)));
    // What is left of killed nodes may wait for ever.
    runtime.shutdown_background();
    Ok(report)
}

async fn one(seed: u64, root: &Path, verbose: bool) -> Report {
    let world = World::new(seed, root, Seen::verbose(verbose));
    let users = clients::users(world.partitions);
    let (partitions, nodes) = (world.partitions, world.nodes_at_first);
    world.note(format_args!("seed {seed}: {nodes} nodes, {partitions} partitions"));
    (1..=nodes).for_each(|n| world.start(n));
    let mut healed_ms = 0;
    let mut faults = 0;
    if within(FORMING_MAX, || is_settled(&world)).await.is_none() {
        world.blame("forms", format!("{:?}", unrest(&world)));
    } else {
        Client::new(&world, 0, users.clone()).settle().await;
        let working: Vec<_> =
            (1..=CLIENTS).map(|n| tokio::spawn(Client::new(&world, n, users.clone()).work(OPERATIONS))).collect();
        faults = faults::wreak(&world).await;
        let ended = Instant::now();
        heal(&world).await;
        healed_ms = ended.elapsed().as_millis();
        for client in working {
            // A panic in it was noted by the hook.
            let _ = client.await;
        }
        if within(SETTLING_MAX, || is_settled(&world) && differences(&world, &users).is_none()).await.is_none() {
            let (unrest, differ) = (unrest(&world), differences(&world, &users));
            let check = if differ.is_some() { "replicas-equal" } else { "heals-without-help" };
            world.blame(check, format!("{unrest:?} {differ:?}"));
        }
        conclude(&world, &users);
    }
    let simulated_ms = world.now() / 1_000;
    let seen = held(&world.seen);
    let (writes, reads) = (seen.writes.values().flatten(), seen.reads.values().flatten().count());
    let (mut acknowledged, mut unknown) = (0, 0);
    for write in writes {
        match write.fate {
            Fate::Acknowledged(_) => acknowledged += 1,
            Fate::Unknown => unknown += 1,
            Fate::Refused => {}
        }
    }
    let line = format!(
        "seed={seed} digest={:016x} simulated_ms={simulated_ms} nodes={nodes} partitions={partitions} faults={faults} \
         acknowledged={acknowledged} unknown={unknown} reads={reads} healed_ms={healed_ms} wrong={}",
        seen.digest(),
        seen.wrong.len()
    );
    Report { line, wrong: seen.wrong.clone() }
}

/// Waits until `condition` holds; answers how long that took, or nothing when it was too long.
async fn within(most: Duration, condition: impl Fn() -> bool) -> Option<Duration> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > most {
            return None;
        }
        sleep(LOOK).await;
    }
    Some(began.elapsed())
}

/// The newest placement that any node knows.
fn placement(world: &World) -> Arc<Placement> {
    let all = world.running().into_iter().map(|(_, _, cluster)| cluster.placement().borrow().clone());
    all.max_by_key(|placement| placement.epoch).unwrap_or_default()
}

/// What is not as it should be when nothing goes on.
fn unrest(world: &World) -> Vec<String> {
    let placement = placement(world);
    let members: BTreeSet<NodeName> = placement.members.keys().cloned().collect();
    if placement.is_founded() {
        world.see_off(&members);
    }
    let mut wrong = Vec::new();
    let wanted: BTreeSet<NodeName> = world.all().into_iter().map(name).collect();
    let up = placement.members.iter().filter(|(_, member)| member.state == MemberState::Up);
    let up: BTreeSet<NodeName> = up.map(|(name, _)| name.clone()).collect();
    if up != wanted || members != wanted {
        wrong.push(format!("{:?} instead of {wanted:?}", placement.members));
    }
    // Two nodes that are left of more keep a voter and a learner of each partition.
    let replicas = members.len().min(3);
    for (id, at) in placement.assignments() {
        let is_whole = at.voters.len() == placement.voters_wanted() && at.voters.len() + at.learners.len() == replicas;
        if at.target.is_some() || !is_whole {
            wrong.push(format!("{id}: {at:?}"));
        }
        if homes(world, id).len() != 1 {
            wrong.push(format!("{id} is led by {:?}", homes(world, id)));
        }
    }
    wrong
}

fn is_settled(world: &World) -> bool {
    unrest(world).is_empty()
}

fn homes(world: &World, id: PartitionId) -> Vec<u64> {
    let is_home = |cluster: &Cluster| matches!(&*cluster.partition(id).role().borrow(), Role::Home { .. });
    world.running().into_iter().filter(|(_, _, cluster)| is_home(cluster)).map(|(n, ..)| n).collect()
}

/// Waits until every partition has a home that can confirm itself.
async fn heal(world: &World) {
    let began = Instant::now();
    for id in (0..world.partitions).map(PartitionId) {
        loop {
            let mut confirmed = false;
            for (_, _, cluster) in world.running() {
                let confirming = tokio::time::timeout(Duration::from_secs(1), cluster.partition(id).confirm());
                confirmed |= confirming.await.is_ok_and(|confirmed| confirmed.is_ok());
            }
            if confirmed {
                break;
            }
            if began.elapsed() > HEALING_MAX {
                world.blame("heals-without-help", format!("{id} has no home after {} s", HEALING_MAX.as_secs()));
                return;
            }
            sleep(LOOK).await;
        }
    }
}

/// All that a replica holds, as text.
fn everything(cluster: &Cluster, id: PartitionId, users: &[UserId]) -> Option<String> {
    let read = cluster.partition(id).read(|view| {
        let mut text = format!("{:?} {:?}", view.ledger(), view.live_users(None, ROWS_MAX));
        for user in users {
            let contacts = view.list(user, ListKind::Contacts, None, ROWS_MAX);
            let history = view.history(user, 0, u64::MAX, None, ROWS_MAX);
            // Writing to a string does not fail.
            let _ = write!(text, "\n{user}: {:?} {contacts:?} {history:?}", view.record(user));
        }
        text
    });
    read.ok()
}

fn of_partition(users: &[UserId], id: PartitionId, partitions: u16) -> Vec<UserId> {
    users.iter().filter(|user| partition_of(user, partitions) == id).cloned().collect()
}

/// Where two replicas differ, if they do.
fn differences(world: &World, users: &[UserId]) -> Option<String> {
    for id in (0..world.partitions).map(PartitionId) {
        let users = of_partition(users, id, world.partitions);
        let held = world.running().into_iter();
        let mut held = held.filter_map(|(n, _, cluster)| Some((n, everything(&cluster, id, &users)?)));
        let Some((first, wanted)) = held.next() else { return Some(format!("nobody keeps {id}")) };
        if let Some((other, found)) = held.find(|(_, found)| *found != wanted) {
            return Some(format!("{id} at n{first} and n{other}:\n{wanted}\n{found}"));
        }
    }
    None
}

/// Judges what clients saw by what is there now.
fn conclude(world: &World, users: &[UserId]) {
    for user in users {
        let id = partition_of(user, world.partitions);
        let keeps = world.running().into_iter().find(|(_, _, cluster)| cluster.partition(id).held());
        let Some((_, _, cluster)) = keeps else { continue };
        let read = cluster.partition(id).read(|view| {
            let history = view.history(user, 0, u64::MAX, None, ROWS_MAX).unwrap_or_default();
            let contacts = view.list(user, ListKind::Contacts, None, ROWS_MAX).unwrap_or_default();
            (history, contacts)
        });
        let Ok((mut history, contacts)) = read else { continue };
        history.reverse();
        if let Some(pair) = history.windows(2).find(|pair| pair[0].version > pair[1].version) {
            world.blame("versions-rise", format!("{user}: {pair:?}"));
        }
        // An entry that is about the activity has the text that was there before.
        let set = history.iter().filter(|entry| entry.reason == rollcall_presence::Reason::StatusSet);
        let committed: Vec<String> = set.filter_map(|entry| entry.text.as_deref().map(str::to_owned)).collect();
        let (writes, reads, added) = {
            let seen = held(&world.seen);
            let writes = seen.writes.get(user).cloned().unwrap_or_default();
            let reads = seen.reads.get(user).cloned().unwrap_or_default();
            (writes, reads, seen.contacts.get(user).cloned().unwrap_or_default())
        };
        for (check, why) in history::judge(&committed, &writes, &reads) {
            world.blame(check, format!("{user}: {why}"));
        }
        for friend in added.iter().filter(|friend| !contacts.iter().any(|(known, _)| known == *friend)) {
            world.blame("acknowledged-is-kept", format!("{user}: the contact {friend} was acknowledged and is lost"));
        }
    }
}
