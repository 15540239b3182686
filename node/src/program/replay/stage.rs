//! What all tasks of a replay share: the server, the people's names, and the judge.
//!
//! Owns what a referee asks beside the play: contacts, reads, history. Relies on the judge's lock being held for
//! microseconds, and never across a wait.

use super::{
    account::{Entry, History},
    chain::Shown,
    judge::{Judge, Strictness},
    lived::Lived,
    patience::Patience,
    referee::Referee,
    script::{Script, UserIx},
    sight::SIGHT_MAX,
};
use crate::program::{
    client::{self, ClientError, Credentials},
    frame::{Status, UnreadableFrame},
    server::Server,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hasher as _},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Requests of the referee in flight: enough to fill the server's commits, few enough to be admitted.
const REFEREE_IN_FLIGHT: usize = 32;
/// How long the tokens of a run are good for.
const RUN_TTL: Duration = Duration::from_secs(7 * 86_400);

/// See the module.
pub(crate) struct Stage {
    pub(crate) script: Script,
    pub(crate) credentials: Credentials,
    pub(crate) referee: Referee,
    /// What befell the connections.
    pub(crate) lived: Lived,
    /// Told when the last contact that owed a sight has had it.
    pub(crate) seen: Notify,
    names: Vec<String>,
    index: HashMap<String, UserIx>,
    judge: Mutex<Judge>,
    nodes: Vec<Server>,
    next_node: AtomicUsize,
    /// How long convergence may take after a fault, in a replay through them.
    convergence_max: Option<Duration>,
    service: String,
    started: Instant,
}

#[derive(Deserialize)]
struct Sight<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    status: Status,
    version: u64,
    #[serde(default)]
    stale: bool,
}

impl Stage {
    /// `prefix` goes before every name of the script. With `convergence_max` nodes may die meanwhile.
    pub(crate) fn new(
        script: Script,
        prefix: &str,
        credentials: Credentials,
        nodes: Vec<Server>,
        convergence_max: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let bases = vec![0; script.users.len()];
        let judge = Judge::new(Strictness::EachTransition, script.friends.clone(), &bases);
        let names: Vec<String> = script.users.iter().map(|u| format!("{prefix}{u}")).collect();
        let index = names.iter().cloned().zip(0..).collect();
        Ok(Self {
            referee: Referee::new(&nodes, convergence_max.is_some())?,
            lived: Lived::default(),
            convergence_max,
            service: credentials.token("rollcall-replay", "service", RUN_TTL)?,
            script,
            credentials,
            seen: Notify::new(),
            names,
            index,
            judge: Mutex::new(judge),
            nodes,
            next_node: AtomicUsize::new(0),
            started: Instant::now(),
        })
    }

