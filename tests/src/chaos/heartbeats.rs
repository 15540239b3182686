//! People without a connection: a session over HTTP each, kept alive by heartbeats, opened anew when it was ended.
//!
//! Every other one dies again and again: says nothing any more, for longer than the dead may be shown, and comes back then.

use crate::{
    history::{Outcome, RecordedWriter, Recorder},
    load::Roll,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// Heartbeats of a life that ends; of each further person one more, so that they do not die together.
const LIFE: usize = 4;

/// Some people who live by heartbeats.
#[derive(Debug)]
pub(super) struct Heartbeats {
    enough: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    people: Vec<JoinHandle<()>>,
    /// Who they are.
    pub(super) users: Vec<String>,
}

impl Heartbeats {
    /// Begins with `count` of them, who send a heartbeat every `pace`.
    pub(super) fn begin(recorder: &Recorder, roll: &Roll, count: usize, pace: Duration) -> Self {
        let dead =
            recorder.look(|history| Duration::from_micros(history.promises.death_us() + history.promises.delivery_us));
        let (enough, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let users: Vec<String> = (0..count).map(|n| format!("heartbeats-{n:04}")).collect();
        let person = |(at, user): (usize, &String)| {
            let writer = RecordedWriter::new(recorder, roll, user, user, at);
            let life = if at % 2 == 1 { LIFE + at } else { usize::MAX };
            tokio::spawn(live(writer, Ways { pace, life, dead }, enough.clone(), over.clone()))
        };
        let people = users.iter().enumerate().map(person).collect();
        Self { enough, over, people, users }
    }

    /// Nobody opens a session any more; those that there are stay alive.
    pub(super) fn only_stay(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Everybody is silent from now on.
    pub(super) async fn end(self) -> Result<(), String> {
        self.over.store(true, Ordering::Relaxed);
        for person in self.people {
            person.await.map_err(|e| format!("somebody who sends heartbeats: {e}"))?;
        }
        Ok(())
    }
}

/// How somebody lives.
#[derive(Clone, Copy)]
struct Ways {
    pace: Duration,
    /// So many heartbeats, and then none.
    life: usize,
    /// For so long.
    dead: Duration,
}

async fn live(mut writer: RecordedWriter, ways: Ways, enough: Arc<AtomicBool>, over: Arc<AtomicBool>) {
    let mut session: Option<String> = None;
    let mut left = ways.life;
    while !over.load(Ordering::Relaxed) {
        if left == 0 && !enough.load(Ordering::Relaxed) {
            writer.falls_silent();
            session = None;
            left = ways.life;
            pause(ways.dead, &over).await;
            continue;
        }
        match &session {
            Some(open) => match writer.heartbeat(open).await {
                Outcome::Ok => {
                    left = left.saturating_sub(1);
                    writer.elsewhere();
                    pause(ways.pace, &over).await;
                }
                // Ended, or this node's clock calls the token old: whichever it is, another session is opened.
                Outcome::Fail => session = None,
                Outcome::Unknown => {}
            },
            None if enough.load(Ordering::Relaxed) => pause(LOOK, &over).await,
            None => session = writer.open_session("phone").await,
        }
    }
    writer.falls_silent();
}

/// Waits, but not longer than the run.
async fn pause(pace: Duration, over: &AtomicBool) {
    let mut left = pace;
    while !left.is_zero() && !over.load(Ordering::Relaxed) {
        let step = left.min(LOOK);
        sleep(step).await;
        left -= step;
    }
}
