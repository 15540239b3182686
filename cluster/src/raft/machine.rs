//! A group's state machine, as openraft wants it: entries applied to the state, snapshots streamed and installed.
//!
//! Applied rows are in memory at once and on disk soon; the log has them meanwhile. Promises to call the observer once an
//! applied entry, after its rows are readable and before any proposer is answered.

use super::{
    landing::{land, writer_ended},
    log::LogCell,
    tether::Tether,
    types::{LogId, Proposal, Reply, SnapshotMeta, StoredMembership, TypeConfig},
    wire::{StoredLogId, StoredMembers},
};
use crate::{
    observer::Observer,
    planted::{self, Fault},
    state::{
        cell::{State, StateCell, Step},
        placed::{Placed, place, placement},
        step::apply_entry,
        stream::SnapshotStream,
    },
    store::{
        key,
        ledger::{Described, StateHeader},
        work::{BulkWork, StateWork, promise},
        writer::Writer,
    },
};
use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    entry::RaftEntry as _,
    storage::{EntryResponder, RaftStateMachine},
};
use rollcall_presence::{Outcome, Placement};
use std::{io, sync::Arc};
use tokio::sync::watch;

/// What applying an entry did.
enum Effect {
    Presence(Vec<Arc<Outcome>>),
    Placement(Placed),
}

type Payload = openraft::type_config::alias::EntryPayloadOf<TypeConfig>;
type StreamedSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotStream>;

/// The state machine of one group.
#[derive(Clone)]
pub(crate) struct Machine {
    state: Arc<StateCell>,
    log: Arc<LogCell>,
    writer: Arc<Writer>,
    audience: Audience,
    _tether: Tether,
}

/// Who is told of what was applied.
#[derive(Clone)]
pub(crate) enum Audience {
    /// Of a partition: the program.
    Observer(Arc<dyn Observer>),
    /// Of the placement group: whoever follows the placement.
    Placement(watch::Sender<Arc<Placement>>),
}

impl Audience {
    /// The state is another one altogether.
    fn anew(&self, state: &StateCell) -> io::Result<()> {
        if let Self::Placement(_) = self {
            self.placed(Arc::new(state.with_rows(placement)?));
        }
        Ok(())
    }

    /// A replica that is built anew goes through what was told long ago: whoever follows never goes back.
    fn placed(&self, placement: Arc<Placement>) {
        if let Self::Placement(told) = self {
            told.send_if_modified(|known| {
                let is_newer = placement.epoch > known.epoch;
                if is_newer {
                    *known = placement;
                }
                is_newer
            });
        }
    }
}

impl Machine {
    /// Applies to `state`, and tells `audience`; whoever follows the placement hears it now, as it was applied so far.
    ///
    /// # Errors
    /// When the placement cannot be read.
    pub(crate) fn new(
        state: Arc<StateCell>,
        log: Arc<LogCell>,
        writer: Arc<Writer>,
        audience: Audience,
        tether: Tether,
    ) -> io::Result<Self> {
        audience.anew(&state)?;
        Ok(Self { state, log, writer, audience, _tether: tether })
    }

    async fn apply_one(&self, entry: super::types::RaftEntry) -> io::Result<Reply> {
        let id = StoredLogId::from(entry.log_id);
        let members = match &entry.payload {
            EntryPayload::Membership(_) => entry
                .get_membership()
                .map(|membership| StoredMembers::from(&StoredMembership::new(Some(entry.log_id), membership))),
            _ => None,
        };
        let (done, step) = self.state.step(id, members, |state| self.carry_out(state, id.term, &entry.payload))?;
        self.store(step).await;
        self.log.applied(id.index);
        self.log.note_applied(&entry);
        let mut reply = Reply::default();
        match done {
            Effect::Presence(outcomes) => reply.outcomes = outcomes,
            Effect::Placement((done, changed)) => {
                if let Some(changed) = changed {
                    self.audience.placed(changed);
                }
                reply.placement = Some(done);
            }
        }
        if let Audience::Observer(observer) = &self.audience {
            observer.applied(self.state.partition(), id.term, &reply.outcomes);
        }
        self.state.applied_in(id.term);
        Ok(reply)
    }

