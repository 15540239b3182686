//! The nodes that hold sockets, in a cluster of one: this one.

use crate::{
    home::{partition::Nodes, request::NodeNote, user_actor::Connected},
    sockets::Sockets,
};
use rollcall_presence::{Holder, UserId};
use std::sync::Arc;

/// This node alone.
pub struct LocalNodes {
    sockets: Arc<Sockets>,
}

impl LocalNodes {
    /// The node whose sockets these are.
    #[must_use]
    pub fn new(sockets: Arc<Sockets>) -> Self {
        Self { sockets }
    }
}

impl Nodes for LocalNodes {
    fn note(&self, holder: &Holder, note: NodeNote) {
        if self.is_live(holder) {
            self.sockets.take(note);
        }
    }

    fn is_live(&self, holder: &Holder) -> bool {
        holder == self.sockets.holder()
    }

    fn connections_of(&self, user: &UserId) -> Vec<Connected> {
        let known = self.sockets.of_user(user).into_iter();
        known.map(|(at, of)| Connected { at, session: of.session, follows: of.follows }).collect()
    }
}
