//! Nodes that write down what they hear, and a proxy that cuts.

use crate::{
    peers::{
        Dial, GroupSnapshot, KeepAlive, LeaderVote, Peer, PeerAt, PeerLink, PeerSide, Peers, PeersOptions,
        PresenceLane, SnapshotAnswer, TlsFiles,
    },
    raft::{
        link::{Ask, Told},
        types::{TypeConfig, Vote},
    },
    state::stream::ChunkSource,
};
use futures::future::BoxFuture;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// How long anything may take at most on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

pub(super) fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// What a node hears, in order.
pub(super) struct Heard {
    pub(super) events: Mutex<Vec<String>>,
    pub(super) told: Mutex<Vec<Vec<u8>>>,
    pub(super) snapshots: Mutex<Vec<Result<Vec<u8>, String>>>,
    pub(super) admits: AtomicBool,
    /// Snapshots are taken once this lets them.
    pub(super) taking: Semaphore,
    /// Answers to votes wait for this.
    pub(super) voting: Semaphore,
    /// Held while something told is delivered.
    pub(super) deaf: Mutex<()>,
    /// Over this, every link is greeted at once.
    pub(super) greeting: OnceLock<Arc<dyn PeerLink>>,
}

impl Heard {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            told: Mutex::default(),
            snapshots: Mutex::default(),
            admits: AtomicBool::new(true),
            taking: Semaphore::new(Semaphore::MAX_PERMITS),
            voting: Semaphore::new(Semaphore::MAX_PERMITS),
            deaf: Mutex::default(),
            greeting: OnceLock::new(),
        })
    }

    pub(super) fn count(&self, event: &str) -> usize {
        self.events.lock().iter().filter(|heard| *heard == event).count()
    }
}

impl PresenceLane for Heard {
    fn asked<'a>(&'a self, from: &'a Peer, question: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            match question.as_slice() {
                b"never" => std::future::pending().await,
                b"nonsense" => None,
                b"too much" => Some(vec![0; crate::peers::bounds::MESSAGE_MAX_BYTES + 1]),
                b"how many" => Some(self.told.lock().len().to_string().into_bytes()),
                _ => Some([from.name.as_str().as_bytes(), b" asked ", &question].concat()),
            }
        })
    }

    fn told(&self, _: &Peer, message: Vec<u8>) {
        let _deaf = self.deaf.lock();
        if message == b"hi" {
            self.events.lock().push("hi".into());
        }
        self.told.lock().push(message);
    }

    fn linked(&self, peer: &Peer) {
        self.events.lock().push(format!("+{}", peer.name));
        if let Some(link) = self.greeting.get() {
            assert!(link.tell_presence(&peer.name, b"hi".to_vec()), "who is linked can be told");
        }
    }

    fn unlinked(&self, peer: &Peer) {
        self.events.lock().push(format!("-{}", peer.name));
    }
}

struct Side(Arc<Heard>, Arc<dyn PresenceLane>);

impl PeerSide for Side {
    fn admits(&self, _: &Peer) -> bool {
        self.0.admits.load(Ordering::SeqCst)
    }

    fn raft<'a>(&'a self, _: &'a Peer, partition: PartitionId, ask: Ask) -> BoxFuture<'a, Option<Told>> {
        Box::pin(async move {
            match ask {
                _ if partition == PartitionId(99) => None,
                Ask::Append(_) => Some(Told::Append(AppendEntriesResponse::Success)),
                Ask::Vote(request) => {
                    self.0.voting.acquire().await.unwrap().forget();
                    Some(Told::Vote(VoteResponse::new(request.vote, None, true)))
                }
                Ask::PreVote(_) | Ask::TransferLeader(_) => None,
            }
        })
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Peer,
        _: PartitionId,
        vote: LeaderVote,
        mut snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Option<SnapshotAnswer>> {
        Box::pin(async move {
            let heard = Arc::clone(&self.0);
            // As a state machine does: in a task of its own, whatever becomes of the link.
            let taken = tokio::spawn(async move {
                let mut whole = Vec::new();
                let taken = loop {
                    heard.taking.acquire().await.unwrap().forget();
                    match snapshot.snapshot.next().await {
                        Ok(Some(chunk)) => whole.extend(chunk),
                        Ok(None) => break Ok(whole),
                        Err(error) => break Err(error.to_string()),
                    }
                };
                let good = taken.is_ok();
                heard.snapshots.lock().push(taken);
                good
            });
            taken.await.unwrap().then(|| SnapshotResponse::new(vote))
        })
    }

    fn control<'a>(&'a self, _: &'a Peer, question: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            if question == b"never" {
                std::future::pending::<()>().await;
            }
            Some([b"control: ", question.as_slice()].concat())
        })
    }

    fn join(&self, question: Vec<u8>) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready((question != b"nonsense").then(|| [b"join: ", question.as_slice()].concat())))
    }

    fn presence(&self) -> &Arc<dyn PresenceLane> {
        &self.1
    }
}

/// One node.
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) address: SocketAddr,
    pub(super) link: Arc<dyn PeerLink>,
    pub(super) heard: Arc<Heard>,
}

/// How a node is started, where it is not the default.
#[derive(Default)]
pub(super) struct With {
    pub(super) key: Option<&'static [u8]>,
    pub(super) dial: Option<Dial>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) generation: u64,
}