    /// A proposal that belongs to the other kind of group does nothing, on every replica alike.
    fn carry_out(&self, state: &mut State, term: u64, payload: &Payload) -> io::Result<Effect> {
        match (payload, &self.audience) {
            (EntryPayload::Normal(Proposal::Presence(entry)), Audience::Observer(_)) => {
                apply_entry(state, term, entry).map(Effect::Presence)
            }
            (EntryPayload::Normal(Proposal::Placement(command)), Audience::Placement(_)) => {
                Ok(Effect::Placement(place(state, command)?))
            }
            (EntryPayload::Blank, _) if planted::is(Fault::VersionResetAtTakeover) => {
                state.forget_revision();
                Ok(Effect::Presence(Vec::new()))
            }
            _ => Ok(Effect::Presence(Vec::new())),
        }
    }

    async fn store(&self, step: Step) {
        let bytes = step.rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let room = self.writer.overlay_room(bytes).await;
        let state = Arc::clone(&self.state);
        self.writer.queue().state(StateWork {
            partition: self.state.partition(),
            rows: step.rows,
            header: step.header,
            applied: step.applied,
            bytes,
            room,
            done: Box::new(move || state.synced(step.seq)),
        });
    }

    /// The state as it is, and the step that has to be on disk before it may be relied on.
    fn streamed(&self) -> (StreamedSnapshot, u64) {
        let (header, seq, stream) = self.state.stream();
        (Snapshot { meta: meta(&header), snapshot: Box::new(stream) as SnapshotStream }, seq)
    }

    /// Goes over to a snapshot. One that has not landed yet lands first.
    async fn install(&self, meta: &SnapshotMeta, stream: SnapshotStream) -> io::Result<()> {
        let partition = self.state.partition();
        let stream = match stream.landed() {
            Some(_) => stream,
            None => land(&self.state, &self.writer, stream).await?,
        };
        let landed = stream.landed().ok_or_else(writer_ended)?;
        let header = StateHeader {
            applied: meta.last_log_id.map(Into::into),
            members: StoredMembers::from(&meta.last_membership),
            ..landed.clone()
        };
        let (done, wait) = promise();
        self.writer.queue().state(StateWork {
            partition,
            rows: Vec::new(),
            header: header.sealed(),
            applied: header.applied,
            bytes: 0,
            room: None,
            done,
        });
        self.writer.queue().want_state();
        wait.await.map_err(|_| writer_ended())?;
        self.log.applied(header.applied.map_or(0, |id| id.index));
        let old = key::state_prefix(partition, self.state.header().epoch);
        self.state.switch(header);
        self.audience.anew(&self.state)?;
        let end = key::after(&old);
        self.writer.queue().bulk(BulkWork::Sweep(old, end, Box::new(|| {})));
        Ok(())
    }
}

fn meta(header: &StateHeader) -> SnapshotMeta {
    SnapshotMeta { last_log_id: header.applied.map(Into::into), last_membership: header.members.to_raft() }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotStream;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let header = self.state.header();
        Ok((header.applied.map(Into::into), header.members.to_raft()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let reply = self.apply_one(entry).await?;
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotStream) -> io::Result<()> {
        self.install(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<StreamedSnapshot>> {
        Ok(self.state.header().applied.map(|_| self.streamed().0))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotStream;

    /// Applied rows on disk are the snapshot: building it is waiting until they are there.
    async fn build_snapshot(&mut self) -> io::Result<StreamedSnapshot> {
        let (snapshot, seq) = self.streamed();
        self.writer.queue().want_state();
        tokio::select! {
            () = self.state.wait_synced(seq) => {}
            () = self.writer.queue().died() => return Err(writer_ended()),
        }
        Ok(snapshot)
    }
}
