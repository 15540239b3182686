//! A load that is recorded: people who stay, one writer each, readers and watchers, until the test has done its worst.

use super::{
    History, OpKind, Outcome, RecordedPerson, RecordedWatcher, RecordedWriter, Recorder,
    settling::{self, SERVICE},
};
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
/// Every so many writes a writer puts friends on its contacts, or takes them off.
const BEFRIEND_EVERY: usize = 8;

/// How much load.
#[derive(Debug, Clone)]
pub struct ObservedPlan {
    /// What the users' names begin with: new users for every run on a cluster.
    pub stem: String,
    /// Users: each has a connection and a writer.
    pub users: usize,
    /// Watchers of all users with a service's eyes, spread over the roll.
    pub watchers: usize,
    /// Watchers with the eyes of one friend each, whom the users put on their contacts and take off again.
    pub friends: usize,
    /// Users who have an HTTP session instead of a connection, and write nothing, until they [fall
    /// silent](Observed::falls_silent).
    pub passing: usize,
    /// The pause between heartbeats of these.
    pub heartbeat: Duration,
    /// The pause between an answer and the same client's next request.
    pub pace: Duration,
    /// How often a write without an answer is sent, under one key.
    pub attempts_max: u32,
}

impl Default for ObservedPlan {
    fn default() -> Self {
        Self {
            stem: "observed".into(),
            users: 20,
            watchers: 3,
            friends: 1,
            passing: 2,
            heartbeat: Duration::from_millis(500),
            pace: Duration::from_millis(60),
            attempts_max: 1,
        }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Observed {
    recorder: Recorder,
    roll: Roll,
    users: Vec<String>,
    passers: Vec<String>,
    people: Vec<RecordedPerson>,
    watchers: Vec<RecordedWatcher>,
    writing: Vec<JoinHandle<()>>,
    staying: Vec<JoinHandle<()>>,
    passing: Vec<JoinHandle<()>>,
    silence: Arc<AtomicBool>,
    enough: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Observed {
    /// Begins: everybody is online and watched before the first write.
    ///
    /// # Panics
    /// When the people do not get online.
    pub async fn begin(recorder: &Recorder, roll: &Roll, plan: &ObservedPlan) -> Self {
        let named =
            |kind: &str, count| -> Vec<String> { (0..count).map(|n| format!("{}-{kind}{n:04}", plan.stem)).collect() };
        let (users, passing, friends) = (named("", plan.users), named("p", plan.passing), named("f", plan.friends));
        let [enough, over, silence] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let person = |(at, user): (usize, &String)| RecordedPerson::new(recorder, roll, user, at);
        let people: Vec<RecordedPerson> = users.iter().enumerate().map(person).collect();
        let mut staying: Vec<JoinHandle<()>> =
            people.iter().map(|p| tokio::spawn(p.clone().run(over.clone()))).collect();
        eventually("everybody is online", async || people.iter().all(|p| p.connections() > 0).then_some(())).await;
        let passer = |(at, user): (usize, &String)| {
            let writer = RecordedWriter::new(recorder, roll, user, user, at);
            tokio::spawn(pass(writer, plan.heartbeat, silence.clone()))
        };
        let passing_on = passing.iter().enumerate().map(passer).collect();
        let opened = async || {
            recorder.look(|history| history.acknowledged(OpKind::OpenSession).count() >= passing.len()).then_some(())
        };
        eventually("the passing are online", opened).await;
        let all: Vec<String> = users.iter().chain(&passing).cloned().collect();
        let services = (0..plan.watchers).map(|at| (format!("{}-w{at}", plan.stem), (SERVICE, "service"), at));
        let eyes = friends.iter().enumerate().map(|(at, friend)| (friend.clone(), (friend.as_str(), "user"), at));
        let watcher =
            |(name, viewer, at): (String, _, _)| RecordedWatcher::new(recorder, roll, &name, viewer, at).watching(&all);
        let watchers: Vec<RecordedWatcher> = services.chain(eyes).map(watcher).collect();
        staying.extend(watchers.iter().map(|w| tokio::spawn(w.clone().run(over.clone()))));
        eventually("everybody is watched", async || watchers.iter().all(|w| w.count() == all.len()).then_some(()))
            .await;
        let writer = |(at, user): (usize, &String)| {
            let name = format!("{}-{at}", plan.stem);
            let writer = RecordedWriter::new(recorder, roll, &name, user, at).repeating(plan.attempts_max);
            tokio::spawn(write(writer, user.clone(), friends.clone(), plan.pace, enough.clone()))
        };
        let writing = users.iter().enumerate().map(writer).collect();
        let (recorder, roll) = (recorder.clone(), roll.clone());
        Self {
            recorder,
            roll,
            users: all,
            passers: passing,
            people,
            watchers,
            writing,
            staying,
            passing: passing_on,
            silence,
            enough,
            over,
        }
    }

    /// The passing users say nothing from now on.
    pub fn falls_silent(&self) {
        self.silence.store(true, Ordering::Relaxed);
    }

    /// Waits until every watcher holds whoever fell silent as offline.
    pub async fn all_are_shown_offline(&self) {
        let gone = |watcher: &RecordedWatcher, user| watcher.holds(user).is_some_and(|p| p.is_offline() && !p.stale);
        eventually_within(MORE_MAX, "the silent are shown offline", async || {
            self.passers.iter().all(|user| self.watchers.iter().all(|w| gone(w, user))).then_some(())
        })
        .await;
    }

    /// Waits until every one of them who have connections has left one behind without a word, and resumed at another node.
    pub async fn all_go_on(&self) {
        let before: Vec<usize> = self.people.iter().map(RecordedPerson::connections).collect();
        self.people.iter().for_each(RecordedPerson::goes_on);
        let has_gone_on = |(person, before): (&RecordedPerson, &usize)| person.connections() > *before;
        let gone_on = async || self.people.iter().zip(&before).all(has_gone_on).then_some(());
        eventually("everybody is online at another node", gone_on).await;
    }

    /// Who may fall silent.
    #[must_use]
    pub fn passing(&self) -> &[String] {
        &self.passers
    }

    /// Who is under load.
    #[must_use]
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Acknowledged writes so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.recorder.acknowledged()
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
        self.falls_silent();
        for client in self.writing.into_iter().chain(self.passing) {
            client.await.expect("a client");
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

/// Writes, reads its own user at whatever node comes next, and now and then lets friends see it or no longer.
async fn write(
    mut writer: RecordedWriter,
    user: String,
    friends: Vec<String>,
    pace: Duration,
    enough: Arc<AtomicBool>,
) {
    let mut number = 0;
    while !enough.load(Ordering::Relaxed) {
        let outcome = writer.set_status(if number % 2 == 0 { "dnd" } else { "away" }).await;
        sleep(pace).await;
        if number % READ_EVERY == 0 || outcome != Outcome::Ok {
            writer.elsewhere();
            writer.read(&user).await;
        }
        if number % BEFRIEND_EVERY == 0 {
            for friend in &friends {
                if (number / BEFRIEND_EVERY).is_multiple_of(2) {
                    writer.add_contact(friend).await;
                } else {
                    writer.remove_contact(friend).await;
                }
            }
        }
        number += 1;
    }
}

/// Opens a session and keeps it alive until silence is asked for.
async fn pass(mut writer: RecordedWriter, heartbeat: Duration, silence: Arc<AtomicBool>) {
    let mut session = None;
    while !silence.load(Ordering::Relaxed) {
        match &session {
            None => session = writer.open_session("mobile").await,
            // One that is refused has ended: another is opened.
            Some(id) => {
                if writer.heartbeat(id).await == Outcome::Fail {
                    session = None;
                }
            }
        }
        sleep(heartbeat).await;
    }
    writer.falls_silent();
}
