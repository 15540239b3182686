//! Whether the presence lanes to and from a peer are there, and telling the program above.
//!
//! A peer is linked while both lanes are: each node dials its own. Whatever loses a message ends one of them, on both
//! sides. Promises that what a node tells after it was told of a link comes to the other node after that one was, too, and
//! that a replaced lane delivers nothing any more.

use super::{Peer, PresenceLane};
use parking_lot::Mutex;
use std::sync::Arc;

/// The lanes with one peer; of each at most one counts, by its serial number.
#[derive(Debug, Default)]
struct Lanes {
    outgoing: Option<(u64, Peer)>,
    incoming: Option<(u64, Peer)>,
    linked: Option<Peer>,
}

impl Lanes {
    fn settle(&mut self, presence: &dyn PresenceLane) {
        let now = match (&self.outgoing, &self.incoming) {
            (Some((_, to)), Some((_, from))) if to == from => Some(to.clone()),
            _ => None,
        };
        if self.linked == now {
            return;
        }
        if let Some(before) = self.linked.take() {
            presence.unlinked(&before);
        }
        if let Some(peer) = now {
            presence.linked(&peer);
            self.linked = Some(peer);
        }
    }
}

/// The link with one peer.
pub(crate) struct Pair {
    presence: Arc<dyn PresenceLane>,
    lanes: Mutex<Lanes>,
}

impl Pair {
    /// Not linked yet.
    #[must_use]
    pub(crate) fn new(presence: Arc<dyn PresenceLane>) -> Arc<Self> {
        Arc::new(Self { presence, lanes: Mutex::default() })
    }

    /// The lane to the peer is there, instead of any before. `open` lets messages onto it: nothing is delivered from the
    /// peer between that and the program above hearing of the link.
    pub(crate) fn outgoing(self: &Arc<Self>, serial: u64, peer: &Peer, open: impl FnOnce()) -> Outgoing {
        let mut lanes = self.lanes.lock();
        lanes.outgoing = None;
        lanes.settle(&*self.presence);
        open();
        lanes.outgoing = Some((serial, peer.clone()));
        lanes.settle(&*self.presence);
        Outgoing { pair: Arc::clone(self), serial }
    }

    /// The lane from the peer is there, instead of any before.
    pub(crate) fn incoming(self: &Arc<Self>, serial: u64, peer: &Peer) -> IncomingLane {
        let mut lanes = self.lanes.lock();
        for lane in [None, Some((serial, peer.clone()))] {
            lanes.incoming = lane;
            lanes.settle(&*self.presence);
        }
        IncomingLane { pair: Arc::clone(self), serial }
    }
}

/// The lane to the peer, until it is dropped.
pub(crate) struct Outgoing {
    pair: Arc<Pair>,
    serial: u64,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut lanes = self.pair.lanes.lock();
        if lanes.outgoing.as_ref().is_some_and(|(serial, _)| *serial == self.serial) {
            lanes.outgoing = None;
            lanes.settle(&*self.pair.presence);
        }
    }
}

/// The lane from the peer, until it is dropped.
pub(crate) struct IncomingLane {
    pair: Arc<Pair>,
    serial: u64,
}

impl IncomingLane {
    /// Runs `deliver` unless the lane was replaced; no newer lane delivers meanwhile.
    pub(crate) fn deliver(&self, deliver: impl FnOnce(&dyn PresenceLane)) -> bool {
        let lanes = self.pair.lanes.lock();
        let current = lanes.incoming.as_ref().is_some_and(|(serial, _)| *serial == self.serial);
        if current {
            deliver(&*self.pair.presence);
        }
        current
    }
}

impl Drop for IncomingLane {
    fn drop(&mut self) {
        let mut lanes = self.pair.lanes.lock();
        if lanes.incoming.as_ref().is_some_and(|(serial, _)| *serial == self.serial) {
            lanes.incoming = None;
            lanes.settle(&*self.pair.presence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::BoxFuture;
    use rollcall_presence::NodeName;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl PresenceLane for Heard {
        fn asked<'a>(&'a self, _: &'a Peer, _: Vec<u8>) -> BoxFuture<'a, Option<Vec<u8>>> {
            Box::pin(std::future::ready(None))
        }

        fn told(&self, _: &Peer, message: Vec<u8>) {
            self.0.lock().push(String::from_utf8(message).unwrap());
        }

        fn linked(&self, peer: &Peer) {
            self.0.lock().push(format!("+{}", peer.generation));
        }

        fn unlinked(&self, peer: &Peer) {
            self.0.lock().push(format!("-{}", peer.generation));
        }
    }

    fn peer(generation: u64) -> Peer {
        Peer { name: NodeName::new("b").unwrap(), raft_id: 7, generation }
    }

    fn pair() -> (Arc<Heard>, Arc<Pair>) {
        let heard = Arc::new(Heard::default());
        let presence: Arc<dyn PresenceLane> = Arc::clone(&heard) as _;
        (heard, Pair::new(presence))
    }

    #[test]
    fn a_peer_is_linked_while_both_lanes_are_there() {
        let (heard, pair) = pair();
        let outgoing = pair.outgoing(1, &peer(1), || {});
        assert!(heard.0.lock().is_empty());
        let incoming = pair.incoming(2, &peer(1));
        drop(outgoing);
        let _outgoing = pair.outgoing(3, &peer(1), || {});
        drop(incoming);
        assert_eq!(*heard.0.lock(), ["+1", "-1", "+1", "-1"]);
    }

    #[test]
    fn a_replaced_lane_links_afresh_and_delivers_nothing_any_more() {
        let (heard, pair) = pair();
        let _outgoing = pair.outgoing(1, &peer(1), || {});
        let old = pair.incoming(2, &peer(1));
        let new = pair.incoming(3, &peer(1));
        assert!(!old.deliver(|presence| presence.told(&peer(1), b"late".to_vec())));
        assert!(new.deliver(|presence| presence.told(&peer(1), b"new".to_vec())));
        drop(old);
        assert_eq!(*heard.0.lock(), ["+1", "-1", "+1", "new"]);
    }

    #[test]
    fn lanes_of_two_lives_of_a_node_make_no_link() {
        let (heard, pair) = pair();
        let _old = pair.outgoing(1, &peer(1), || {});
        let _new = pair.incoming(2, &peer(2));
        assert!(heard.0.lock().is_empty());
        let _newer = pair.outgoing(3, &peer(2), || {});
        assert_eq!(*heard.0.lock(), ["+2"]);
    }
}