    pub(crate) fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock()
    }

    /// Puts the judge of the play in place, once it is known what everybody's presence is before.
    pub(crate) fn begin(&self, judge: Judge) {
        *self.judge.lock() = judge;
    }

    pub(crate) fn name(&self, user: UserIx) -> &str {
        &self.names[user as usize]
    }

    /// A token to act as `user` for the whole run.
    pub(crate) fn token(&self, user: UserIx) -> Result<String, ClientError> {
        Ok(self.credentials.token(self.name(user), "user", RUN_TTL)?)
    }

    /// Whether nodes may die meanwhile.
    pub(crate) fn through_faults(&self) -> bool {
        self.convergence_max.is_some()
    }

    /// How long a connected watcher may wait for a notification.
    pub(crate) fn sight_max(&self) -> Duration {
        self.convergence_max.unwrap_or(SIGHT_MAX)
    }

    /// The node for the next connection: each in turn, but not the one that was left, if there is another.
    pub(crate) fn node(&self, left: Option<usize>) -> (usize, &Server) {
        let next = || self.next_node.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let node = match next() {
            same if self.through_faults() && left == Some(same) => next(),
            node => node,
        };
        (node, &self.nodes[node])
    }

    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// What a presence of the server shows, of whom; `None` for somebody who is not in the script.
    pub(crate) fn sight(&self, raw: &RawValue) -> Result<Option<(UserIx, Shown)>, UnreadableFrame> {
        let sight: Sight<'_> = serde_json::from_str(raw.get())?;
        let Some(user) = self.index.get(&*sight.user) else { return Ok(None) };
        let digest = (!sight.stale).then(|| {
            let mut hasher = DefaultHasher::new();
            hasher.write(raw.get().as_bytes());
            hasher.finish() as u32 // half of the hash tells different bytes apart just as well here
        });
        Ok(Some((*user, Shown { version: sight.version, status: sight.status, stale: sight.stale, digest })))
    }

    /// Makes everybody's contacts, in bulk calls.
    pub(crate) async fn load_contacts(&self, progress: impl Fn()) -> Result<(), ClientError> {
        let calls = (0..self.names.len() as UserIx).map(|user| {
            let progress = &progress;
            async move {
                let others: Vec<&str> = self.script.friends.of(user).iter().map(|f| self.name(*f)).collect();
                self.referee.add_contacts(&self.service, self.name(user), &others).await?;
                progress();
                Ok(())
            }
        });
        stream::iter(calls).buffer_unordered(REFEREE_IN_FLIGHT).try_collect().await
    }

    /// What the server says of `user` now; through faults, once it is sure of that.
    pub(crate) async fn read(&self, user: UserIx) -> Result<Shown, ClientError> {
        let mut patience = Patience::new(self.through_faults());
        loop {
            let shown = self.read_once(user).await?;
            if !shown.stale || !patience.again().await {
                return Ok(shown);
            }
        }
    }

    async fn read_once(&self, user: UserIx) -> Result<Shown, ClientError> {
        let text = self.referee.get(&self.service, &format!("/v1/users/{}/presence", self.name(user))).await?;
        let raw: &RawValue = client::read(self.referee.url(), &text)?;
        match self.sight(raw) {
            Ok(Some((found, shown))) if found == user => Ok(shown),
            _ => Err(self.foreign("not the presence asked for")),
        }
    }

    /// What the server says of everybody now; through faults, once it is sure of that.
    pub(crate) async fn read_all(&self) -> Result<Vec<Shown>, ClientError> {
        let mut patience = Patience::new(self.through_faults());
        loop {
            let all = self.read_all_once().await?;
            if all.iter().all(|shown| !shown.stale) || !patience.again().await {
                return Ok(all);
            }
        }
    }

    async fn read_all_once(&self) -> Result<Vec<Shown>, ClientError> {
        #[derive(Serialize)]
        struct Query<'a> {
            users: &'a [String],
        }
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            presences: Vec<&'a RawValue>,
        }
        let mut all = Vec::with_capacity(self.names.len());
        for users in self.names.chunks(rollcall_presence::limits::QUERY_MAX_IDS) {
            let text = self.referee.post(&self.service, "/v1/presence/query", &Query { users }).await?;
            let answer: Answer<'_> = client::read(self.referee.url(), &text)?;
            for raw in answer.presences {
                match self.sight(raw) {
                    Ok(Some((user, shown))) if user as usize == all.len() => all.push(shown),
                    _ => return Err(self.foreign("not the presences asked for, in their order")),
                }
            }
        }
        Ok(all)
    }

    /// `user`'s history after the version `base`, as far back as it is kept.
    pub(crate) async fn history(&self, user: UserIx, base: u64) -> Result<History, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            entries: Vec<Entry>,
        }
        let limit = rollcall_presence::limits::PAGE_MAX;
        let path = format!("/v1/users/{}/history?limit={limit}", self.name(user));
        let text = self.referee.get(&self.service, &path).await?;
        let page: Page = client::read(self.referee.url(), &text)?;
        let complete = page.entries.len() < limit;
        let entries = page.entries.into_iter().rev().filter(|e| e.version > base).collect();
        Ok(History { entries, complete })
    }

    /// The resident memory of every node that tells it, bytes.
    pub(crate) async fn memory(&self) -> Result<BTreeMap<String, Option<u64>>, ClientError> {
        let text = self.referee.get(&self.credentials.admin()?, "/v1/cluster/status").await?;
        client::resident_bytes(self.referee.url(), &text)
    }

    fn foreign(&self, detail: &str) -> ClientError {
        ClientError::Foreign { url: self.referee.url().to_string(), detail: detail.into() }
    }
}
