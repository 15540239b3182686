//! openraft's own storage tests, on our store.

use super::{
    log::{LogCell, LogStore},
    machine::{Audience, Machine},
    tether::tie,
    types::TypeConfig,
};
use crate::{
    observer::Observer,
    state::cell::StateCell,
    store::{
        checks::Extent,
        disk::{Disk, SledDisk},
        ledger::{LogLedger, StateHeader},
        watermark::Watermark,
        writer::{Position, Writer},
    },
};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use rollcall_presence::{Outcome, PartitionId};
use std::sync::Arc;

struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: PartitionId, _: u64, _: &[Arc<Outcome>]) {}
}

struct Stores;

/// Closes the store and removes its directory.
struct Guard {
    writer: Arc<Writer>,
    disk: Arc<dyn Disk>,
    _dir: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.writer.stop();
        self.disk.close();
    }
}

impl StoreBuilder<TypeConfig, LogStore, Machine, Guard> for Stores {
    async fn build(&self) -> Result<(Guard, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(SledDisk::open(&dir.path().join("store"), 1 << 20).unwrap());
        let watermark = Watermark::create(&dir.path().join("watermark")).unwrap();
        let on_fatal = Arc::new(|reason: &str| panic!("{reason}"));
        let writer = Writer::start(Arc::clone(&disk), watermark, Position::default(), on_fatal).unwrap();
        let partition = PartitionId(3);
        let log = LogCell::new(partition, Arc::clone(&disk), &LogLedger::default(), Extent::default());
        let state = StateCell::new(partition, Arc::clone(&disk), StateHeader::default());
        let (tether, _) = tie();
        let store = LogStore::new(Arc::clone(&log), Arc::clone(&writer), tether.clone());
        let audience = Audience::Observer(Arc::new(Nobody));
        let machine = Machine::new(state, log, Arc::clone(&writer), audience, tether).unwrap();
        Ok((Guard { writer, disk, _dir: dir }, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_does_what_openraft_asks_of_one() {
    Suite::test_all(Stores).await.unwrap();
}
