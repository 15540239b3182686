//! What tests switch in the fake, and look at.

use super::{Fake, name};
use rollcall_api::service::{Ending, GoodbyeReason, ServiceError};
use rollcall_presence::{
    Activity, Intent, ListChanges, ListKind, ManualStatus, Meta, NodeName, SessionId, SessionKind, UserId, Visibility,
};

impl Fake {
    /// A connection has ended.
    pub(super) fn ended(&self, ending: Ending) {
        self.endings.send_modify(|endings| endings.push(ending));
    }

    /// How connections have ended, once one has.
    pub(crate) async fn endings(&self) -> Vec<Ending> {
        self.endings.subscribe().wait_for(|endings| !endings.is_empty()).await.unwrap().clone()
    }

    /// Makes writes wait until what is returned is dropped.
    pub(crate) fn hold_writes(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.gate.clone().try_lock_owned().unwrap()
    }

    /// Opens a session past the API.
    pub(crate) fn open_quietly(&self, user: &str) {
        let open = Intent::OpenSession {
            session: SessionId::new("quiet").unwrap(),
            device: rollcall_presence::Device::new("bot").unwrap(),
            activity: Activity::Active,
            kind: SessionKind::Http,
            held_by: None,
            resume_hash: None,
        };
        self.write_now(&UserId::new(user).unwrap(), open, None).unwrap();
    }

    /// Gives a user a status with a `meta` of about `bytes`, past the API.
    pub(crate) fn describe_quietly(&self, user: &str, bytes: usize) {
        let meta = Meta::from_compact_json(format!("{{\"k\":\"{}\"}}", "x".repeat(bytes)), bytes + 16).unwrap();
        let put = Intent::PutStatus { status: ManualStatus::Dnd, text: None, meta, expires_in_s: None };
        self.write_now(&UserId::new(user).unwrap(), put, None).unwrap();
    }

    /// Adds a contact past the API.
    pub(crate) fn befriend_quietly(&self, user: &str, other: &str) {
        let add = vec![UserId::new(other).unwrap()];
        let changes = ListChanges { list: ListKind::Contacts, add, remove: Vec::new() };
        self.write_now(&UserId::new(user).unwrap(), Intent::ChangeList(changes), None).unwrap();
    }

    pub(crate) fn fail_contacts(&self, error: ServiceError) {
        *self.contacts_refusal.lock() = Some(error);
    }

    pub(crate) fn everyone_sees_everyone(&self) {
        self.users.lock().visibility = Visibility::Everyone;
    }

    pub(crate) fn capacities(&self, contacts_max: u32, blocks_max: u32, sessions_max: u32) {
        let policy = &mut self.users.lock().policy;
        (policy.contacts_max, policy.blocks_max, policy.sessions_max) = (contacts_max, blocks_max, sessions_max);
    }

    /// Says goodbye to every connection.
    pub(crate) fn goodbye(&self, reason: GoodbyeReason, after_ms: u64) {
        for outbox in self.connections.lock().values_mut() {
            outbox.goodbye = Some((reason, after_ms));
            outbox.wake();
        }
    }

    pub(crate) fn heard(&self) -> u64 {
        self.connections.lock().values().map(|o| o.heard).sum()
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.connections.lock().values().map(|o| o.deliveries).sum()
    }

    pub(super) fn ordered(&self, order: &str, node: &NodeName) -> Result<(), ServiceError> {
        if *node != name() {
            return Err(ServiceError::UnknownNode);
        }
        self.orders.lock().push(format!("{order} {node}"));
        Ok(())
    }
}
