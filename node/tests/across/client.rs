//! A client with a socket at one of the nodes, that remembers all it was told.

use crate::stage::{DEADLINE, Stage};
use rollcall_api::service::{
    ConnectRequest, Connection, Delivery, GoodbyeReason, HistoryQuery, NewSession, PresenceService, ServiceError,
    Welcome,
};
use rollcall_node::service::NodeService;
use rollcall_presence::{Device, Intent, ListChanges, ListKind, ManualStatus, Meta, Reason, UserId, Viewer};
use serde_json::Value;
use std::{collections::HashMap, future::poll_fn};

pub struct Client {
    pub welcome: Welcome,
    pub connection: Box<dyn Connection>,
    /// The latest presence of every watched user.
    pub held: HashMap<UserId, Value>,
    /// Everything, in order.
    pub told: Vec<Value>,
    pub goodbye: Option<GoodbyeReason>,
}

impl Client {
    pub async fn try_connect(
        stage: &impl Services,
        at: usize,
        user: &UserId,
        resume: Option<String>,
    ) -> Result<Self, ServiceError> {
        let viewer = Viewer { user: user.clone(), service: false };
        let session = Some(NewSession { device: Device::new("web").unwrap(), resume });
        let request = ConnectRequest { viewer, session, watch_contacts: false };
        let (welcome, connection) = stage.service(at).connect(request).await?;
        Ok(Self { welcome, connection, held: HashMap::new(), told: Vec::new(), goodbye: None })
    }

    pub async fn connect(stage: &impl Services, at: usize, user: &UserId) -> Self {
        Self::try_connect(stage, at, user, None).await.unwrap()
    }

    pub async fn resume(&self, stage: &impl Services, at: usize, user: &UserId) -> Self {
        Self::try_connect(stage, at, user, self.welcome.resume.clone()).await.unwrap()
    }

    pub async fn watch(&mut self, users: &[&UserId]) {
        let users = users.iter().map(|u| ((*u).clone(), None)).collect();
        let snapshot = self.connection.watch(users).await.unwrap();
        self.take(snapshot.iter().map(|p| p.json.as_ref()));
    }

    pub async fn follow(&mut self) {
        let snapshot = self.connection.contacts_snapshot().await.unwrap();
        self.take(snapshot.iter().map(|p| p.json.as_ref()));
    }

    fn take<'a>(&mut self, presences: impl Iterator<Item = &'a str>) {
        for json in presences {
            let presence: Value = serde_json::from_str(json).unwrap();
            let user = UserId::new(presence["user"].as_str().unwrap()).unwrap();
            if let Some(held) = self.held.get(&user) {
                let (was, is) = (held["version"].as_u64().unwrap(), presence["version"].as_u64().unwrap());
                assert!(is == 0 || is >= was, "versions fell: {held} then {presence}");
            }
            self.told.push(presence.clone());
            self.held.insert(user, presence);
        }
    }

    /// Takes what comes until `condition` holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let met = async {
            while !condition(self) {
                match poll_fn(|cx| self.connection.poll_delivery(cx)).await {
                    Delivery::Presences(presences) => self.take(presences.iter().map(|p| p.json.as_ref())),
                    Delivery::Unwatched(users) => users.iter().for_each(|u| drop(self.held.remove(u))),
                    Delivery::Goodbye { reason, .. } => {
                        self.goodbye = Some(reason);
                        // Nothing else comes any more: the deadline has to come to its turn.
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                }
            }
        };
        let met = tokio::time::timeout(DEADLINE, met).await;
        assert!(met.is_ok(), "never: {what}; {:?}; held {:?}", self.goodbye, self.held);
    }

    pub fn sees(&self, user: &UserId, field: &str, value: impl Into<Value>) -> bool {
        self.held.get(user).is_some_and(|p| p[field] == value.into())
    }

    /// Whether anybody was ever told to be offline after having been seen otherwise.
    pub fn offlines(&self) -> usize {
        self.told.iter().filter(|p| p["status"] == "offline" && p["version"].as_u64().unwrap() > 0).count()
    }
}

/// Nodes that serve.
#[allow(async_fn_in_trait, reason = "tests wait for it where they call it")]
pub trait Services {
    fn service(&self, at: usize) -> &NodeService;

    async fn write(&self, at: usize, user: &UserId, intent: Intent) -> Result<(), ServiceError> {
        self.service(at).write(user, intent, None).await.map(|_| ())
    }

    async fn put(&self, at: usize, user: &UserId, text: &str) {
        self.write(at, user, status(text)).await.unwrap();
    }

    /// Changes a list of `user`.
    async fn list(&self, at: usize, user: &UserId, list: ListKind, add: &[&UserId], remove: &[&UserId]) {
        let of = |all: &[&UserId]| all.iter().map(|u| (*u).clone()).collect();
        let changes = ListChanges { list, add: of(add), remove: of(remove) };
        self.write(at, user, Intent::ChangeList(changes)).await.unwrap();
    }

    async fn reasons(&self, at: usize, user: &UserId) -> Vec<Reason> {
        let query = HistoryQuery { from: 0, to: u64::MAX, limit: 100, before: None };
        let history = self.service(at).history(user, query).await.unwrap();
        history.items.into_iter().rev().map(|entry| entry.reason).collect()
    }
}

impl Services for Stage {
    fn service(&self, at: usize) -> &NodeService {
        &self.nodes[at].service
    }
}

pub fn status(text: &str) -> Intent {
    let (status, text) = (ManualStatus::Online, Some(text.into()));
    Intent::PutStatus { status, text, meta: Meta::empty(), expires_in_s: None }
}
