//! `rollcall backup` and `rollcall restore`: a running cluster to a file and back.
//!
//! Owns the file and what is printed; what a backup is made of is in `rollcall_cluster::backup`. Promises that a file is whole
//! when it has its name, and that nothing is sent of a file before all of it was checked.

use super::{
    Failure,
    client::{self, Client, ClientError, Credentials},
    command_line::{BackupOptions, RestoreOptions},
    partial::Partial,
    server::Server,
    stop,
};
use rollcall_cluster::backup::{BackupError, Check, Checked, Item};
use serde::Deserialize;
use std::{
    fs::File,
    io::{BufReader, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a server may take for the next bytes of a backup: as often as it begins a partition again, and more.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Bytes of users sent at once: what fits a body of the contract.
const BATCH_MAX_BYTES: usize = 240 * 1_024;
/// How often a batch is sent again in a row, and the pause before: longer than a failover.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_secs(1);

/// Why there is no backup, or not all of one is restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Nothing was touched.
    #[error("{} is there already; --overwrite replaces it", .0.display())]
    Exists(PathBuf),
    /// No file was made, or nothing was sent.
    #[error("{}: {source}", .file.display())]
    File { file: PathBuf, source: std::io::Error },
    /// Nothing was sent.
    #[error("{} is no whole backup: {why}; nothing was restored", .file.display())]
    NotWhole { file: PathBuf, why: BackupError },
    /// No file was made.
    #[error("the backup was not finished: {0}; no file was made")]
    Unfinished(String),
    /// The users before are restored; the same again goes on.
    #[error("{source}; {restored} users are restored so far, and the same command again goes on from there")]
    Stopped { restored: u64, source: ClientError },
    /// The same.
    #[error("interrupted; {restored} users are restored so far, and the same command again goes on from there")]
    Interrupted { restored: u64 },
}

/// Writes a backup.
pub(crate) async fn back_up(options: &BackupOptions) -> Result<(), Failure> {
    let client = Client::new(Server::of(&options.client).map_err(Failure::usage)?)?;
    let token = Credentials::of(&options.client).map_err(ClientError::from)?.admin().map_err(ClientError::from)?;
    let began = Instant::now();
    let file = |source| FileError::File { file: options.file.clone(), source };
    let mut partial = Partial::begin(&options.file, options.overwrite).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => FileError::Exists(options.file.clone()),
        _ => file(source),
    })?;
    let whole = tokio::select! {
        received = receive(&client, &token, &mut partial, &options.file) => received?,
        () = stop::signalled() => return Err(FileError::Unfinished("interrupted".into()).into()),
    };
    partial.keep().map_err(file)?;
    let Checked { cluster_id, totals, bytes, .. } = whole;
    let text = format!(
        "{} users and {} history entries of cluster {cluster_id} in {}, {bytes} bytes, in {:.1} s",
        totals.users,
        totals.history,
        options.file.display(),
        began.elapsed().as_secs_f64()
    );
    writeln!(anstream::stdout(), "{text}").map_err(Failure::output)
}

/// Receives a backup, checked as it comes.
async fn receive(client: &Client, token: &str, partial: &mut Partial, name: &Path) -> Result<Checked, Failure> {
    let unfinished = |why: BackupError| FileError::Unfinished(why.to_string());
    let mut answer = client.open(token, "/v1/cluster/backup").await?;
    let (mut check, mut pending) = (Check::default(), Vec::new());
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, answer.chunk()).await;
        let bytes = match next {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(FileError::Unfinished(error.to_string()).into()),
            Err(_) => return Err(FileError::Unfinished("the server has fallen silent".into()).into()),
        };
        partial.write(&bytes).map_err(|source| FileError::File { file: name.to_owned(), source })?;
        pending.extend_from_slice(&bytes);
        let mut at = 0;
        while let Some((len, item)) = Item::split_off(&pending[at..]).map_err(unfinished)? {
            check.take(len, &item).map_err(unfinished)?;
            at += len;
        }
        pending.drain(..at);
    }
    if !pending.is_empty() {
        return Err(unfinished(BackupError::Unfinished).into());
    }
    Ok(check.finish().map_err(unfinished)?)
}

