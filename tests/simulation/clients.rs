//! Clients: they write and read through whichever node takes itself for the home, and say what they were answered.
//!
//! Some take their time between asking who is home and proposing, as a home does that stood still meanwhile. Some repeat what had no
//! answer, under the same key.

use super::{
    held,
    history::{Fate, Read, Write},
    world::{Life, World},
};
use rollcall_cluster::{Cluster, ProposeError, Role};
use rollcall_presence::{
    Activity, Command, Device, Intent, ListChanges, ListKind, ManualStatus, Meta, PartitionId, RequestKey, SessionId,
    SessionKind, UserId, partition_of,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Users of each partition.
const USERS_EACH: usize = 2;
/// How long a read waits for its home to be confirmed: longer than the program does.
const CONFIRM: Duration = Duration::from_secs(5);
/// How long a client looks for a home, or repeats what has no answer, in rounds of 100 ms or more.
const ROUNDS: usize = 60;
/// How long somebody hesitates between two steps, ms at most: longer than an election.
const HESITATION_MS: u64 = 4_000;

/// Some users of every partition, those of partition 0 first.
pub fn users(partitions: u16) -> Vec<UserId> {
    let mut found: Vec<Vec<UserId>> = vec![Vec::new(); usize::from(partitions)];
    let names = (0_u32..).filter_map(|n| UserId::new(&format!("user{n}")).ok());
    for user in names {
        let of = &mut found[usize::from(partition_of(&user, partitions).0)];
        if of.len() < USERS_EACH {
            of.push(user);
        }
        if found.iter().all(|users| users.len() >= USERS_EACH) {
            break;
        }
    }
    found.concat()
}

fn put_status(text: &str) -> Intent {
    let (status, text) = (ManualStatus::Dnd, Some(text.into()));
    Intent::PutStatus { status, text, meta: Meta::empty(), expires_in_s: None }
}

#[allow(clippy::expect_used, reason = "the text is made here")]
fn session(user: &UserId) -> SessionId {
    SessionId::new(&format!("session-{}", user.as_str())).expect("a session id")
}

#[allow(clippy::expect_used, reason = "the text is made here")]
fn open_session(user: &UserId) -> Intent {
    Intent::OpenSession {
        session: session(user),
        device: Device::new("web").expect("a device"),
        activity: Activity::Active,
        kind: SessionKind::Http,
        held_by: None,
        resume_hash: None,
    }
}

/// A node that takes itself for the home of a partition, and the term in which.
struct Home {
    node: u64,
    life: Arc<Life>,
    cluster: Arc<Cluster>,
    id: PartitionId,
    term: u64,
}

/// One client.
pub struct Client {
    pub world: Arc<World>,
    pub number: u64,
    pub users: Vec<UserId>,
    made: u64,
    /// The first term in which a node was the home of a partition.
    terms: Mutex<BTreeMap<(u64, PartitionId), u64>>,
}

impl Client {
    pub fn new(world: &Arc<World>, number: u64, users: Vec<UserId>) -> Self {
        Self { world: Arc::clone(world), number, users, made: 0, terms: Mutex::default() }
    }

    /// Has every user online, with a status, before anything goes wrong.
    pub async fn settle(&mut self) {
        for user in self.users.clone() {
            let intents = [open_session(&user), put_status(&format!("first-{}", user.as_str()))];
            for (number, intent) in intents.into_iter().enumerate() {
                let began = self.world.now();
                let key = Some(format!("first-{}-{number}", user.as_str()));
                let fate = self.insist(&user, key, |_| intent.clone()).await;
                if number == 1 {
                    self.wrote(&user, &format!("first-{}", user.as_str()), began, fate);
                }
            }
        }
    }

    /// Does this many things.
    pub async fn work(mut self, operations: u64) {
        for _ in 0..operations {
            sleep(Duration::from_millis(self.world.chance.within(20..400))).await;
            let Some(user) = self.world.chance.one(&self.users) else { return };
            match self.world.chance.within(0..100) {
                0..30 => self.write_once(&user).await,
                30..45 => self.write_until_answered(&user).await,
                45..52 => self.add_contact(&user).await,
                52..60 => self.turn(&user).await,
                _ => self.read(&user).await,
            }
        }
    }

    fn text(&mut self) -> String {
        self.made += 1;
        format!("c{}-{}", self.number, self.made)
    }

    async fn write_once(&mut self, user: &UserId) {
        let (text, began) = (self.text(), self.world.now());
        let Some(home) = self.home(user).await else { return };
        let text = format!("{text}@{}", home.term);
        let fate = self.propose(&home, user, None, put_status(&text)).await;
        self.wrote(user, &text, began, fate);
    }

    async fn write_until_answered(&mut self, user: &UserId) {
        let (text, began) = (self.text(), self.world.now());
        let fate = self.insist(user, Some(text.clone()), |_| put_status(&text)).await;
        self.wrote(user, &text, began, fate);
    }

    #[allow(clippy::expect_used, reason = "the text is made here")]
    async fn add_contact(&mut self, user: &UserId) {
        let friend = UserId::new(&self.text()).expect("a user id");
        let add = vec![friend.clone()];
        let changes = ListChanges { list: ListKind::Contacts, add, remove: Vec::new() };
        let fate = self.insist(user, None, |_| Intent::ChangeList(changes.clone())).await;
        if matches!(fate, Fate::Acknowledged(_)) {
            held(&self.world.seen).contacts.entry(user.clone()).or_default().push(friend);
        }
    }

    async fn turn(&mut self, user: &UserId) {
        let activity = if self.world.chance.percent(50) { Activity::Active } else { Activity::Idle };
        let Some(home) = self.home(user).await else { return };
        self.propose(&home, user, None, Intent::SetActivity { session: session(user), activity }).await;
    }

    async fn read(&mut self, user: &UserId) {
        let Some(home) = self.home(user).await else { return };
        let began = self.world.now();
        let partition = home.cluster.partition(home.id);
        let confirmed = timeout(CONFIRM, partition.confirm()).await.ok().and_then(Result::ok);
        if confirmed.is_none() {
            return;
        }
        let read = partition.read(|view| view.record(user));
        let (ended, is_alive) = (self.world.now(), home.life.is_alive());
        let text = match read {
            Ok(Ok(record)) if is_alive => record.and_then(|record| record.setting.text),
            _ => return,
        };
        let text = text.map_or_else(|| "nothing".to_owned(), |text| text.to_string());
        self.world.note(format_args!("c{} reads {text} of {user} at n{}", self.number, home.node));
        held(&self.world.seen).reads.entry(user.clone()).or_default().push(Read { text, began, ended });
    }

    fn wrote(&self, user: &UserId, text: &str, began: u64, fate: Fate) {
        self.world.note(format_args!("c{} sets {text} of {user}: {fate:?}", self.number));
        let write = Write { text: text.to_owned(), began, fate };
        held(&self.world.seen).writes.entry(user.clone()).or_default().push(write);
    }

    /// Somebody who takes itself for the home.
    async fn home(&self, user: &UserId) -> Option<Home> {
        let id = partition_of(user, self.world.partitions);
        for _ in 0..ROUNDS {
            let homes = self.world.running().into_iter().filter_map(|(node, life, cluster)| {
                let Role::Home { term } = *cluster.partition(id).role().borrow() else { return None };
                Some((node, life, cluster, term))
            });
            if let Some((node, life, cluster, term)) = self.world.chance.one(&homes.collect::<Vec<_>>()) {
                if self.world.chance.percent(15) {
                    sleep(Duration::from_millis(self.world.chance.within(0..HESITATION_MS))).await;
                }
                let term = self.remembered(node, id, term);
                return Some(Home { node, life, cluster, id, term });
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Now and then somebody acts for the home that this node was in an earlier term: it must be fenced off.
    fn remembered(&self, node: u64, id: PartitionId, term: u64) -> u64 {
        let earlier = *held(&self.terms).entry((node, id)).or_insert(term);
        if self.world.chance.percent(10) { earlier } else { term }
    }

    async fn propose(&self, home: &Home, user: &UserId, key: Option<&str>, intent: Intent) -> Fate {
        let key = key.map(|key| RequestKey { key: key.into(), digest: [7; 32] });
        let at = self.world.clock(home.node);
        let command = Command { user: user.clone(), term: home.term, at, key, intent };
        let answered = home.cluster.partition(home.id).propose(command).await;
        if !home.life.is_alive() {
            return Fate::Unknown;
        }
        match answered {
            Ok(outcome) if outcome.answer.is_ok() => {
                let now = self.world.now();
                held(&self.world.seen).acknowledged(now, home.node, home.id, home.term);
                Fate::Acknowledged(now)
            }
            Ok(_) | Err(ProposeError::Busy | ProposeError::NotHome { .. }) => Fate::Refused,
            Err(ProposeError::Unknown) => Fate::Unknown,
        }
    }

    /// Repeats until there is an answer, or patience ends.
    async fn insist(&self, user: &UserId, key: Option<String>, intent: impl Fn(u64) -> Intent) -> Fate {
        let mut fate = Fate::Refused;
        for _ in 0..ROUNDS {
            let Some(home) = self.home(user).await else { return fate };
            match self.propose(&home, user, key.as_deref(), intent(home.term)).await {
                Fate::Refused => {}
                Fate::Unknown => fate = Fate::Unknown,
                acknowledged @ Fate::Acknowledged(_) => return acknowledged,
            }
            sleep(Duration::from_millis(self.world.chance.within(50..500))).await;
        }
        fate
    }
}
