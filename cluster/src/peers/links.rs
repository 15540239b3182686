//! The links of a node: listening first, then serving its peers, and asking them.

use super::{
    GroupSnapshot, JoinFailure, LeaderVote, LinkError, Peer, PeerAt, PeerLink, PeerSide, SnapshotAnswer,
    bounds::{
        GOODBYE_MAX_MS, HANDSHAKE_MAX_MS, JOIN_MAX_MS, OTHER_QUEUE_MAX_MESSAGES, RAFT_ANSWER_MAX_MS,
        RAFT_QUEUE_MAX_BYTES,
    },
    dial::{CutOnDrop, DialFailure, greet, keep},
    frame::{Kind, Message, Messages},
    ground::{Ground, Known, Member},
    options::{PeersError, PeersOptions},
    outbox::Outbox,
    proof::{ClusterKey, Lane, Refusal},
    questions::Questions,
    snapshots,
    transport::{Lanes, Tls, Transport, connections},
    wire::{Question, SnapshotOf, decode_told},
};
use crate::{
    options::MakeLink,
    raft::link::{Ask, Told},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tonic::transport::Server;

/// The links of a node that listens and serves nobody yet: connections wait.
pub struct Peers {
    listener: TcpListener,
    address: SocketAddr,
    server: Server,
    transport: Transport,
    options: PeersOptions,
}

impl Peers {
    /// Listens as `options` say.
    ///
    /// # Errors
    /// [`PeersError`].
    pub async fn bind(options: PeersOptions) -> Result<Self, PeersError> {
        let tls = options.tls.as_ref().map(Tls::read).transpose()?;
        let transport = Transport { keep_alive: options.keep_alive, tls };
        let server = transport.server().map_err(|error| PeersError::Certificates(error.to_string()))?;
        let listen = |source| PeersError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, server, transport, options })
    }

    /// Where peers connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves peers from now on: this node is `me`, and `side` answers. Call it on a tokio runtime.
    #[must_use]
    pub fn serve(self, me: Peer, side: Arc<dyn PeerSide>) -> Arc<dyn PeerLink> {
        let key = ClusterKey::new(&self.options.key);
        let ground = Ground::new(me, key, self.transport, self.options.dial, side);
        let (lanes, listener) = (Lanes(Arc::clone(&ground)), self.listener);
        let server = self.server;
        // Without a signal, connections would outlive the links, and peers would go on calling a node that is gone.
        let (closing, closed) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let closed = async { drop(closed.await) };
            if let Err(error) = server.serve_with_incoming_shutdown(lanes, connections(listener), closed).await {
                tracing::error!("no peers are served any more: {error}");
            }
        });
        Arc::new(Links { ground, serving: Mutex::new(Some(Serving { closing, task })) })
    }

    /// The same, as a cluster takes it.
    #[must_use]
    pub fn into_make_link(self) -> MakeLink {
        Box::new(move |me, side| self.serve(me, side))
    }
}

/// The links of a node that serves its peers.
struct Links {
    ground: Arc<Ground>,
    serving: Mutex<Option<Serving>>,
}

/// What takes connections.
struct Serving {
    closing: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Links {
    fn member(&self, peer: &NodeName) -> Result<Arc<Member>, LinkError> {
        self.ground.member(peer).ok_or_else(|| LinkError::Unreachable(peer.clone()))
    }

    async fn ask_on(
        &self,
        lane: Lane,
        peer: &NodeName,
        question: Vec<u8>,
        within: Duration,
    ) -> Result<Bytes, LinkError> {
        let member = self.member(peer)?;
        let slot = if lane == Lane::Presence { &member.presence } else { &member.raft };
        let live = slot.lane().ok_or_else(|| LinkError::Unreachable(peer.clone()))?;
        live.questions.ask(peer, question, within).await
    }

    async fn ask_within(
        &self,
        lane: Lane,
        peer: &NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let asked = self.ask_on(lane, peer, question, deadline);
        let answered = tokio::time::timeout(deadline, asked).await;
        answered.unwrap_or_else(|_| Err(LinkError::Unanswered(peer.clone()))).map(Into::into)
    }

    async fn ask_to_join(&self, address: &str, question: Vec<u8>) -> Result<Vec<u8>, JoinFailure> {
        let failed = |why: String| JoinFailure::Unreachable { address: address.to_owned(), why };
        let (outbox, body) = Outbox::new(OTHER_QUEUE_MAX_MESSAGES, RAFT_QUEUE_MAX_BYTES);
        let _cut = CutOnDrop(Arc::clone(&outbox));
        let opened = async {
            let unreachable = |error: tonic::transport::Error| DialFailure::Unreachable(reason(&error));
            let endpoint = self.ground.transport.endpoint(address, address).map_err(unreachable)?;
            let channel = endpoint.connect().await.map_err(unreachable)?;
            greet(&self.ground, channel, Lane::Join, None, (&outbox, body)).await
        };
        let opened = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MAX_MS), opened).await;
        let (mut incoming, peer) = match opened.unwrap_or_else(|_| Err(DialFailure::Unreachable("it is silent".into())))
        {
            Ok(opened) => opened,
            Err(DialFailure::Refused(Refusal::WrongKey)) => {
                return Err(JoinFailure::WrongKey { address: address.to_owned() });
            }
            Err(failure) => return Err(failed(failure.to_string())),
        };
        let questions = Questions::new(Arc::clone(&outbox));
        let within = Duration::from_millis(JOIN_MAX_MS);
        let read = async {
            while let Ok(Some(frame)) = incoming.message().await {
                if Messages::of(frame).flatten().any(|message| questions.answered(message)) {
                    return std::future::pending().await; // the question hands the answer over
                }
            }
        };
        let answered = tokio::select! {
            answered = tokio::time::timeout(within, questions.ask(&peer.name, question, within)) => answered.ok(),
            () = read => None,
        };
        match answered {
            Some(Ok(answer)) => Ok(answer.into()),
            _ => Err(failed("it did not answer".into())),
        }
    }

    /// Starts dialling `at`.
    fn start(&self, at: PeerAt) -> Option<Arc<Member>> {
        let dialled = self.ground.dialled(&at);
        let endpoint = self.ground.transport.endpoint(&dialled, &at.address);
        let endpoint = endpoint
            .inspect_err(|error| tracing::error!(peer = %at.name, address = %at.address, "no such address: {error}"))
            .ok()?;
        let _runtime = self.ground.tasks.handle().enter();
        let member = Member::new(at, endpoint.connect_lazy());
        for lane in [Lane::Raft, Lane::Presence] {
            let task = self.ground.tasks.spawn(keep(Arc::clone(&self.ground), Arc::clone(&member), lane));
            member.tasks.lock().extend(task);
        }
        Some(member)
    }
}