/// Restores a backup.
pub(crate) async fn restore(options: &RestoreOptions) -> Result<(), Failure> {
    let name = &options.file;
    let client = Client::new(Server::of(&options.client).map_err(Failure::usage)?)?;
    let credentials = Credentials::of(&options.client).map_err(ClientError::from)?;
    let began = Instant::now();
    let source = File::open(name).map_err(|source| FileError::File { file: name.clone(), source })?;
    let not_whole = |why| FileError::NotWhole { file: name.clone(), why };
    let mut items = BufReader::new(source);
    let whole = check(&mut items).map_err(not_whole)?;
    items.rewind().map_err(|source| FileError::File { file: name.clone(), source })?;
    let mut sending = Sending { client, credentials, overwrite: options.overwrite, done: Counts::default() };
    let sent = tokio::select! {
        sent = sending.all(&mut items, &whole, name) => Some(sent),
        () = stop::signalled() => None,
    };
    sent.ok_or(FileError::Interrupted { restored: sending.done.restored })??;
    let Counts { restored, left_alone } = sending.done;
    let text = format!(
        "{restored} users restored and {left_alone} left alone that were there, of {} users and {} history entries in {}, in \
         {:.1} s",
        whole.totals.users,
        whole.totals.history,
        name.display(),
        began.elapsed().as_secs_f64()
    );
    writeln!(anstream::stdout(), "{text}").map_err(Failure::output)
}

/// Whether a file is a whole backup.
fn check(items: &mut BufReader<File>) -> Result<Checked, BackupError> {
    let mut check = Check::default();
    while let Some((len, item)) = Item::read(items)? {
        check.take(len, &item)?;
    }
    check.finish()
}

/// What a server answers.
#[derive(Debug, Default, Deserialize)]
struct Counts {
    restored: u64,
    left_alone: u64,
}

/// A restore on its way.
struct Sending {
    client: Client,
    credentials: Credentials,
    overwrite: bool,
    done: Counts,
}

impl Sending {
    /// Sends all users of a backup that was checked, some at once.
    async fn all(&mut self, items: &mut BufReader<File>, whole: &Checked, name: &Path) -> Result<(), FileError> {
        let not_whole = |why| FileError::NotWhole { file: name.to_owned(), why };
        let (mut at, mut batch) = (0_u64, Vec::new());
        while let Some((len, item)) = Item::read(items).map_err(not_whole)? {
            let is_void = whole.void.iter().any(|void| void.contains(&at));
            at += len as u64;
            if is_void || !matches!(item, Item::User { .. }) {
                continue;
            }
            if batch.len() + len > BATCH_MAX_BYTES {
                self.send(std::mem::take(&mut batch)).await?;
            }
            batch.extend_from_slice(&item.sealed());
        }
        if batch.is_empty() { Ok(()) } else { self.send(batch).await }
    }

    /// Sends users, again and again while that helps: what is restored already is left alone, or taken as it was.
    async fn send(&mut self, batch: Vec<u8>) -> Result<(), FileError> {
        let stopped = |restored, source: ClientError| FileError::Stopped { restored, source };
        let restored = self.done.restored;
        let path = format!("/v1/cluster/restore?overwrite={}", self.overwrite);
        let mut tries_left = TRIES;
        loop {
            let token = self.credentials.admin().map_err(|e| stopped(restored, e.into()))?;
            match self.client.post_bytes(&token, &path, batch.clone()).await {
                Ok(text) => {
                    let counts: Counts = client::read(self.client.url(), &text).map_err(|e| stopped(restored, e))?;
                    self.done.restored += counts.restored;
                    self.done.left_alone += counts.left_alone;
                    return Ok(());
                }
                Err(error) if tries_left > 0 && may_pass(&error) => {
                    tries_left -= 1;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(stopped(restored, error)),
            }
        }
    }
}

/// Whether the same again may do better.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, .. } => matches!(status, 429 | 503),
        ClientError::CutOff { .. } => true,
        _ => false,
    }
}
