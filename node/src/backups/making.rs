//! One backup of the whole cluster, partition after partition, at the pace of whoever takes it.

use crate::{
    bounds::{BACKUP_AGAIN_MS, BACKUP_PAGE_MS, BACKUP_PAGES_AHEAD, BACKUP_TRIES, BACKUPS_AT_ONCE, RETRY_AFTER_MS},
    homes::Homes,
    node::Node,
    peers::message::{Question, Reply, SectionPage},
};
use bytes::Bytes;
use futures::stream::BoxStream;
use rollcall_api::service::ServiceError;
use rollcall_cluster::{
    Role,
    backup::{Item, Totals},
};
use rollcall_presence::{NodeName, PartitionId};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};

/// Nodes that are asked for a home in a row: the one known, and the one that it names.
const HOPS_MAX: u32 = 2;

/// The room for backups on a node.
pub struct Making(Arc<Semaphore>);

impl Default for Making {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BACKUPS_AT_ONCE)))
    }
}

/// Why a backup cannot go on.
enum Stopped {
    /// Nobody takes it any more.
    Unwanted,
    /// The section could not be read; whether anything of it was handed on.
    Unreadable { begun: bool },
}

impl From<mpsc::error::SendError<Bytes>> for Stopped {
    fn from(_: mpsc::error::SendError<Bytes>) -> Self {
        Self::Unwanted
    }
}

impl Making {
    /// Begins a backup: its bytes, as they are taken. It ends with them.
    ///
    /// # Errors
    /// `Unavailable` when as many are being made here as may be.
    pub fn begin(&self, node: &Arc<Node>, cluster_id: &str) -> Result<BoxStream<'static, Bytes>, ServiceError> {
        let room = Arc::clone(&self.0).try_acquire_owned().map_err(|_| ServiceError::Unavailable {
            why: "another backup is being made by this node",
            after_ms: RETRY_AFTER_MS,
        })?;
        let mut drawn = [0; 8];
        getrandom::fill(&mut drawn).map_err(|_| ServiceError::Internal)?;
        let backup = u64::from_le_bytes(drawn);
        let begin = Item::Begin { backup, cluster_id: cluster_id.to_owned(), taken_at: node.clock.unix_ms() };
        let (out, taken) = mpsc::channel(BACKUP_PAGES_AHEAD);
        let homes = node.homes.clone();
        tokio::spawn(async move {
            let _room = room;
            if make(&homes, backup, begin, &out).await.is_err() {
                tracing::info!("a backup was not taken to its end");
            }
        });
        let pages = futures::stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
        Ok(Box::pin(pages))
    }
}

async fn make(homes: &Homes, backup: u64, begin: Item, out: &mpsc::Sender<Bytes>) -> Result<(), Stopped> {
    out.send(begin.sealed().into()).await?;
    let mut held = Totals::default();
    for home in homes.partitions() {
        match section(homes, home.id(), backup, out).await {
            Ok(of_section) => held = held.plus(of_section),
            Err(Stopped::Unreadable { .. }) => {
                let why = format!(
                    "partition {} could not be read in {BACKUP_TRIES} tries: it has no home, or its users change faster than \
                     they are taken",
                    home.id()
                );
                tracing::warn!(why, "a backup failed");
                out.send(Item::Failed(why).sealed().into()).await?;
                return Ok(());
            }
            Err(unwanted) => return Err(unwanted),
        }
    }
    out.send(Item::End(held).sealed().into()).await?;
    Ok(())
}

/// Hands on one section, begun again as often as may be.
async fn section(
    homes: &Homes,
    partition: PartitionId,
    backup: u64,
    out: &mpsc::Sender<Bytes>,
) -> Result<Totals, Stopped> {
    for _ in 0..BACKUP_TRIES {
        match section_once(homes, partition, backup, out).await {
            Err(Stopped::Unreadable { begun }) => {
                if begun {
                    out.send(Item::Void.sealed().into()).await?;
                }
                tokio::time::sleep(Duration::from_millis(BACKUP_AGAIN_MS)).await;
            }
            done => return done,
        }
    }
    Err(Stopped::Unreadable { begun: false })
}

async fn section_once(
    homes: &Homes,
    partition: PartitionId,
    backup: u64,
    out: &mpsc::Sender<Bytes>,
) -> Result<Totals, Stopped> {
    let (at, mut next) = begin(homes, partition, backup).await.ok_or(Stopped::Unreadable { begun: false })?;
    let mut held = Totals::default();
    loop {
        let SectionPage { ticket, page } = next;
        held = held.plus(page.held);
        if !page.items.is_empty() {
            out.send(page.items.into()).await?;
        }
        if page.is_end {
            return Ok(held);
        }
        let question = Question::Section { partition, backup, ticket: Some(ticket) };
        next = match ask(homes, at.as_ref(), question).await {
            Some(Reply::Section(Ok(page))) => page,
            _ => return Err(Stopped::Unreadable { begun: true }),
        };
    }
}

/// Begins a section at its home; with it the node where that is, if it is not this one.
async fn begin(homes: &Homes, partition: PartitionId, backup: u64) -> Option<(Option<NodeName>, SectionPage)> {
    let home = homes.partition(partition)?;
    let this = &homes.peers().this().node;
    let mut at = match home.role() {
        Role::Home { .. } => None,
        Role::Follower { leader } => Some(leader?),
    };
    for _ in 0..HOPS_MAX {
        let here = at.as_ref().filter(|node| *node != this).cloned();
        match ask(homes, here.as_ref(), Question::Section { partition, backup, ticket: None }).await? {
            Reply::Section(Ok(page)) => return Some((here, page)),
            Reply::NotHome { leader } => at = Some(leader?),
            _ => return None,
        }
    }
    None
}

async fn ask(homes: &Homes, at: Option<&NodeName>, question: Question) -> Option<Reply> {
    match at {
        None => Some(homes.answer(question).await),
        Some(node) => homes.peers().ask(node, &question, Duration::from_millis(BACKUP_PAGE_MS)).await.ok(),
    }
}
