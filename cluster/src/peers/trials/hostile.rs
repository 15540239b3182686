//! Whoever sends anything at all does no harm.

use super::bench::{DEADLINE, Node, With, linked, name, two, until};
use crate::peers::{
    JoinFailure, KeepAlive, NoPresence, Peer, PeerAt, PeerSide, PresenceLane,
    bounds::{FRAME_MAX_BYTES, HANDSHAKE_MAX_MS, PROTOCOL, STRANGERS_MAX},
    dial::{DialFailure, greet, next_greeting},
    ground::Ground,
    outbox::{Incoming, Outbox, OutboxStream},
    proof::{Challenge, ClusterKey, Greeting, Hello, Lane, Refusal},
    transport::{self, Acceptor, Lanes, Transport, connections},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Channel;

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn transport() -> Transport {
    Transport { keep_alive: KeepAlive::default(), tls: None }
}

async fn channel(to: &Node) -> Channel {
    let address = to.address.to_string();
    transport().endpoint(&address, &address).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn noise_on_the_port_does_no_harm() {
    let (a, b) = two().await;
    for seed in 0..50 {
        let mut stream = TcpStream::connect(a.address).await.unwrap();
        if seed % 2 == 0 {
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        }
        let _ = stream.write_all(&noise(seed, 3_000)).await; // it may have hung up already
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.read_to_end(&mut answer)).await;
    }
    assert_eq!(b.control(&a, b"x").await.unwrap(), b"control: x");
    assert_eq!(*b.heard.events.lock(), ["+a"]);
}

#[tokio::test]
async fn a_connection_that_does_not_begin_is_hung_up_on() {
    let (a, b) = two().await;
    for beginning in [&b""[..], b"PRI * HTTP/2.0"] {
        let mut stream = TcpStream::connect(a.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut answer = Vec::new();
        let hung_up = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        let _ = hung_up.expect("in time"); // cleanly or not
    }
    assert_eq!(b.control(&a, b"x").await.unwrap(), b"control: x");
}

#[tokio::test]
async fn a_stranger_that_greets_with_noise_or_with_too_much_is_hung_up_on() {
    let (a, b) = two().await;
    let mut greetings: Vec<_> = (0..50).map(|seed| noise(seed, 40 * seed as usize)).collect();
    greetings.push(vec![0; FRAME_MAX_BYTES + 1]);
    // A greeting whose cluster id claims to be 2^64 - 1 bytes long.
    greetings.push([&[0, 1, 0, 253][..], &[255; 8]].concat());
    for greeting in greetings {
        let (outbox, body) = Outbox::new(10, 1_000);
        outbox.greet(greeting);
        let opened = transport::open(channel(&a).await, body).await;
        let Ok(mut incoming) = opened else { continue };
        let ended = tokio::time::timeout(DEADLINE, incoming.message()).await.expect("it is hung up on");
        assert!(!matches!(ended, Ok(Some(_))), "it learns nothing");
    }
    assert_eq!(b.control(&a, b"x").await.unwrap(), b"control: x");
}

#[tokio::test]
async fn strangers_that_say_nothing_are_few_and_make_room_again() {
    let a = Node::start("a", With::default()).await;
    let mut held = Vec::new();
    let mut refused = 0;
    while held.len() + refused < 2 * STRANGERS_MAX {
        let channel = channel(&a).await;
        for _ in 0..8 {
            let (outbox, body) = Outbox::new(10, 1_000);
            match transport::open(channel.clone(), body).await {
                Ok(incoming) => held.push((outbox, incoming)),
                Err(status) => {
                    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(held.len(), STRANGERS_MAX);
    let patience = DEADLINE + Duration::from_millis(2 * HANDSHAKE_MAX_MS);
    for (_, incoming) in &mut held {
        let ended = tokio::time::timeout(patience, incoming.message()).await.expect("it is hung up on");
        assert!(!matches!(ended, Ok(Some(_))));
    }
    let b = Node::start("b", With::default()).await;
    super::bench::acquaint(&[&a, &b]);
    linked(&a, &b).await;
}

struct Nobody(Arc<dyn PresenceLane>);

impl PeerSide for Nobody {
    fn admits(&self, _: &Peer) -> bool {
        false
    }

    fn raft<'a>(
        &'a self,
        _: &'a Peer,
        _: rollcall_presence::PartitionId,
        _: crate::Ask,
    ) -> futures::future::BoxFuture<'a, Option<crate::Told>> {
        Box::pin(std::future::ready(None))
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Peer,
        _: rollcall_presence::PartitionId,
        _: crate::peers::LeaderVote,
        _: crate::peers::GroupSnapshot,
    ) -> futures::future::BoxFuture<'a, Option<crate::peers::SnapshotAnswer>> {
        Box::pin(std::future::ready(None))
    }

    fn control<'a>(&'a self, _: &'a Peer, _: Vec<u8>) -> futures::future::BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn join(&self, _: Vec<u8>) -> futures::future::BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }

    fn presence(&self) -> &Arc<dyn PresenceLane> {
        &self.0
    }
}

#[tokio::test]
async fn a_member_that_says_what_makes_no_sense_loses_its_lane_and_nothing_else() {
    let (a, b) = two().await;
    let me = Peer { name: name("m"), raft_id: 1, generation: 1 };
    let ground =
        Ground::new(me, ClusterKey::new(b"the key"), transport(), None, Arc::new(Nobody(Arc::new(NoPresence))));
    ground.known.write().cluster_id = "c1".into();
    for seed in 0..60 {
        let lane = [Lane::Raft, Lane::Presence, Lane::Snapshot][seed as usize % 3];
        let (outbox, body) = Outbox::new(10, 1_000);
        let greeted = greet(&ground, channel(&a).await, lane, Some(&a.name), (&outbox, body)).await;
        let (mut incoming, peer) = greeted.unwrap();
        assert_eq!(peer.name, a.name);
        outbox.greet(noise(seed, 18 + 40 * seed as usize));
        let ended = async { while let Ok(Some(_)) = incoming.message().await {} };
        // The lane's end comes once both sides have ended it.
        outbox.finish();
        tokio::time::timeout(DEADLINE, ended).await.expect("it is hung up on");
    }
    until("nothing is left of it", || a.heard.events.lock().len() == 1).await;
    assert_eq!(b.control(&a, b"x").await.unwrap(), b"control: x");
    assert_eq!(*b.heard.events.lock(), ["+a"]);
}

#[tokio::test]
async fn a_dialler_without_the_key_is_refused_and_gets_no_proof_to_work_on() {
    let a = Node::start("a", With::default()).await;
    let me = Peer { name: name("m"), raft_id: 1, generation: 1 };
    for lane in [Lane::Raft, Lane::Presence, Lane::Snapshot, Lane::Join] {
        let (outbox, body) = Outbox::new(10, 1_000);
        let (cluster_id, to) = ("c1".to_owned(), Some(a.name.clone()));
        let hello = Hello { protocol: PROTOCOL, lane, cluster_id, to, from: (&me).into(), nonce: [1; 32] };
        outbox.greet(Greeting::Hello(hello).encoded());
        outbox.greet(Greeting::Proof([7; 32]).encoded());
        let mut incoming = transport::open(channel(&a).await, body).await.unwrap();
        assert!(matches!(next_greeting(&mut incoming).await, Ok(Greeting::Challenge(_))));
        assert_eq!(next_greeting(&mut incoming).await, Err(DialFailure::Refused(Refusal::WrongKey)));
    }
}

/// Welcomes everybody, without a key.
struct Impostor;

impl Acceptor for Impostor {
    fn opened(self: Arc<Self>, mut incoming: Incoming) -> Result<OutboxStream, tonic::Status> {
        let (outbox, body) = Outbox::new(10, 1_000);
        tokio::spawn(async move {
            let Ok(Greeting::Hello(hello)) = next_greeting(&mut incoming).await else { return };
            let name = hello.to.unwrap_or_else(|| name("i"));
            let from = (&Peer { name, raft_id: 1, generation: 1 }).into();
            let challenge = Challenge { cluster_id: hello.cluster_id, from, nonce: [2; 32] };
            outbox.greet(Greeting::Challenge(challenge).encoded());
            let Ok(Greeting::Proof(proof)) = next_greeting(&mut incoming).await else { return };
            outbox.greet(Greeting::Welcome(proof).encoded()); // thrown back
            while let Ok(Some(_)) = incoming.message().await {}
        });
        Ok(body)
    }
}

#[tokio::test]
async fn a_node_that_welcomes_everybody_without_the_key_is_not_believed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = transport().server().unwrap();
    let serving = server.serve_with_incoming(Lanes(Arc::new(Impostor)), connections(listener));
    let serving = tokio::spawn(async move { serving.await.unwrap() });
    let a = Node::start("a", With::default()).await;
    let joined = a.link.join(&address, b"hello".to_vec()).await;
    assert_eq!(joined, Err(JoinFailure::WrongKey { address: address.clone() }));
    a.link.know("c1", vec![a.at(), PeerAt { name: name("i"), address }]);
    for _ in 0..20 {
        assert!(!a.link.reaches(&name("i"), 1));
        // That no link comes has no event to wait for.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    serving.abort();
}
