//! A database that was cut short or whose bits flipped: it starts with everything acknowledged, or it is refused with a
//! reason and the way out. Never a silent loss.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

#[allow(unreachable_pub, reason = "a module of its own in each test file")]
mod bench;

use bench::{Bench, add_contacts, copy, open_session, put_status, user};
use rollcall_cluster::{Cluster, StartError};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const USERS: u64 = 120;
const PLACES: u64 = 20;

/// A store with something in it, stopped; and what is in it.
async fn filled() -> (Bench, Vec<String>) {
    let bench = Bench::new(4);
    let cluster = bench.start().await;
    for n in 0..USERS {
        bench.propose(&cluster, &user(n), open_session(n)).await.unwrap();
        bench.propose(&cluster, &user(n), add_contacts(40)).await.unwrap();
    }
    // A restart in between: sled starts from a file beside the database then, and reads the rest of the log on top.
    cluster.stop().await;
    let cluster = bench.start().await;
    for n in 0..USERS {
        bench.propose(&cluster, &user(n), put_status(n)).await.unwrap();
    }
    let everything = bench.everything(&cluster, USERS);
    cluster.stop().await;
    (bench, everything)
}

/// Starts from a damaged copy; says whether it was refused. A loss without a word fails the test.
async fn start_damaged(bench: &Bench, wanted: &[String], what: &str, damage: impl FnOnce(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    copy(&bench.dir.path().join("data"), &path);
    damage(&path);
    let mut options = bench.options();
    options.data_dir = path;
    match bench.try_start(options).await {
        Ok(cluster) => {
            reads_all(bench, &cluster, wanted, what);
            cluster.stop().await;
            false
        }
        Err(error @ StartError::Damaged { .. }) => {
            let text = error.to_string();
            assert!(text.contains("restore this directory from a backup"), "{what}: {text}");
            true
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

fn reads_all(bench: &Bench, cluster: &Cluster, wanted: &[String], what: &str) {
    let found = bench.everything(cluster, USERS);
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted, "{what}");
    }
}

fn database(path: &Path) -> (File, u64) {
    let file = File::options().read(true).write(true).open(path.join("store").join("db")).unwrap();
    let len = file.metadata().unwrap().len();
    (file, len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_cut_short_is_whole_or_refused() {
    let (bench, wanted) = filled().await;
    let mut refused = 0;
    for place in 0..PLACES {
        refused += u64::from(
            start_damaged(&bench, &wanted, &format!("cut {place}"), |path| {
                let (file, len) = database(path);
                file.set_len(len * place / PLACES).unwrap();
            })
            .await,
        );
    }
    assert!(refused > 0, "nothing that was cut off was missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_a_flipped_bit_is_whole_or_refused() {
    let (bench, wanted) = filled().await;
    let (_, len) = database(&bench.dir.path().join("data"));
    let mut refused = 0;
    for place in 0..PLACES {
        let at = len * place / PLACES + 37 + place * 911 % 4_096;
        refused += u64::from(start_damaged(&bench, &wanted, &format!("bit {at}"), |path| flip(path, at)).await);
    }
    assert!(refused > 0, "nothing that was flipped was missed");
}

fn flip(path: &Path, at: u64) {
    let (file, _) = database(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_and_older_files_are_refused() {
    let bench = Bench::new(2);
    let cluster = bench.start().await;
    bench.propose(&cluster, &user(1), open_session(1)).await.unwrap();
    cluster.stop().await;
    let data = bench.dir.path().join("data");
    let old = bench.dir.path().join("old");
    copy(&data, &old);
    let cluster = bench.start().await;
    bench.propose(&cluster, &user(1), put_status(1)).await.unwrap();
    let wanted = bench.everything(&cluster, USERS);
    cluster.stop().await;

    let database_is_older = |path: &Path| {
        std::fs::remove_dir_all(path.join("store")).unwrap();
        copy(&old.join("store"), &path.join("store"));
    };
    let missing = |file: PathBuf| move |path: &Path| std::fs::remove_file(path.join(file)).unwrap();
    assert!(start_damaged(&bench, &wanted, "an older database", database_is_older).await);
    assert!(start_damaged(&bench, &wanted, "no watermark", missing("watermark".into())).await);
    assert!(start_damaged(&bench, &wanted, "no database", missing("store/db".into())).await);
    let no_store = |path: &Path| std::fs::remove_dir_all(path.join("store")).unwrap();
    assert!(start_damaged(&bench, &wanted, "no store", no_store).await);
    assert!(!start_damaged(&bench, &wanted, "untouched", |_| {}).await);
}

fn index(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("store")).unwrap().map(|file| file.unwrap().path());
    let mut indexes = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."));
    indexes.next().expect("a store that was opened twice has an index")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_index_is_named_and_without_it_everything_is_there() {
    let (bench, everything) = filled().await;
    let data = bench.dir.path().join("data");
    let torn = index(&data);
    File::options().write(true).open(&torn).unwrap().set_len(100).unwrap();
    let refused = bench.try_start(bench.options()).await.err().expect("the index is torn").to_string();
    assert!(refused.contains(&torn.display().to_string()), "{refused}");
    std::fs::remove_file(&torn).unwrap();
    let cluster = bench.try_start(bench.options()).await.unwrap();
    reads_all(&bench, &cluster, &everything, "without the index");
    cluster.stop().await;
}
