//! What an operator asks of the cluster, as a trait: carried out by the placement group, or refused.

use async_trait::async_trait;
use rollcall_api::service::ServiceError;
use rollcall_presence::NodeName;

/// Why the cluster does not do what an operator asks. Nothing was changed but, perhaps, after `Unsure`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminRefusal {
    /// No member has this name.
    #[error("no such node")]
    Unknown,
    /// It keeps the last replica of something.
    #[error("the node holds the last replica of a partition")]
    LastReplica,
    /// The state of the cluster forbids it.
    #[error("{0}")]
    Refused(String),
    /// Nobody can decide now.
    #[error("no majority of the cluster can be reached")]
    NoLeader,
    /// It was asked for, and no answer came.
    #[error("the outcome is not known; it may take effect later")]
    Unsure,
}

impl From<AdminRefusal> for ServiceError {
    fn from(refusal: AdminRefusal) -> Self {
        let after_ms = crate::bounds::RETRY_AFTER_MS;
        match refusal {
            AdminRefusal::Unknown => Self::UnknownNode,
            AdminRefusal::LastReplica => Self::Conflict(AdminRefusal::LastReplica.to_string()),
            AdminRefusal::Refused(why) => Self::Conflict(why),
            AdminRefusal::NoLeader => Self::Unavailable { why: "no majority of the cluster can be reached", after_ms },
            AdminRefusal::Unsure => {
                Self::Unavailable { why: "the outcome is not known; it may take effect later", after_ms }
            }
        }
    }
}

/// Who carries it out.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// Begins to move everything away from a node.
    ///
    /// # Errors
    /// [`AdminRefusal`].
    async fn drain(&self, node: &NodeName) -> Result<(), AdminRefusal>;

    /// Begins to rebuild a node's replicas elsewhere, to forget it afterwards.
    ///
    /// # Errors
    /// [`AdminRefusal`].
    async fn remove(&self, node: &NodeName) -> Result<(), AdminRefusal>;
}

/// A node by itself: there is nowhere to move to.
pub struct OnlyNode(pub NodeName);

#[async_trait]
impl Admin for OnlyNode {
    async fn drain(&self, node: &NodeName) -> Result<(), AdminRefusal> {
        if *node != self.0 {
            return Err(AdminRefusal::Unknown);
        }
        Err(AdminRefusal::Refused("this cluster has one node: there is nowhere to move to".into()))
    }

    async fn remove(&self, node: &NodeName) -> Result<(), AdminRefusal> {
        if *node == self.0 { Err(AdminRefusal::LastReplica) } else { Err(AdminRefusal::Unknown) }
    }
}
