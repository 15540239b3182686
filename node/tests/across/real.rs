//! Three real nodes in one process, over a switchboard in place of sockets.

use crate::{
    client::Services,
    stage::{DEADLINE, node_name},
    switchboard::Switchboard,
};
use rollcall_cluster::{Cluster, Options, Role, Surroundings};
use rollcall_config::Settings;
use rollcall_node::{
    assembly::{Assembled, Parts},
    clock::SystemClock,
    home::{fanout::Fanout, group::Group},
    peers::{clustered::Clustered, lane::Lane},
    service::NodeService,
    status::ClusterView,
};
use rollcall_presence::{Holder, MemberState, PartitionId, UserId, partition_of};
use std::{sync::Arc, time::Duration};

pub const PARTITIONS: u16 = 6;

pub struct RealNode {
    pub cluster: Arc<Cluster>,
    pub assembled: Assembled,
    service: NodeService,
}

pub struct Real {
    pub board: Arc<Switchboard>,
    pub nodes: Vec<Option<RealNode>>,
    dir: tempfile::TempDir,
    settings: Settings,
}

impl Real {
    /// Three nodes that have become one cluster.
    pub async fn new() -> Self {
        Self::with_grace(2_000).await
    }

    pub async fn with_grace(grace_ms: u64) -> Self {
        let mut settings = Settings::default();
        settings.presence.grace_ms = grace_ms;
        let mut real =
            Self { board: Switchboard::new(), nodes: Vec::new(), dir: tempfile::tempdir().unwrap(), settings };
        for index in 0..3 {
            let node = real.start(index).await;
            real.nodes.push(Some(node));
        }
        real.settled().await;
        real
    }

    async fn start(&self, index: usize) -> RealNode {
        let name = node_name(index);
        let address = |index: usize| format!("{}:7701", node_name(index));
        let options = Options {
            partitions: PARTITIONS,
            heartbeat_ms: 100,
            election_ms: 300,
            join: if index == 0 { Vec::new() } else { vec![address(0), address(1)] },
            peer_advertise: Some(address(index)),
            ..Options::new(self.dir.path().join(name.as_str()), name)
        };
        let (lane, fanout) = (Arc::<Lane>::default(), Arc::<Fanout>::default());
        let surroundings = Surroundings {
            link: Some(self.board.make_link(&address(index), b"key")),
            handing_over: Some(lane.handing_over()),
            ..Surroundings::default()
        };
        let cluster = Cluster::start_within(options, fanout.clone(), lane.clone(), surroundings).await.unwrap();
        let groups = (0..PARTITIONS).map(|p| cluster.partition(PartitionId(p)).clone() as Arc<dyn Group>);
        let holder = Holder { node: cluster.identity().node.clone(), generation: cluster.identity().generation };
        let assembled = Assembled::new(Parts {
            holder,
            groups: groups.collect(),
            fanout,
            lane,
            links: Clustered::new(cluster.clone()),
            clock: Arc::new(SystemClock::default()),
            presence: self.settings.presence.clone(),
            limits: self.settings.limits.clone(),
        })
        .await
        .unwrap();
        let view = ClusterView::new(cluster.identity().cluster_id.clone(), "-".into(), "-".into());
        let service = NodeService::new(assembled.node.clone(), view, cluster.clone());
        RealNode { cluster, assembled, service }
    }

    pub fn running(&self) -> impl Iterator<Item = &RealNode> {
        self.nodes.iter().flatten()
    }

    /// Everything has three voters, the leaders that it should have, and every node has announced what it ties to them.
    pub async fn settled(&self) {
        self.until("everything is where it should be", || {
            self.running().all(|node| {
                let placement = node.cluster.placement().borrow().clone();
                let up = placement.members.values().filter(|m| m.state == MemberState::Up).count();
                up == 3
                    && placement.assignments().all(|(id, at)| {
                        at.target.is_none()
                            && at.voters.len() == 3
                            && self.home_of(id) == at.leader.as_ref().and_then(|l| self.index(l))
                    })
                    && node.assembled.ties.are_settled()
            })
        })
        .await;
    }

    fn index(&self, name: &rollcall_presence::NodeName) -> Option<usize> {
        (0..3).find(|index| node_name(*index) == *name)
    }

    pub fn home_of(&self, id: PartitionId) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let role = node.as_ref().map(|node| node.cluster.partition(id).role().borrow().clone());
            matches!(role, Some(Role::Home { .. }))
        })
    }

    /// A user whose home is node `index` now.
    pub fn user_at(&self, index: usize, nth: usize) -> UserId {
        let users = (0..).map(|n| UserId::new(&format!("user{n}")).unwrap());
        users.filter(|u| self.home_of(partition_of(u, PARTITIONS)) == Some(index)).nth(nth).unwrap()
    }

    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let met = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, met).await.is_ok(), "never: {what}");
    }

    /// Ends a node without a word to anybody.
    pub async fn kill(&mut self, index: usize) {
        self.board.unplug(&node_name(index));
        let gone = self.nodes[index].take().unwrap();
        gone.assembled.stop();
        gone.cluster.stop().await;
    }

    pub async fn end(self) {
        for node in self.nodes.into_iter().flatten() {
            node.assembled.stop();
            node.cluster.stop().await;
        }
    }
}

impl Services for Real {
    fn service(&self, at: usize) -> &NodeService {
        &self.nodes[at].as_ref().unwrap().service
    }
}
