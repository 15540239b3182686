//! What goes wrong: drawn from the seed, one after the other, each for a while.

use super::{
    net::Ill,
    world::{Moment, World, name},
};
use rollcall_cluster::{AdminError, Role, RoundPart};
use rollcall_presence::PartitionId;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// How long a fault lasts, ms.
const LASTS_MS: std::ops::Range<u64> = 300..7_000;
/// The pause before the next one, ms: shorter than most last, so that they overlap.
const PAUSE_MS: std::ops::Range<u64> = 500..4_000;
/// A clock so wrong is given nothing to lead.
const SKEW_MS: i64 = 3_000;

#[derive(Debug, Clone, Copy)]
enum Fault {
    CutOneWay,
    CutOffHome,
    CutOffOne,
    Lossy,
    Slow,
    Hold,
    StallDisk,
    Kill,
    PowerCut,
    PowerCutOfAll,
    Doom,
    WrongClock,
    Join,
    Remove,
    HandOver,
}

const ALL: [Fault; 20] = [
    Fault::CutOneWay,
    Fault::CutOffHome,
    Fault::CutOffHome,
    Fault::CutOffOne,
    Fault::Lossy,
    Fault::Slow,
    Fault::Hold,
    Fault::Hold,
    Fault::StallDisk,
    Fault::Kill,
    Fault::PowerCut,
    Fault::PowerCutOfAll,
    Fault::PowerCutOfAll,
    Fault::Doom,
    Fault::Doom,
    Fault::Doom,
    Fault::WrongClock,
    Fault::Join,
    Fault::Remove,
    Fault::HandOver,
];

/// The moments at which a node may be made to die.
const MOMENTS: [Moment; 5] = [
    Moment::Round(RoundPart::Apply),
    Moment::Round(RoundPart::Sync),
    Moment::Round(RoundPart::Mark),
    Moment::Round(RoundPart::Answer),
    Moment::Publish,
];

/// Lets a few things go wrong, and returns when all of them are over and every node is to run again.
pub async fn wreak(world: &Arc<World>) -> u64 {
    let count = world.chance.within(3..7);
    let mut under_way = Vec::new();
    for number in 0..count {
        sleep(Duration::from_millis(world.chance.within(PAUSE_MS))).await;
        if let Some(fault) = world.chance.one(&ALL) {
            let lasts = Duration::from_millis(world.chance.within(LASTS_MS));
            let world = Arc::clone(world);
            under_way.push(tokio::spawn(async move { one(&world, number, fault, lasts).await }));
        }
    }
    for fault in under_way {
        // A panic in it was noted by the hook.
        let _ = fault.await;
    }
    // Whoever was to die at a moment that did not come lives on.
    for n in world.all() {
        if let Some(life) = world.life(n) {
            life.doom(Moment::Publish, u64::MAX, false);
        }
        world.start(n);
    }
    count
}

async fn one(world: &Arc<World>, number: u64, fault: Fault, lasts: Duration) {
    let all = world.all();
    let Some(n) = world.chance.one(&all) else { return };
    let victim = match fault {
        Fault::CutOffHome | Fault::Hold => home(world).unwrap_or(n),
        _ => n,
    };
    world.note(format_args!("fault {number}: {fault:?} of n{victim} for {} ms", lasts.as_millis()));
    let cut = Ill { lost_percent: 100, ..Ill::default() };
    match fault {
        Fault::CutOneWay => {
            if let Some(other) = world.chance.one(&others(&all, victim)) {
                world.net.harm(number, (name(victim), name(other)), cut);
            }
        }
        Fault::CutOffHome | Fault::CutOffOne => around(world, number, &all, victim, cut),
        Fault::Lossy => {
            let lost_percent = world.chance.within(5..60);
            around(world, number, &all, victim, Ill { lost_percent, ..Ill::default() });
        }
        Fault::Slow => {
            let slow_ms = world.chance.within(20..400);
            around(world, number, &all, victim, Ill { slow_ms, ..Ill::default() });
        }
        Fault::Hold => {
            let held_until_ms = world.now() / 1_000 + lasts.as_millis() as u64;
            around(world, number, &all, victim, Ill { held_until_ms, ..Ill::default() });
        }
        Fault::StallDisk => {
            if let Some(life) = world.life(victim) {
                life.stall(world.now() + lasts.as_micros() as u64);
            }
        }
        Fault::Kill => world.kill(victim, false),
        Fault::PowerCut => world.kill(victim, true),
        Fault::PowerCutOfAll => all.iter().for_each(|n| world.kill(*n, true)),
        Fault::Doom => {
            if let (Some(life), Some(moment)) = (world.life(victim), world.chance.one(&MOMENTS)) {
                life.doom(moment, world.chance.within(1..30), world.chance.percent(60));
            }
        }
        Fault::WrongClock => {
            world.skew(victim, if world.chance.percent(50) { SKEW_MS } else { -SKEW_MS });
        }
        Fault::Join => world.join(),
        Fault::Remove => remove(world, &all).await,
        Fault::HandOver => drain(world, victim).await,
    }
    sleep(lasts).await;
    world.net.heal(number);
    world.skew(victim, 0);
    if matches!(fault, Fault::PowerCutOfAll) {
        for n in all {
            sleep(Duration::from_millis(world.chance.within(0..1_000))).await;
            world.start(n);
        }
    } else if world.all().contains(&victim) {
        world.start(victim);
    }
    world.note(format_args!("fault {number} is over"));
}

fn others(all: &[u64], but: u64) -> Vec<u64> {
    all.iter().copied().filter(|n| *n != but).collect()
}

/// Both ways between `victim` and each of the others.
fn around(world: &Arc<World>, number: u64, all: &[u64], victim: u64, ill: Ill) {
    for other in others(all, victim) {
        world.net.harm(number, (name(victim), name(other)), ill);
        world.net.harm(number, (name(other), name(victim)), ill);
    }
}

/// A node that takes itself for the home of something.
fn home(world: &Arc<World>) -> Option<u64> {
    let id = PartitionId(u16::try_from(world.chance.within(0..u64::from(world.partitions))).ok()?);
    let is_home =
        |cluster: &rollcall_cluster::Cluster| matches!(&*cluster.partition(id).role().borrow(), Role::Home { .. });
    world.running().into_iter().find(|(_, _, cluster)| is_home(cluster)).map(|(n, ..)| n)
}

/// A node hands over what it leads; its next start ends that.
async fn drain(world: &Arc<World>, victim: u64) {
    if let Some((n, _, cluster)) = world.chance.one(&world.running()) {
        let asked = cluster.drain(&name(victim)).await;
        world.note(format_args!("n{n} was asked to drain n{victim}: {asked:?}"));
        sleep(Duration::from_secs(2)).await;
        world.kill(victim, false);
    }
}

/// One of more than three is taken out for good. The first two stay: they are whom others ask.
async fn remove(world: &Arc<World>, all: &[u64]) {
    let Some(gone) = world.chance.one(&others(&others(all, 1), 2)).filter(|_| all.len() > 3) else { return };
    let Some((_, _, cluster)) = world.chance.one(&world.running()) else { return };
    match cluster.remove(&name(gone)).await {
        Ok(()) => world.note(format_args!("n{gone} was removed")),
        Err(AdminError::Unsure) => world.note(format_args!("n{gone} may have been removed")),
        Err(_) => return,
    }
    world.leaving(gone);
}
