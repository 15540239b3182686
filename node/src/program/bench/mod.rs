//! `rollcall bench`: people on a ring who are friends of their neighbours, each with a socket; they change their status at a
//! pace, and everybody's notifications are timed from the change to the friend's frame.
//!
//! Owns what is printed: only what was measured. Relies on the contract alone, so that any cluster can be measured from
//! anywhere. Promises that the people it invented are deleted at the end, and exit code 1 when a watcher does not come to hold
//! what was acknowledged.

mod person;
mod tally;

use super::{
    Failure,
    client::{self, Client, ClientError, Credentials},
    command_line::BenchOptions,
    connect::note,
    frame,
    latency::Latency,
    open_files,
    server::Server,
    socket::{Event, Opening, Socket, SocketError},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use person::{Person, Turn};
use std::{
    collections::HashMap,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tally::Tally;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// Requests and openings under way at once: enough to fill the server's commits, few enough to be admitted.
const IN_FLIGHT: usize = 64;
/// How long watchers may take to hold everything once the changes have ended.
const SETTLING_MAX: Duration = Duration::from_secs(30);
/// Files that the program itself needs beside the sockets.
const OWN_FILES: u64 = 64;
/// Turns that wait for a person: one, and the request to settle.
const TURNS_MAX: usize = 2;

/// Why nothing could be measured. Whatever was made is left as it is: `--prefix` of the message says whose it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(
        "{people} sockets and {OWN_FILES} other files are more than this process may open ({limit}): see `ulimit -n`"
    )]
    Files { people: u32, limit: u64 },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("a person's task ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// The run.
struct Bench<'a> {
    options: &'a BenchOptions,
    client: Client,
    /// What sockets are spread over.
    nodes: Vec<Server>,
    credentials: Credentials,
    service: String,
    names: Vec<String>,
}

