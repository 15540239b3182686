//! The way to other members of a group, as openraft wants it, over a link that the program provides.
//!
//! openraft puts no time limit on a replication call: an answer that never comes would stall a follower for ever. The
//! limit is kept here, for every link.

use super::types::{Member, TypeConfig, Vote};
use crate::{peers::PeerLink, state::stream::SnapshotStream};
use openraft::{
    AnyError, OptionalSend, RaftNetworkFactory,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};
use rollcall_presence::{NodeName, PartitionId};
use std::{future::Future, sync::Arc};

/// What a group asks of a peer.
#[derive(Debug)]
pub enum Ask {
    /// Append entries, or a heartbeat.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Vote.
    Vote(VoteRequest<TypeConfig>),
    /// Say whether you would vote.
    PreVote(VoteRequest<TypeConfig>),
    /// Take over.
    TransferLeader(TransferLeaderRequest<TypeConfig>),
}

/// What a peer answers.
#[derive(Debug)]
pub enum Told {
    /// To an append.
    Append(AppendEntriesResponse<TypeConfig>),
    /// To both kinds of vote.
    Vote(VoteResponse<TypeConfig>),
    /// To a transfer.
    TransferLeader(TransferLeaderResponse<TypeConfig>),
}

/// Makes the links of one group.
pub(crate) struct GroupLinks {
    partition: PartitionId,
    link: Arc<dyn PeerLink>,
}

impl GroupLinks {
    /// The links of the group of `partition`, over `link`.
    #[must_use]
    pub(crate) fn new(partition: PartitionId, link: Arc<dyn PeerLink>) -> Self {
        Self { partition, link }
    }
}

impl RaftNetworkFactory<TypeConfig> for GroupLinks {
    type Network = MemberLink;

    async fn new_client(&mut self, target: u64, node: &Member) -> MemberLink {
        MemberLink { partition: self.partition, peer: node.name.clone(), raft_id: target, link: Arc::clone(&self.link) }
    }
}

/// The link of one group to one member.
pub(crate) struct MemberLink {
    partition: PartitionId,
    peer: NodeName,
    raft_id: u64,
    link: Arc<dyn PeerLink>,
}

fn unreachable(text: impl std::fmt::Display) -> Unreachable<TypeConfig> {
    Unreachable::new(&AnyError::error(text))
}

impl MemberLink {
    /// A node that was wiped and came back under its name is not the member meant: it must not answer for that one.
    fn check(&self) -> Result<(), Unreachable<TypeConfig>> {
        match self.link.reaches(&self.peer, self.raft_id) {
            true => Ok(()),
            false => Err(unreachable(format_args!("there is no link to {} of this identity", self.peer))),
        }
    }

    async fn ask(&self, ask: Ask, option: &RPCOption) -> Result<Told, RPCError<TypeConfig>> {
        self.check().map_err(RPCError::Unreachable)?;
        let asked = self.link.ask(&self.peer, self.partition, ask);
        match tokio::time::timeout(option.soft_ttl(), asked).await {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(error)) => Err(RPCError::Unreachable(unreachable(error))),
            Err(_) => Err(RPCError::Unreachable(unreachable(format_args!("{} does not answer", self.peer)))),
        }
    }

    fn confused(&self) -> RPCError<TypeConfig> {
        RPCError::Unreachable(unreachable(format_args!("{} answers another question", self.peer)))
    }
}

impl RaftNetworkV2<TypeConfig> for MemberLink {
    type SnapshotData = SnapshotStream;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Ask::Append(rpc), &option).await? {
            Told::Append(told) => Ok(told),
            _ => Err(self.confused()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Ask::Vote(rpc), &option).await? {
            Told::Vote(told) => Ok(told),
            _ => Err(self.confused()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Ask::PreVote(rpc), &option).await? {
            Told::Vote(told) => Ok(told),
            _ => Err(self.confused()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotStream>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        self.check().map_err(StreamingError::Unreachable)?;
        // A snapshot takes as long as it takes; the link breaks off when the peer falls silent.
        tokio::select! {
            sent = self.link.send_snapshot(&self.peer, self.partition, vote, snapshot) => {
                sent.map_err(|error| StreamingError::Unreachable(unreachable(error)))
            }
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Ask::TransferLeader(rpc), &option).await? {
            Told::TransferLeader(told) => Ok(told),
            _ => Err(self.confused()),
        }
    }
}
