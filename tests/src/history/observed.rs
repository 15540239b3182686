//! A load that is recorded: people who stay, one writer each, readers and watchers, until the test has done its worst.

use super::{History, OpKind, Outcome, RecordedPerson, RecordedWatcher, RecordedWriter, Recorder, settling};
use crate::{
    load::Roll,
    wait::{eventually, eventually_within},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// How long more acknowledgements are waited for. Used up by failures only.
const MORE_MAX: Duration = Duration::from_secs(60);
/// Every so many writes a writer reads somebody.
const READ_EVERY: usize = 2;

/// How much load.
#[derive(Debug, Clone)]
pub struct ObservedPlan {
    /// What the users' names begin with: new users for every run on a cluster.
    pub stem: String,
    /// Users: each has a connection and a writer.
    pub users: usize,
    /// Watchers of all users, spread over the roll.
    pub watchers: usize,
    /// The pause between an answer and the same client's next request.
    pub pace: Duration,
    /// How often a write without an answer is sent, under one key.
    pub attempts_max: u32,
}

impl Default for ObservedPlan {
    fn default() -> Self {
        Self { stem: "observed".into(), users: 20, watchers: 3, pace: Duration::from_millis(60), attempts_max: 1 }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Observed {
    recorder: Recorder,
    roll: Roll,
    users: Vec<String>,
    watchers: Vec<RecordedWatcher>,
    writing: Vec<JoinHandle<()>>,
    staying: Vec<JoinHandle<()>>,
    enough: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Observed {
    /// Begins: everybody is online and watched before the first write.
    ///
    /// # Panics
    /// When the people do not get online.
    pub async fn begin(recorder: &Recorder, roll: &Roll, plan: &ObservedPlan) -> Self {
        let users: Vec<String> = (0..plan.users).map(|n| format!("{}-{n:04}", plan.stem)).collect();
        let (enough, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let person = |(at, user): (usize, &String)| RecordedPerson::new(recorder, roll, user, at);
        let people: Vec<RecordedPerson> = users.iter().enumerate().map(person).collect();
        let mut staying: Vec<JoinHandle<()>> =
            people.iter().map(|p| tokio::spawn(p.clone().run(over.clone()))).collect();
        eventually("everybody is online", async || people.iter().all(|p| p.connections() > 0).then_some(())).await;
        let service = ("the-service", "service");
        let watcher =
            |at| RecordedWatcher::new(recorder, roll, &format!("{}-w{at}", plan.stem), service, at).watching(&users);
        let watchers: Vec<RecordedWatcher> = (0..plan.watchers).map(watcher).collect();
        staying.extend(watchers.iter().map(|w| tokio::spawn(w.clone().run(over.clone()))));
        eventually("everybody is watched", async || watchers.iter().all(|w| w.count() == users.len()).then_some(()))
            .await;
        let writer = |(at, user): (usize, &String)| {
            let name = format!("{}-{at}", plan.stem);
            let writer = RecordedWriter::new(recorder, roll, &name, user, at).repeating(plan.attempts_max);
            tokio::spawn(write(writer, user.clone(), plan.pace, enough.clone()))
        };
        let writing = users.iter().enumerate().map(writer).collect();
        let (recorder, roll) = (recorder.clone(), roll.clone());
        Self { recorder, roll, users, watchers, writing, staying, enough, over }
    }

    /// Who is under load.
    #[must_use]
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Acknowledged writes so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.recorder.look(|history| history.acknowledged(OpKind::SetStatus).count())
    }

    /// Waits for this many more acknowledged writes.
    pub async fn more(&self, count: usize) {
        let wanted = self.acknowledged() + count;
        let enough = async || (self.acknowledged() >= wanted).then_some(());
        eventually_within(MORE_MAX, "writes are acknowledged", enough).await;
    }

    /// Ends the writing, lets all come to rest, reads what must be compared, and gives the history.
    ///
    /// # Panics
    /// When a client panicked.
    pub async fn settle(self) -> History {
        self.enough.store(true, Ordering::Relaxed);
        for writer in self.writing {
            writer.await.expect("a writer");
        }
        settling::settle(&self.recorder, &self.roll, &self.users, &self.watchers).await;
        let history = self.recorder.history();
        self.over.store(true, Ordering::Relaxed);
        for client in self.staying {
            client.await.expect("a client");
        }
        history
    }
}

/// Writes, and reads its own user now and then at whatever node it is at, until it is enough.
async fn write(mut writer: RecordedWriter, user: String, pace: Duration, enough: Arc<AtomicBool>) {
    for number in 0.. {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let outcome = writer.set_status(if number % 2 == 0 { "dnd" } else { "away" }).await;
        sleep(pace).await;
        if number % READ_EVERY == 0 || outcome != Outcome::Ok {
            writer.elsewhere();
            writer.read(&user).await;
        }
    }
}