/// Runs it; whether every watcher came to hold what was acknowledged.
pub(crate) async fn run(options: &BenchOptions) -> Result<bool, Failure> {
    let BenchOptions { users, friends, .. } = options;
    if friends >= users || friends % 2 == 1 {
        return Err(Failure::usage(format_args!(
            "--friends ({friends}) must be an even number below --users ({users})"
        )));
    }
    let credentials = Credentials::of(&options.client).map_err(Failure::failed)?;
    if !credentials.mints() {
        return Err(Failure::usage("a bench acts for many users: give it the key (--auth-key) instead of a token"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let prefix = options.prefix.clone().unwrap_or_else(|| format!("bench-{}-", now.as_millis()));
    let names: Vec<String> = (0..options.users).map(|n| format!("{prefix}{n:06}")).collect();
    let client = Client::new(Server::of(&options.client).map_err(Failure::usage)?)?;
    let nodes = Server::all(&options.nodes, &options.client).map_err(Failure::usage)?;
    let service = credentials.service().map_err(Failure::failed)?;
    let bench = Bench { options, client, nodes, credentials, service, names };
    let measured = bench.measure().await;
    bench.delete_people().await;
    let (text, whole) = measured.map_err(Failure::failed)?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(whole)
}

impl Bench<'_> {
    async fn measure(&self) -> Result<(String, bool), BenchError> {
        let people = self.options.users;
        let limit = open_files::raise();
        if u64::from(people) + OWN_FILES > limit {
            return Err(BenchError::Files { people, limit });
        }
        note("making contacts");
        self.make_contacts().await?;
        let empty = self.memory().await?;
        note("connecting");
        let tally = Arc::new(Tally::new(self.names.len()));
        let connecting = Instant::now();
        let (settled, settling) = mpsc::channel(self.names.len().max(1));
        let mut lives = JoinSet::new();
        let turns = self.connect_people(&tally, &settled, &mut lives).await?;
        let connected = connecting.elapsed();
        let full = self.memory().await?;
        note("changing");
        let changing = Instant::now();
        self.change(&turns).await;
        let changed = changing.elapsed();
        note("settling");
        let whole = self.settle(&turns, settling).await;
        drop(turns);
        while let Some(life) = lives.join_next().await {
            life??;
        }
        let connected = f64::from(people) / connected.as_secs_f64();
        let held = full.saturating_sub(empty);
        Ok((self.report(&tally, connected, held, changed, whole), whole))
    }

    /// The neighbours of a person on the ring, half of them on each side.
    fn friends_of(&self, person: usize) -> Vec<usize> {
        let (people, friends) = (self.names.len(), self.options.friends as usize);
        (1..=friends / 2).flat_map(|n| [(person + n) % people, (person + people - n) % people]).collect()
    }

    async fn make_contacts(&self) -> Result<(), ClientError> {
        let calls = (0..self.names.len()).map(|person| async move {
            let friends: Vec<&str> = self.friends_of(person).iter().map(|f| self.names[*f].as_str()).collect();
            self.client.add_contacts(&self.service, &self.names[person], &friends).await
        });
        stream::iter(calls).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    async fn connect_people(
        &self,
        tally: &Arc<Tally>,
        settled: &mpsc::Sender<usize>,
        lives: &mut JoinSet<Result<(), SocketError>>,
    ) -> Result<Vec<mpsc::Sender<Turn>>, BenchError> {
        let opened =
            (0..self.names.len()).map(|index| async move { Ok::<_, BenchError>((index, self.open(index).await?)) });
        let mut opened = stream::iter(opened).buffer_unordered(IN_FLIGHT);
        let mut turns: Vec<Option<mpsc::Sender<Turn>>> = vec![None; self.names.len()];
        while let Some((index, socket)) = opened.try_next().await? {
            let (sender, receiver) = mpsc::channel(TURNS_MAX);
            turns[index] = Some(sender);
            let friends: HashMap<String, usize> =
                self.friends_of(index).into_iter().map(|friend| (self.names[friend].clone(), friend)).collect();
            let (tally, settled) = (tally.clone(), settled.clone());
            lives.spawn(Person { index, socket, friends, tally, turns: receiver, settled }.live());
        }
        Ok(turns.into_iter().flatten().collect())
    }

    /// Opens a person's socket, and reads the snapshot of the contacts.
    async fn open(&self, index: usize) -> Result<Socket, BenchError> {
        let token =
            self.credentials.token(&self.names[index], "user", self.options.duration + Duration::from_secs(3_600));
        let token = token.map_err(ClientError::from)?;
        let server = self.nodes.get(index % self.nodes.len().max(1)).unwrap_or_else(|| self.client.server());
        let opening = Opening { server, token: &token, device: None, contacts: true, session: true, resume: None };
        let (mut socket, _) = Socket::open(&opening).await?;
        loop {
            match socket.event().await {
                Event::Text(text) => {
                    let read = frame::read(&text).map_err(SocketError::from)?;
                    if read.kind == "snapshot" && !read.more {
                        return Ok(socket);
                    }
                }
                Event::Ping => {}
                Event::Over(code) => {
                    return Err(socket.broken(&format!("closed before the snapshot, code {code:?}")).into());
                }
            }
        }
    }

    /// Gives turns, each to the next person but a prime number further, until the time is over.
    async fn change(&self, turns: &[mpsc::Sender<Turn>]) {
        const STRIDE: usize = 7_919;
        let under_way = Arc::new(Semaphore::new(self.options.in_flight as usize));
        let paced = (self.options.changes_per_s > 0)
            .then(|| interval(Duration::from_secs_f64(1.0 / f64::from(self.options.changes_per_s.max(1)))));
        let giving = async {
            let mut paced = paced;
            if let Some(ticks) = &mut paced {
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            }
            let mut person = 0;
            loop {
                if let Some(ticks) = &mut paced {
                    ticks.tick().await;
                }
                let Ok(permit) = under_way.clone().acquire_owned().await else { return };
                person = (person + STRIDE) % turns.len().max(1);
                if turns[person].send(Turn::Change(permit)).await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(self.options.duration, giving).await;
        // The last ones are answered before anybody is asked whether all is held.
        let _ = timeout(SETTLING_MAX, under_way.acquire_many(self.options.in_flight)).await;
    }

    /// Whether everybody comes to hold what was acknowledged of all friends.
    async fn settle(&self, turns: &[mpsc::Sender<Turn>], mut settling: mpsc::Receiver<usize>) -> bool {
        for turn in turns {
            let _ = turn.send(Turn::Settle).await;
        }
        let all = async {
            for _ in turns {
                if settling.recv().await.is_none() {
                    return false;
                }
            }
            true
        };
        timeout(SETTLING_MAX, all).await.unwrap_or(false)
    }

    /// The resident memory of all nodes that tell it, bytes.
    async fn memory(&self) -> Result<u64, ClientError> {
        let admin = self.credentials.admin()?;
        let text = self.client.get(&admin, "/v1/cluster/status").await?;
        Ok(client::resident_bytes(self.client.url(), &text)?.into_values().flatten().sum())
    }

    /// Deletes the invented people; what cannot be deleted is said.
    async fn delete_people(&self) {
        note("deleting the people");
        let calls = self
            .names
            .iter()
            .map(|name| async move { self.client.delete(&self.service, &format!("/v1/users/{name}")).await });
        let outcomes: Vec<Result<String, ClientError>> =
            stream::iter(calls).buffer_unordered(IN_FLIGHT).collect().await;
        let failed: Vec<ClientError> = outcomes.into_iter().filter_map(Result::err).collect();
        if let Some(first) = failed.first() {
            note(&format!("{} of the people could not be deleted: {first}", failed.len()));
        }
    }

    fn report(&self, tally: &Tally, connected_per_s: f64, held_bytes: u64, changed: Duration, whole: bool) -> String {
        let [acknowledged, seen] = tally.times(Latency::count);
        let at = |percent: f64| tally.times(|times| times.percentile_ms(percent));
        let ([ack50, see50], [ack99, see99], [ack_max, see_max]) = (at(50.0), at(99.0), at(100.0));
        let per_s = |count: u64| count as f64 / changed.as_secs_f64();
        let people = self.names.len();
        format!(
            "people         {people}, {friends} friends each, {connected_per_s:.0} connected a second\n\
             memory         {kib:.1} KiB a connected person (resident memory of all nodes, after less before)\n\
             changes        {acknowledged} acknowledged, {refused} refused, {changes_per_s:.0} a second; p50 {ack50:.1} ms, p99 {ack99:.1} ms, worst {ack_max:.1} ms\n\
             notifications  {seen} seen, {covered} covered by a later one, {seen_per_s:.0} a second; p50 {see50:.1} ms, p99 {see99:.1} ms, worst {see_max:.1} ms\n\
             at the end     {end}\n",
            friends = self.options.friends,
            kib = held_bytes as f64 / 1_024.0 / people.max(1) as f64,
            refused = tally.refused(),
            changes_per_s = per_s(acknowledged),
            covered = tally.covered(),
            seen_per_s = per_s(seen),
            end =
                if whole { "everybody holds what was acknowledged" } else { "some do NOT hold what was acknowledged" },
        )
    }
}
