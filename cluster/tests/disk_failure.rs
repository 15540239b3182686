//! A disk that fails, and one that stalls.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, DEADLINE, put_status, user};
use rollcall_cluster::{
    ProposeError, Role, StartError, Surroundings,
    disk::{Batch, Bytes, Disk, Scan, SledDisk},
};
use rollcall_presence::PartitionId;
use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::mpsc;

/// What is wrong with the disk at present.
#[derive(Default)]
struct Trouble {
    failing: AtomicBool,
    unreadable: AtomicBool,
    stalled: Mutex<bool>,
    moved: Condvar,
}

impl Trouble {
    fn stall(&self, stalled: bool) {
        *self.stalled.lock().unwrap() = stalled;
        self.moved.notify_all();
    }
}

struct Troubled {
    disk: SledDisk,
    trouble: Arc<Trouble>,
}

impl Disk for Troubled {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        if self.trouble.unreadable.load(Ordering::Relaxed) {
            return Err(io::Error::other("no such sector"));
        }
        self.disk.get(key)
    }
    fn scan(&self, from: &[u8], to: &[u8]) -> Scan {
        self.disk.scan(from, to)
    }
    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.disk.apply(batch)
    }
    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }
    fn sync(&self) -> io::Result<()> {
        if self.trouble.failing.load(Ordering::Relaxed) {
            return Err(io::Error::other("no medium"));
        }
        let mut stalled = self.trouble.stalled.lock().unwrap();
        while *stalled {
            stalled = self.trouble.moved.wait(stalled).unwrap();
        }
        self.disk.sync()
    }
    fn close(&self) {
        self.disk.close();
    }
}

/// Surroundings with a disk that can be troubled; what ends the process comes out of the channel.
fn surroundings(trouble: &Arc<Trouble>) -> (Surroundings, mpsc::UnboundedReceiver<String>) {
    let trouble = Arc::clone(trouble);
    let open = move |path: &Path| {
        SledDisk::open(path, 1 << 24).map(|disk| Arc::new(Troubled { disk, trouble }) as Arc<dyn Disk>)
    };
    let (fatal, reasons) = mpsc::unbounded_channel();
    let on_fatal = Arc::new(move |reason: &str| drop(fatal.send(reason.to_owned())));
    let surroundings = Surroundings { disk: Some(Box::new(open)), on_fatal: Some(on_fatal), ..Surroundings::default() };
    (surroundings, reasons)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_process_and_acknowledges_nothing() {
    let (bench, trouble) = (Bench::new(2), Arc::new(Trouble::default()));
    let (surroundings, mut reasons) = surroundings(&trouble);
    let cluster = bench.start_within(bench.options(), surroundings).await.unwrap();
    bench.all_home(&cluster).await;
    bench.propose(&cluster, &user(1), put_status(1)).await.unwrap();
    trouble.failing.store(true, Ordering::Relaxed);
    let name = user(1);
    let proposed = bench.propose(&cluster, &name, put_status(2));
    let reason = tokio::time::timeout(DEADLINE, reasons.recv());
    let (proposed, reason) = tokio::join!(proposed, reason);
    assert_eq!(proposed.unwrap_err(), ProposeError::Unknown);
    assert!(reason.unwrap().unwrap().contains("no medium"));
    assert!(reasons.try_recv().is_err(), "it is not tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_applied_ends_the_process() {
    let (bench, trouble) = (Bench::new(2), Arc::new(Trouble::default()));
    let (surroundings, mut reasons) = surroundings(&trouble);
    let cluster = bench.start_within(bench.options(), surroundings).await.unwrap();
    bench.all_home(&cluster).await;
    trouble.unreadable.store(true, Ordering::Relaxed);
    assert!(bench.propose(&cluster, &user(1), put_status(1)).await.is_err());
    let reason = tokio::time::timeout(DEADLINE, reasons.recv()).await.expect("its partition is nobody's").unwrap();
    assert!(reason.contains("no such sector"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_at_the_start_is_not_taken_for_damage() {
    let bench = Bench::new(1);
    bench.start().await.stop().await;
    let full = Surroundings {
        disk: Some(Box::new(|_: &Path| Err(io::ErrorKind::StorageFull.into()))),
        ..Surroundings::default()
    };
    let Err(error) = bench.start_within(bench.options(), full).await else { panic!("it started") };
    assert!(matches!(error, StartError::Io { .. }), "nobody should move the directory away for that: {error}");
    bench.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_disk_gives_up_its_homes_until_it_answers_again() {
    let (bench, trouble) = (Bench::new(2), Arc::new(Trouble::default()));
    let (surroundings, mut reasons) = surroundings(&trouble);
    let cluster = bench.start_within(bench.options(), surroundings).await.unwrap();
    bench.all_home(&cluster).await;
    let partition = Arc::clone(cluster.partition(bench.partition_of(&user(1))));
    let home = bench.home(&cluster, partition.id()).await;
    trouble.stall(true);
    let mut command = bench.command(&user(1), put_status(1));
    command.term = home;
    let proposing = tokio::spawn({
        let partition = Arc::clone(&partition);
        async move { partition.propose(command).await }
    });
    for id in [PartitionId(0), PartitionId(1)] {
        let mut role = cluster.partition(id).role();
        let given_up = role.wait_for(|role| matches!(role, Role::Follower { .. }));
        tokio::time::timeout(DEADLINE, given_up).await.expect("given up in time").unwrap();
        assert!(cluster.partition(id).confirm().await.is_err());
    }
    assert!(!*cluster.healthy().borrow());
    trouble.stall(false);
    bench.all_home(&cluster).await;
    assert!(matches!(proposing.await.unwrap(), Ok(_) | Err(ProposeError::Unknown)));
    bench.propose(&cluster, &user(1), put_status(2)).await.unwrap();
    assert!(reasons.try_recv().is_err());
    cluster.stop().await;
}
