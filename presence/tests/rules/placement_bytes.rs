//! The bytes of the placement and of its commands, pinned; and that any bytes are decoded or refused.

use crate::{
    golden_bytes::golden,
    placement_world::{Cluster, newcomer, node},
};
use proptest::{collection::vec, prelude::*};
use rollcall_presence::{
    Applied, Assignment, MemberState, PartitionId, Placement, PlacementCommand as Command, PlacementRefusal as Refusal,
    Standing, Target, View, apply_placement, codec, plan_moves,
};
use std::collections::BTreeSet;

#[test]
fn a_placement() {
    golden(&Placement::default(), "000000000000");
    let mut cluster = Cluster::new(1, 3);
    cluster.start(1);
    cluster.placement.partitions.push(Assignment {
        voters: vec![node(0)],
        learners: vec![node(1)],
        target: Some(Target { change: 7, voters: vec![node(1)], learners: vec![node(0)] }),
        departing: vec![node(2)],
        leader: None,
    });
    golden(
        &cluster.placement,
        "020163030102036e303001010d31302e302e302e303a373730300d31302e302e302e303a3737303105302e312e \
            300101036e303102010d31302e302e302e313a373730300d31302e302e302e313a3737303105302e312e300100 \
            0201036e303000000001036e303001036e303001036e3031010701036e303101036e303001036e303200",
    );
}

#[test]
fn the_state_of_a_member() {
    golden(
        &[MemberState::Joining, MemberState::Up, MemberState::Draining, MemberState::Drained, MemberState::Removing],
        "0001020304",
    );
    golden(
        &[Standing::Joining, Standing::Staying, Standing::Draining, Standing::Gone, Standing::Removing]
            .map(MemberState::Down),
        "05000501050205030504",
    );
}

fn commands() -> [Command; 14] {
    let (name, generation, partition) = (node(1), 300, PartitionId(5));
    let (voters, learners) = (vec![node(1)], vec![node(2)]);
    [
        Command::Found { cluster_id: "c1".into(), partitions: 32, replication: 3, first: newcomer(0, 1) },
        Command::Admit(newcomer(1, 2)),
        Command::DeclareDown { name: name.clone(), generation },
        Command::DeclareUp { name: name.clone(), generation },
        Command::Drain { name: name.clone() },
        Command::FinishDrain { name: name.clone() },
        Command::Remove { name: name.clone() },
        Command::Forget { name: name.clone() },
        Command::ReplaceGone { name: name.clone(), generation },
        Command::Begin { partition, voters: voters.clone(), learners: learners.clone() },
        Command::Cancel { partition, change: 9 },
        Command::Reached { partition, change: 9, voters, learners },
        Command::PreferLeader { partition, node: name.clone() },
        Command::Salvage { cluster_id: "c2".into(), name },
    ]
}

#[test]
fn a_command() {
    let bytes = [
        "000263312003036e303001010d31302e302e302e303a373730300d31302e302e302e303a3737303105302e312e \
            3001",
        "01036e303102020d31302e302e302e313a373730300d31302e302e302e313a3737303105302e312e3001",
        "02036e3031fb2c01",
        "03036e3031fb2c01",
        "04036e3031",
        "05036e3031",
        "06036e3031",
        "07036e3031",
        "08036e3031fb2c01",
        "090501036e303101036e3032",
        "0a0509",
        "0b050901036e303101036e3032",
        "0c05036e3031",
        "0d026332036e3031",
    ];
    for (command, bytes) in commands().iter().zip(bytes) {
        golden(command, bytes);
    }
}

#[test]
fn a_refusal_of_a_command() {
    let refusals = [
        Refusal::NotFounded,
        Refusal::AlreadyFounded("c".into()),
        Refusal::BadCluster,
        Refusal::NameInUse { name: node(1) },
        Refusal::IdentityInUse { name: node(1) },
        Refusal::OldGeneration { known: 1, offered: 2 },
        Refusal::OtherGeneration { known: 1, named: 2 },
        Refusal::IncompatibleRules { ours: 1, offered: 2 },
        Refusal::BadAddress("a".into()),
        Refusal::BadVersion,
        Refusal::TooManyMembers,
        Refusal::UnknownMember(node(1)),
        Refusal::UnknownPartition(PartitionId(1)),
        Refusal::LastReplica(node(1)),
        Refusal::TooFewRemain(node(1)),
        Refusal::OtherState(node(1)),
        Refusal::StillNeeded(node(1)),
        Refusal::ChangeUnderWay(PartitionId(1)),
        Refusal::NotAsked(PartitionId(1)),
        Refusal::BadTarget(PartitionId(1)),
        Refusal::NoMajority(PartitionId(1)),
        Refusal::CannotLead(node(1)),
    ];
    golden(
        &refusals,
        "000101630203036e303104036e3031050102060102070102080161090a0b036e30310c010d036e30310e036e30 \
            310f036e303110036e3031110112011301140115036e3031",
    );
    golden(&[Applied::Changed, Applied::Unchanged], "0001");
}

/// Decodes `bytes`; what decodes is applied and planned with, as a node would.
fn take(bytes: &[u8]) {
    let command: Option<Command> = codec::decode(bytes).ok();
    if let Ok(mut placement) = codec::decode::<Placement>(bytes) {
        let live: BTreeSet<_> = placement.members.keys().cloned().collect();
        let moves = plan_moves(&placement, View { live: &live, leading: &BTreeSet::new() });
        for command in moves.into_iter().map(Command::from).chain(commands()) {
            let _ = apply_placement(&mut placement, &command);
        }
    }
    if let Some(command) = command {
        let _ = apply_placement(&mut Placement::default(), &command);
        let _ = apply_placement(&mut Cluster::new(3, 3).placement, &command);
    }
}

proptest! {
    #[test]
    fn any_bytes_as_placement_or_command_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        take(&bytes);
    }

    #[test]
    fn a_placement_or_command_with_changed_bytes_never_panics(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        which in 0..14usize,
    ) {
        let mut cluster = Cluster::new(6, 3);
        (1..5).for_each(|at| cluster.start(at));
        cluster.declare_all();
        cluster.round();
        let mut bytes = commands().get(which).map_or_else(|| codec::encode(&cluster.placement), codec::encode);
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        take(&bytes);
        take(&bytes[..changes[0].0.index(bytes.len())]);
    }
}
