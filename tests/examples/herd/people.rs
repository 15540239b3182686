//! People who are connected, are cut off together, and come back as clients should; and those who watch them.

use futures::{StreamExt, stream};
use rand::Rng;
use rollcall_tests::{Cluster, Event, Socket};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};

/// Sockets that are opened at once in the beginning.
const OPENED_AT_ONCE: usize = 64;
/// People of one watcher, and of one of its frames.
const WATCHED: usize = 4_000;
const WATCHED_A_FRAME: usize = 500;
/// Everybody comes back at a moment of so many ms.
const BACK_WITHIN_MS: u64 = 1_000;
/// The pause after a try that broke off without a word: a client's own.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);

/// How somebody came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Return {
    /// Since the cut.
    pub(crate) after: Duration,
    /// Tries that were answered with a time to come back.
    pub(crate) refused: u32,
    /// The first such time.
    pub(crate) told: Duration,
    /// How much later than the first such time the connection was there.
    pub(crate) late: Duration,
    /// Tries that ended without an answer.
    pub(crate) broken: u32,
    /// Whether the session was the one before.
    pub(crate) resumed: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Herd {
    cut: watch::Sender<Option<Instant>>,
    returns: Arc<Mutex<Vec<Return>>>,
    seen: Arc<Seen>,
}

/// What watchers were shown.
#[derive(Debug, Default)]
struct Seen {
    frames: AtomicUsize,
    offline: Mutex<Vec<String>>,
}

/// What a try to connect came to.
enum Tried {
    Open(Box<Socket>),
    /// To come back after so long.
    Refused(Duration),
    Broken,
}

impl Herd {
    /// Connects everybody, and then watchers who see all of them.
    pub(crate) async fn gather(cluster: &Cluster, count: usize) -> Self {
        let (cut, _) = watch::channel(None);
        let herd = Self { cut, returns: Arc::default(), seen: Arc::default() };
        let people = (0..count).map(|number| {
            let client = cluster.client(number % cluster.len(), &format!("herd-{number}"), "user");
            let (address, token) = (client.address, client.token);
            let (cut, returns) = (herd.cut.subscribe(), herd.returns.clone());
            async move {
                let socket = loop {
                    match connect(&address, &token, None).await {
                        Tried::Open(socket) => break *socket,
                        Tried::Refused(after) => sleep(after).await,
                        Tried::Broken => sleep(BROKEN_PAUSE).await,
                    }
                };
                tokio::spawn(live(address, token, socket, cut, returns));
            }
        });
        stream::iter(people).buffer_unordered(OPENED_AT_ONCE).collect::<Vec<()>>().await;
        let everybody: Vec<String> = (0..count).map(|number| format!("herd-{number}")).collect();
        for (number, watched) in everybody.chunks(WATCHED).enumerate() {
            let watcher = cluster.client(number % cluster.len(), &format!("watcher-{number}"), "user");
            let mut socket = watcher.connect("session=false&watch=none").await;
            for some in watched.chunks(WATCHED_A_FRAME) {
                let shown = socket.watch(json!(some)).await;
                assert!(shown.iter().all(|p| p["status"] == "online"), "everybody is connected");
            }
            tokio::spawn(look(socket, herd.seen.clone()));
        }
        herd
    }

    /// Resets every connection of the people.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(Some(Instant::now()));
    }

    /// Who is back so far.
    pub(crate) fn returns(&self) -> Vec<Return> {
        self.returns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Frames that watchers were sent so far.
    pub(crate) fn sightings(&self) -> usize {
        self.seen.frames.load(Ordering::Relaxed)
    }

    /// Everybody who was shown offline, and every end of a watcher.
    pub(crate) fn shown_offline(&self) -> Vec<String> {
        self.seen.offline.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Stays connected until the cut, comes back, and stays.
async fn live(
    address: String,
    token: String,
    socket: Socket,
    mut cut: watch::Receiver<Option<Instant>>,
    returns: Arc<Mutex<Vec<Return>>>,
) {
    let (session, resume) = (socket.session().to_owned(), socket.resume());
    let at = stay(socket, &mut cut).await;
    let wait = rand::rng().random_range(0..BACK_WITHIN_MS);
    sleep(Duration::from_millis(wait)).await;
    let (mut refused, mut broken, mut told) = (0, 0, None);
    let socket = loop {
        match connect(&address, &token, Some(&resume)).await {
            Tried::Open(socket) => break *socket,
            Tried::Refused(after) => {
                refused += 1;
                told.get_or_insert((after, Instant::now() + after));
                sleep(after).await;
            }
            Tried::Broken => {
                broken += 1;
                sleep(BROKEN_PAUSE).await;
            }
        }
    };
    let now = Instant::now();
    let back = Return {
        after: now - at,
        refused,
        told: told.map(|(after, _)| after).unwrap_or_default(),
        late: told.map(|(_, turn)| now.saturating_duration_since(turn)).unwrap_or_default(),
        broken,
        resumed: socket.session() == session,
    };
    returns.lock().unwrap_or_else(PoisonError::into_inner).push(back);
    let mut socket = socket;
    while !matches!(socket.next_patiently().await, Event::Closed(_)) {}
}

/// Reads until the cut, or the end; gives the moment of it. The connection is reset when it is dropped.
async fn stay(mut socket: Socket, cut: &mut watch::Receiver<Option<Instant>>) -> Instant {
    loop {
        tokio::select! {
            at = cut.wait_for(Option::is_some) => {
                return at.ok().and_then(|at| *at).unwrap_or_else(Instant::now);
            }
            event = socket.next_patiently() => if matches!(event, Event::Closed(_)) {
                return Instant::now();
            }
        }
    }
}

/// One try, on a connection that is reset when it is dropped.
async fn connect(address: &str, token: &str, resume: Option<&str>) -> Tried {
    let Ok(stream) = TcpStream::connect(address).await else { return Tried::Broken };
    if stream.set_zero_linger().is_err() {
        return Tried::Broken;
    }
    let bearer = format!("Bearer {token}");
    let query = resume.map_or_else(|| "watch=none".to_owned(), |resume| format!("watch=none&resume={resume}"));
    let after = |problem: &Value| problem["after_ms"].as_u64().map(Duration::from_millis);
    let mut socket = match Socket::try_open_on(stream, &query, &[("authorization", &bearer)]).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(refused)) => return after(&refused.problem).map_or(Tried::Broken, Tried::Refused),
        Err(_) => return Tried::Broken,
    };
    match socket.next_patiently().await {
        Event::Frame(frame) if frame["type"] == "welcome" => {
            socket.welcome = frame;
            Tried::Open(Box::new(socket))
        }
        Event::Frame(frame) => after(&frame).map_or(Tried::Broken, Tried::Refused),
        Event::Closed(_) => Tried::Broken,
    }
}

/// Writes down who is shown offline.
async fn look(mut socket: Socket, seen: Arc<Seen>) {
    loop {
        let told = match socket.next_patiently().await {
            Event::Closed(code) => vec![format!("a watcher was closed with {code:?}")],
            Event::Frame(frame) => {
                seen.frames.fetch_add(1, Ordering::Relaxed);
                let shown = frame["presences"].as_array().into_iter().flatten();
                shown.filter(|p| p["status"] == "offline").map(ToString::to_string).collect()
            }
        };
        let ended = told.iter().any(|line| line.starts_with("a watcher"));
        seen.offline.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
        if ended {
            return;
        }
    }
}