impl Node {
    pub(super) async fn start(called: &str, with: With) -> Self {
        let listen = with.listen.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let mut options = PeersOptions::new(listen, with.key.unwrap_or(b"the key").to_vec());
        (options.dial, options.tls) = (with.dial, with.tls);
        options.keep_alive = KeepAlive::default();
        let peers = Peers::bind(options).await.unwrap();
        let address = peers.local_addr();
        let heard = Heard::new();
        let presence: Arc<dyn PresenceLane> = Arc::clone(&heard) as _;
        let name = name(called);
        let raft_id = u64::from(called.as_bytes()[0]);
        let me = Peer { name: name.clone(), raft_id, generation: with.generation };
        let link = peers.serve(me, Arc::new(Side(Arc::clone(&heard), presence)));
        Self { name, address, link, heard }
    }

    pub(super) fn at(&self) -> PeerAt {
        PeerAt { name: self.name.clone(), address: self.address.to_string() }
    }

    pub(super) async fn control(&self, to: &Node, question: &[u8]) -> Result<Vec<u8>, crate::LinkError> {
        self.link.control(&to.name, question.to_vec(), Duration::from_secs(5)).await
    }

    pub(super) async fn ask(&self, to: &Node, question: &[u8]) -> Result<Vec<u8>, crate::LinkError> {
        self.link.ask_presence(&to.name, question.to_vec(), Duration::from_secs(5)).await
    }
}

/// Makes nodes know each other.
pub(super) fn acquaint(nodes: &[&Node]) {
    for node in nodes {
        node.link.know("c1", nodes.iter().map(|node| node.at()).collect());
    }
}

/// Waits until two nodes are linked, both ways, on both lanes.
pub(super) async fn linked(one: &Node, other: &Node) {
    let both = || {
        let there = |a: &Node, b: &Node| a.link.reaches(&b.name, u64::from(b.name.as_str().as_bytes()[0]));
        let events = |a: &Node, b: &Node| {
            let (up, down) = (format!("+{}", b.name), format!("-{}", b.name));
            a.heard.count(&up) > a.heard.count(&down)
        };
        there(one, other) && there(other, one) && events(one, other) && events(other, one)
    };
    until("both are linked", both).await;
}

/// Two linked nodes.
pub(super) async fn two() -> (Node, Node) {
    let (a, b) = (Node::start("a", With::default()).await, Node::start("b", With::default()).await);
    acquaint(&[&a, &b]);
    linked(&a, &b).await;
    (a, b)
}

pub(super) fn vote() -> Ask {
    Ask::Vote(VoteRequest::new(Vote::new(1, 97), None))
}

pub(super) fn heartbeat() -> Ask {
    let vote = Vote::new_committed(1, 97);
    Ask::Append(AppendEntriesRequest::<TypeConfig> {
        vote,
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    })
}

/// A snapshot of so many chunks; `broken`: and then an error.
pub(super) struct Chunks {
    pub(super) left: u8,
    pub(super) bytes: usize,
    pub(super) broken: bool,
    pub(super) pulled: Arc<AtomicUsize>,
}

impl ChunkSource for Chunks {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>> {
        let chunk = match (self.left, self.broken) {
            (0, true) => Err(io::Error::other("the state changed")),
            (0, false) => Ok(None),
            (left, _) => Ok(Some(vec![left; self.bytes])),
        };
        self.left = self.left.saturating_sub(1);
        self.pulled.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(chunk))
    }
}

/// What a proxy does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// Connections stay, and nothing gets through.
    Silent,
    /// Connections are closed.
    Closed,
}

/// A proxy in front of one node.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one; `to` says where it leads, once that is known.
    pub(super) async fn start(to: watch::Receiver<Option<SocketAddr>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, watched) = watch::channel(Way::Open);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (to, watched) = (*to.borrow(), watched.clone());
                connections.spawn(async move {
                    let there = to.filter(|_| *watched.borrow() != Way::Closed);
                    let Some(to) = there else { return };
                    let Ok(onward) = TcpStream::connect(to).await else { return };
                    let (from, back) = (stream.into_split(), onward.into_split());
                    tokio::select! {
                        () = pump(from.0, back.1, watched.clone()) => {}
                        () = pump(back.0, from.1, watched.clone()) => {}
                        () = closed(watched.clone()) => {}
                    }
                });
            }
        });
        Self { address, way, task }
    }

    pub(super) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn closed(mut way: watch::Receiver<Way>) {
    let _ = way.wait_for(|way| *way == Way::Closed).await;
}

async fn pump(
    from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) {
    let mut bytes = vec![0; 64 * 1_024];
    loop {
        if from.readable().await.is_err() {
            return;
        }
        let read = match from.try_read(&mut bytes) {
            Ok(0) => {
                let _ = way.wait_for(|way| *way == Way::Open).await; // an end does not get through either
                return;
            }
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        if way.wait_for(|way| *way == Way::Open).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Two linked nodes; what `a` dials goes through the first proxy, what `b` dials through the second.
pub(super) async fn two_through_proxies() -> (Node, Node, Proxy, Proxy) {
    let (to_b, b_is) = watch::channel(None);
    let (to_a, a_is) = watch::channel(None);
    let (first, second) = (Proxy::start(b_is).await, Proxy::start(a_is).await);
    let through = |proxy: &Proxy| -> Option<Dial> {
        let address = proxy.address.to_string();
        Some(Arc::new(move |_: &NodeName, _: &str| address.clone()))
    };
    let a = Node::start("a", With { dial: through(&first), ..With::default() }).await;
    let b = Node::start("b", With { dial: through(&second), ..With::default() }).await;
    to_b.send_replace(Some(b.address));
    to_a.send_replace(Some(a.address));
    acquaint(&[&a, &b]);
    linked(&a, &b).await;
    (a, b, first, second)
}