/// An error and what is behind it.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl PeerLink for Links {
    fn reaches(&self, peer: &NodeName, raft_id: u64) -> bool {
        let lane = self.ground.member(peer).and_then(|member| member.raft.lane());
        lane.is_some_and(|lane| lane.peer.raft_id == raft_id)
    }

    fn ask<'a>(
        &'a self,
        peer: &'a NodeName,
        partition: PartitionId,
        ask: Ask,
    ) -> BoxFuture<'a, Result<Told, LinkError>> {
        Box::pin(async move {
            let question = Question::Group(partition, ask).encoded();
            // The group keeps the time of its own questions.
            let answer = self.ask_on(Lane::Raft, peer, question, Duration::from_millis(RAFT_ANSWER_MAX_MS)).await?;
            decode_told(&answer).map_err(|_| LinkError::Unanswered(peer.clone()))
        })
    }

    fn send_snapshot<'a>(
        &'a self,
        peer: &'a NodeName,
        partition: PartitionId,
        vote: LeaderVote,
        snapshot: GroupSnapshot,
    ) -> BoxFuture<'a, Result<SnapshotAnswer, LinkError>> {
        Box::pin(async move {
            let member = self.member(peer)?;
            let header = SnapshotOf { partition, vote, meta: snapshot.meta };
            snapshots::send(&self.ground, &member, header, snapshot.snapshot).await
        })
    }

    fn control<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        let question = Question::Control(question).encoded();
        Box::pin(self.ask_within(Lane::Raft, peer, question, deadline))
    }

    fn join<'a>(&'a self, address: &'a str, question: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, JoinFailure>> {
        Box::pin(self.ask_to_join(address, question))
    }

    fn ask_presence<'a>(
        &'a self,
        peer: &'a NodeName,
        question: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, LinkError>> {
        Box::pin(self.ask_within(Lane::Presence, peer, question, deadline))
    }

    fn tell_presence(&self, peer: &NodeName, message: Vec<u8>) -> bool {
        let Some(lane) = self.ground.member(peer).and_then(|member| member.presence.lane()) else { return false };
        match lane.outbox.push(Message::new(Kind::Tell, 0, message)) {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(peer = %lane.peer.name, "the presence lane to a peer is dropped: {why:?}");
                lane.outbox.cut();
                false
            }
        }
    }

    fn know(&self, cluster_id: &str, members: Vec<PeerAt>) {
        let mut known = self.ground.known.write();
        let Known { cluster_id: before, members: dialled } = &mut *known;
        let same = before == cluster_id;
        *before = cluster_id.to_owned();
        dialled.retain(|_, member| {
            let stays = same && members.contains(&member.at);
            if !stays {
                member.end();
            }
            stays
        });
        let names: BTreeSet<NodeName> = members.iter().map(|at| at.name.clone()).collect();
        for at in members.into_iter().filter(|at| at.name != self.ground.me.name) {
            if !dialled.contains_key(&at.name) {
                dialled.extend(self.start(at.clone()).map(|member| (at.name, member)));
            }
        }
        drop(known);
        self.ground.keep_pairs(|name| names.contains(name));
        let accepted = self.ground.accepted.lock();
        accepted.iter().filter(|lane| !same || !names.contains(&lane.peer)).for_each(|lane| lane.outbox.cut());
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.ground.stopping.store(true, Ordering::Relaxed);
            let serving = self.serving.lock().take();
            let Some(mut lanes) = self.ground.tasks.take() else { return };
            self.ground.say_goodbye();
            let deadline = Instant::now() + Duration::from_millis(GOODBYE_MAX_MS);
            while let Ok(Some(_)) = timeout_at(deadline, lanes.join_next()).await {}
            lanes.shutdown().await;
            self.ground.known.write().members.clear();
            if let Some(Serving { closing, mut task }) = serving {
                drop(closing);
                if timeout_at(deadline, &mut task).await.is_err() {
                    task.abort();
                    let _ = task.await; // the port is free once this returns
                }
            }
        })
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        drop::<Option<JoinSet<()>>>(self.ground.tasks.take()); // aborts what runs
        if let Some(serving) = self.serving.lock().take() {
            serving.task.abort();
        }
    }
}
