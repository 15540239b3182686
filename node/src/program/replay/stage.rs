//! What all tasks of a replay share: the server, the people's names, and the judge.
//!
//! Owns the requests that a referee makes beside the play: contacts, reads, history. Relies on the judge's lock being held
//! for microseconds, and never across a wait.

use super::{
    chain::Shown,
    judge::{Judge, Strictness},
    script::{Script, UserIx},
};
use crate::program::{
    client::{self, Client, ClientError, Credentials},
    frame::{Status, UnreadableFrame},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::{Mutex, MutexGuard};
use reqwest::Url;
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
    pub(crate) client: Client,
    /// Told when the last contact that owed a sight has had it.
    pub(crate) seen: Notify,
    names: Vec<String>,
    index: HashMap<String, UserIx>,
    judge: Mutex<Judge>,
    urls: Vec<Url>,
    next_url: AtomicUsize,
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

#[derive(Deserialize)]
struct History {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    version: u64,
    status: Status,
}

impl Stage {
    /// `prefix` goes before every name of the script.
    pub(crate) fn new(
        script: Script,
        prefix: &str,
        credentials: Credentials,
        urls: Vec<Url>,
    ) -> Result<Self, ClientError> {
        let bases = vec![0; script.users.len()];
        let judge = Judge::new(Strictness::EachTransition, script.friends.clone(), &bases);
        let names: Vec<String> = script.users.iter().map(|u| format!("{prefix}{u}")).collect();
        let index = names.iter().cloned().zip(0..).collect();
        let first = urls.first().ok_or_else(|| ClientError::Address(String::new()))?;
        Ok(Self {
            client: Client::new(first.clone())?,
            service: credentials.token("rollcall-replay", "service", RUN_TTL)?,
            script,
            credentials,
            seen: Notify::new(),
            names,
            index,
            judge: Mutex::new(judge),
            urls,
            next_url: AtomicUsize::new(0),
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

    /// The node for the next connection: each in turn.
    pub(crate) fn url(&self) -> &Url {
        &self.urls[self.next_url.fetch_add(1, Ordering::Relaxed) % self.urls.len()]
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
                self.client.add_contacts(&self.service, self.name(user), &others).await?;
                progress();
                Ok(())
            }
        });
        stream::iter(calls).buffer_unordered(REFEREE_IN_FLIGHT).try_collect().await
    }

    /// What the server says of `user` now.
    pub(crate) async fn read(&self, user: UserIx) -> Result<Shown, ClientError> {
        let text = self.client.get(&self.service, &format!("/v1/users/{}/presence", self.name(user))).await?;
        let raw: &RawValue = client::read(self.client.url(), &text)?;
        match self.sight(raw) {
            Ok(Some((found, shown))) if found == user => Ok(shown),
            _ => Err(self.foreign("not the presence asked for")),
        }
    }

    /// What the server says of everybody now.
    pub(crate) async fn read_all(&self) -> Result<Vec<Shown>, ClientError> {
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
            let text = self.client.post(&self.service, "/v1/presence/query", &Query { users }).await?;
            let answer: Answer<'_> = client::read(self.client.url(), &text)?;
            for raw in answer.presences {
                match self.sight(raw) {
                    Ok(Some((user, shown))) if user as usize == all.len() => all.push(shown),
                    _ => return Err(self.foreign("not the presences asked for, in their order")),
                }
            }
        }
        Ok(all)
    }

    /// The versions and statuses of `user`'s history after `base`, oldest first.
    pub(crate) async fn history(&self, user: UserIx, base: u64) -> Result<Vec<(u64, Status)>, ClientError> {
        let limit = rollcall_presence::limits::PAGE_MAX;
        let path = format!("/v1/users/{}/history?limit={limit}", self.name(user));
        let text = self.client.get(&self.service, &path).await?;
        let history: History = client::read(self.client.url(), &text)?;
        let newer = history.entries.iter().rev().filter(|e| e.version > base);
        Ok(newer.map(|e| (e.version, e.status)).collect())
    }

    /// The resident memory of every node that tells it, bytes.
    pub(crate) async fn memory(&self) -> Result<BTreeMap<String, Option<u64>>, ClientError> {
        #[derive(Deserialize)]
        struct Cluster {
            nodes: Vec<Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            name: String,
            rss_bytes: Option<u64>,
        }
        let text = self.client.get(&self.credentials.admin()?, "/v1/cluster/status").await?;
        let cluster: Cluster = client::read(self.client.url(), &text)?;
        Ok(cluster.nodes.into_iter().map(|n| (n.name, n.rss_bytes)).collect())
    }

    fn foreign(&self, detail: &str) -> ClientError {
        ClientError::Foreign { url: self.client.url().to_string(), detail: detail.into() }
    }
}
