//! What a home needs of its partition's Raft group, as a trait: so that many nodes run in one test over one store.

use futures::future::BoxFuture;
use rollcall_cluster::{
    NotHeld, NotHome, Partition, PartitionReport, ProposeError, Role, View,
    backup::{BackupPage, BackupReader, ReadBackupError},
};
use rollcall_presence::{Command, NodeName, Outcome, PartitionId};
use std::sync::Arc;
use tokio::sync::watch;

/// A partition's group on this node.
pub trait Group: Send + Sync + 'static {
    /// Which partition.
    fn id(&self) -> PartitionId;

    /// What this node is to it, as it changes.
    fn role(&self) -> watch::Receiver<Role>;

    /// Another node said who leads; believed while no replica here knows better.
    fn heard_hint(&self, leader: Option<NodeName>);

    /// Proposes `command`; the first poll puts it into the group's queue.
    fn propose(self: Arc<Self>, command: Command) -> BoxFuture<'static, Result<Arc<Outcome>, ProposeError>>;

    /// Makes sure that this node is still the home.
    fn confirm(&self) -> BoxFuture<'_, Result<u64, NotHome>>;

    /// Calls `read` with one consistent view, or says that there is none.
    ///
    /// # Errors
    /// [`NotHeld`]: `read` was not called.
    fn view(&self, read: &mut dyn FnMut(&View<'_>)) -> Result<(), NotHeld>;

    /// Begins to read the users as they are now, for the backup of this number.
    ///
    /// # Errors
    /// [`NotHeld`] where no replica is here.
    fn begin_backup(&self, backup: u64) -> Result<BackupReader, NotHeld>;

    /// Reads on.
    ///
    /// # Errors
    /// [`ReadBackupError`]: it has to begin again.
    fn read_backup(&self, reader: &mut BackupReader) -> Result<BackupPage, ReadBackupError>;

    /// How many commands were proposed here, and how many of them came back committed; zeros where nobody counts.
    fn proposals(&self) -> (u64, u64) {
        (0, 0)
    }

    /// The partition as this node sees it.
    fn status(&self) -> Option<PartitionReport>;
}

impl dyn Group {
    /// Reads one consistent view: no entry is applied meanwhile, so be brief.
    ///
    /// # Errors
    /// [`NotHeld`] where no replica is here.
    pub fn read<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> Result<T, NotHeld> {
        let (mut read, mut result) = (Some(read), None);
        self.view(&mut |view| {
            if let Some(read) = read.take() {
                result = Some(read(view));
            }
        })?;
        result.ok_or(NotHeld)
    }
}

impl Group for Partition {
    fn id(&self) -> PartitionId {
        Self::id(self)
    }

    fn role(&self) -> watch::Receiver<Role> {
        Self::role(self)
    }

    fn heard_hint(&self, leader: Option<NodeName>) {
        Self::heard_hint(self, leader);
    }

    fn propose(self: Arc<Self>, command: Command) -> BoxFuture<'static, Result<Arc<Outcome>, ProposeError>> {
        Box::pin(async move { Self::propose(&self, command).await })
    }

    fn confirm(&self) -> BoxFuture<'_, Result<u64, NotHome>> {
        Box::pin(Self::confirm(self))
    }

    fn view(&self, read: &mut dyn FnMut(&View<'_>)) -> Result<(), NotHeld> {
        Self::read(self, |view| read(view))
    }

    fn begin_backup(&self, backup: u64) -> Result<BackupReader, NotHeld> {
        Self::begin_backup(self, backup)
    }

    fn read_backup(&self, reader: &mut BackupReader) -> Result<BackupPage, ReadBackupError> {
        Self::read_backup(self, reader)
    }

    fn proposals(&self) -> (u64, u64) {
        Self::proposals(self)
    }

    fn status(&self) -> Option<PartitionReport> {
        Self::status(self)
    }
}
