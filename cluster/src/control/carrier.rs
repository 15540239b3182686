//! Carrying out what the placement asks of the groups that this node leads.
//!
//! A group with nothing to do costs nothing; one with something to do has a task of its own, which looks at the group and at
//! the placement, takes [`next_step`], and looks again. Promises not to act by a placement that is older than this node's
//! leadership of the group: an earlier leader may have reached a later change already.

use super::{
    Control,
    carrying::{Stand, Step, Wish, next_step},
    fence::{Fence, Freshness},
    message::{Answer, Question},
};
use crate::{
    limits::{
        ASK_LEADER_MS, FAREWELL_HEARD_MS, HANDING_OVER_MS, HEARTBEAT_SLACK_MS, HEARTBEATS_MISSED_MAX, STEP_MS, SWEEP_MS,
    },
    placement_group::{PLACEMENT, name_of},
    proposer::Group,
    raft::types::{Member, TypeConfig},
    role::Role,
    transfer::transfer,
};
use futures::{StreamExt, stream::FuturesUnordered};
use openraft::{
    ChangeMembers,
    async_runtime::{Instant as _, watch::WatchReceiver},
    metrics::RaftMetrics,
};
use parking_lot::Mutex;
use rollcall_presence::{NodeName, PartitionId, Placement, PlacementCommand, placement_voters};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// The tasks of the groups that have something to do.
#[derive(Default)]
pub(crate) struct Carrier {
    busy: Mutex<BTreeMap<PartitionId, AbortHandle>>,
    pub(super) fence: Mutex<Fence>,
}

impl Carrier {
    pub(crate) fn stop(&self) {
        for task in std::mem::take(&mut *self.busy.lock()).into_values() {
            task.abort();
        }
    }
}

/// However the task of a group ends: the next one may begin.
struct Free<'a>(&'a Carrier, PartitionId);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().remove(&self.1);
    }
}

/// What the task of one group remembers.
struct Course {
    id: PartitionId,
    group: Group,
    bars: BTreeMap<u64, u64>,
    /// Until when no hand-over is tried: the last one failed.
    stays_until: Instant,
    /// Since when somebody is to be removed, and what it should have by then.
    farewell: Option<(Instant, u64)>,
}

impl Control {
    /// Never ends by itself.
    pub(super) async fn carry_out(self: Arc<Self>) {
        let mut roles: FuturesUnordered<_> = FuturesUnordered::new();
        let next =
            |mut role: tokio::sync::watch::Receiver<Role>| async move { role.changed().await.ok().map(|()| role) };
        roles.extend(self.base.hosting.partitions().iter().map(|partition| next(partition.role())));
        roles.push(next(self.base.hosting.placement_role_watch()));
        let mut placement = self.placement();
        let mut sweep = interval(Duration::from_millis(SWEEP_MS));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = placement.borrow_and_update().clone();
            self.look_at_all(&now);
            tokio::select! {
                Some(Some(role)) = roles.next() => roles.push(next(role)),
                _ = placement.changed() => {}
                _ = sweep.tick() => {}
            }
        }
    }

    /// Starts a task for each group that has something to do and none.
    fn look_at_all(self: &Arc<Self>, placement: &Placement) {
        if !placement.is_founded() {
            return;
        }
        let all = self.base.hosting.partitions().iter().map(|partition| partition.id()).chain([PLACEMENT]);
        for id in all {
            let Some(term) = self.leads_in(id) else {
                self.carrier.fence.lock().lost(id);
                continue;
            };
            self.carrier.fence.lock().leads(id, term, Instant::now());
            let Some(group) = self.base.hosting.group(id) else { continue };
            let wish = self.wish(placement, id, &group);
            if wish.is_some_and(|wish| wish.changing || wish.leader.is_some_and(|leader| leader != wish.me)) {
                self.begin(id, group);
            }
        }
    }

    fn begin(self: &Arc<Self>, id: PartitionId, group: Group) {
        let mut busy = self.carrier.busy.lock();
        if busy.contains_key(&id) {
            return;
        }
        let control = Arc::clone(self);
        let task = tokio::spawn(async move {
            let course = Course { id, group, bars: BTreeMap::new(), stays_until: Instant::now(), farewell: None };
            let _free = Free(&control.carrier, id);
            control.carry(course).await;
        });
        busy.insert(id, task.abort_handle());
    }

    /// The term in which this node leads a group, if it does.
    pub(super) fn leads_in(&self, id: PartitionId) -> Option<u64> {
        match self.base.hosting.role_of(id)? {
            Role::Home { term } => Some(term),
            Role::Follower { .. } => None,
        }
    }

    /// Steps until there is nothing to do, or another one leads.
    async fn carry(&self, mut course: Course) {
        let mut placement = self.placement();
        let mut metrics = course.group.metrics();
        loop {
            let now = placement.borrow_and_update().clone();
            let Some(term) = self.leads_in(course.id) else { return };
            let Some(mut wish) = self.wish(&now, course.id, &course.group) else { return };
            let freshness = self.freshness(course.id, term, &now);
            if freshness != Freshness::Fresh {
                tracing::debug!(group = name_of(course.id), epoch = now.epoch, ?freshness, "waits for the placement");
                if freshness == Freshness::Unconfirmed {
                    self.pulse_now.notify_one();
                }
                let mut confirmed = self.confirmed.subscribe();
                let changed = async {
                    tokio::select! {
                        _ = placement.changed() => {}
                        _ = confirmed.changed() => {}
                    }
                };
                let _ = timeout(Duration::from_millis(SWEEP_MS), changed).await;
                continue;
            }
            let stand = stand(&metrics.borrow_watched(), &course.group, &wish, &mut course.bars);
            if course.stays_until > Instant::now() || wish.leader.is_some_and(|leader| !stand.heard.contains(&leader)) {
                wish.leader = None;
            }
            let step = next_step(&wish, &stand);
            tracing::debug!(group = name_of(course.id), ?step, ?wish, ?stand, "the next step");
            if step == Step::Rest || (step == Step::Report && course.id == PLACEMENT) {
                if course.stays_until > Instant::now() {
                    let _ = timeout(Duration::from_millis(SWEEP_MS), placement.changed()).await;
                    continue;
                }
                return;
            }
            if !self.take(&mut course, step, &stand, &now).await {
                let changed = async {
                    tokio::select! {
                        _ = placement.changed() => {}
                        _ = metrics.changed() => {}
                    }
                };
                let _ = timeout(Duration::from_millis(SWEEP_MS), changed).await;
            }
        }
    }

    /// Takes one step; answers whether it was taken, so that the next one may be looked for at once.
    async fn take(&self, course: &mut Course, step: Step, stand: &Stand, placement: &Placement) -> bool {
        let group = &course.group;
        let done = match step {
            Step::Rest | Step::AwaitCatchUp(_) | Step::AwaitCommit => return false,
            Step::Report => return self.report(course.id, placement).await,
            Step::HandOver(to) => {
                let done = self.hand_over(course.id, group, to, placement).await;
                if !done {
                    course.stays_until = Instant::now() + Duration::from_millis(SWEEP_MS);
                }
                return done;
            }
            Step::AddLearner(id) => {
                let Some(name) = name_by_id(placement, id) else { return false };
                let added = group.add_learner(id, Member { name }, false);
                within(added).await
            }
            Step::Voters(voters) => {
                within(group.change_membership(ChangeMembers::ReplaceAllVoters(voters), true)).await
            }
            Step::Remove(gone) => {
                if course.id == PLACEMENT && !said_farewell(&mut course.farewell, &gone, stand) {
                    return false;
                }
                within(group.change_membership(ChangeMembers::RemoveNodes(gone), true)).await
            }
        };
        if let Err(why) = done {
            tracing::debug!(group = name_of(course.id), why, "a step was not taken");
            tokio::time::sleep(Duration::from_millis(SWEEP_MS / 10)).await;
            return false;
        }
        true
    }

    async fn report(&self, id: PartitionId, placement: &Placement) -> bool {
        let Some(target) = placement.assignment(id).and_then(|at| at.target.clone()) else { return false };
        let reached = PlacementCommand::Reached {
            partition: id,
            change: target.change,
            voters: target.voters,
            learners: target.learners,
        };
        let question = Question::Propose(reached);
        let answer = self.ask_leader(&question, Duration::from_millis(ASK_LEADER_MS)).await;
        match answer {
            Ok(Answer::Done(Ok(_))) => {}
            answer => tracing::debug!(partition = %id, ?answer, "a report was not taken"),
        }
        // Taken or not: the placement as applied here says so before long.
        false
    }

    async fn hand_over(&self, id: PartitionId, group: &Group, to: u64, placement: &Placement) -> bool {
        let Some(name) = name_by_id(placement, to) else { return false };
        if let Some(hook) = self.base.handing_over.as_ref().filter(|_| id != PLACEMENT) {
            let prepared = hook(id, name.clone());
            if timeout(Duration::from_millis(HANDING_OVER_MS), prepared).await.is_err() {
                tracing::warn!(group = name_of(id), "handing over without what the home would have told");
            }
        }
        match transfer(group, to).await {
            Ok(()) => {
                tracing::debug!(group = name_of(id), to = %name, "leadership was handed over");
                true
            }
            Err(error) => {
                tracing::info!(group = name_of(id), to = %name, %error, "leadership was not handed over");
                false
            }
        }
    }

    /// How `placement` stands to this node's leadership of the group in `term`.
    fn freshness(&self, id: PartitionId, term: u64, placement: &Placement) -> Freshness {
        if id == PLACEMENT {
            return Freshness::Fresh;
        }
        let mut fence = self.carrier.fence.lock();
        // It may have been lost and regained since it was looked at.
        fence.leads(id, term, Instant::now());
        fence.freshness(id, term, placement.epoch)
    }

    fn wish(&self, placement: &Placement, id: PartitionId, group: &Group) -> Option<Wish> {
        if id == PLACEMENT {
            let metrics = group.metrics();
            let metrics = metrics.borrow_watched();
            return Some(self.wish_of_placement(placement, group, &metrics));
        }
        let at = placement.assignment(id)?;
        let ids = Self::ids(placement);
        let all =
            |names: &[NodeName]| names.iter().map(|name| ids.get(name).copied()).collect::<Option<BTreeSet<u64>>>();
        let (voters, learners) = at.wanted();
        let known = at.voters.iter().chain(&at.learners);
        let may_lead = |name: &&NodeName| placement.members.get(*name).is_some_and(rollcall_presence::Member::takes);
        Some(Wish {
            me: self.base.about.raft_id,
            voters: all(voters)?,
            learners: all(learners)?,
            arrived: known.filter_map(|name| ids.get(name).copied()).collect(),
            changing: at.target.is_some(),
            leader: at.leader.as_ref().filter(may_lead).and_then(|name| ids.get(name).copied()),
        })
    }

    fn wish_of_placement(&self, placement: &Placement, raft: &Group, metrics: &RaftMetrics<TypeConfig>) -> Wish {
        let me = self.base.about.raft_id;
        let ids = Self::ids(placement);
        let group = &metrics.membership_config;
        let is_current =
            |name: &&NodeName| ids.get(*name).is_some_and(|id| group.voter_ids().any(|voter| voter == *id));
        let current: Vec<NodeName> = placement.members.keys().filter(is_current).cloned().collect();
        let voters: BTreeSet<u64> =
            placement_voters(&placement.members, &current).iter().filter_map(|name| ids.get(name).copied()).collect();
        let learners: BTreeSet<u64> = ids.values().copied().filter(|id| !voters.contains(id)).collect();
        let wanted: BTreeSet<u64> = voters.union(&learners).copied().collect();
        let nodes: BTreeSet<u64> = group.nodes().map(|(id, _)| *id).collect();
        let configs = group.membership().get_joint_config();
        // A cluster in which nobody can vote is left as it is.
        let changing =
            !voters.is_empty() && (configs.len() != 1 || configs.first() != Some(&voters) || nodes != wanted);
        let takes = |name: &NodeName| placement.members.get(name).is_some_and(rollcall_presence::Member::takes);
        let heirs = current.iter().filter(|name| takes(name)).filter_map(|name| ids.get(name).copied());
        let heirs = heirs.filter(|id| is_heard_lately(metrics, raft, *id));
        let leader = if takes(self.me()) { None } else { heirs.max_by_key(|id| matched(metrics, *id)) };
        Wish { me, voters, arrived: learners.clone(), learners, changing, leader }
    }
}

/// Whether everybody of `gone` has heard that it is gone, or was given time enough.
fn said_farewell(farewell: &mut Option<(Instant, u64)>, gone: &BTreeSet<u64>, stand: &Stand) -> bool {
    let (since, bar) = *farewell.get_or_insert((Instant::now(), stand.committed));
    let has_heard = |id: &u64| stand.matched.get(id).is_some_and(|matched| *matched >= bar);
    let is_over = since.elapsed() >= Duration::from_millis(FAREWELL_HEARD_MS);
    if is_over || gone.iter().all(has_heard) {
        *farewell = None;
        return true;
    }
    false
}

fn name_by_id(placement: &Placement, id: u64) -> Option<NodeName> {
    placement.members.iter().find(|(_, member)| member.raft_id == id).map(|(name, _)| name.clone())
}

fn matched(metrics: &RaftMetrics<TypeConfig>, id: u64) -> Option<u64> {
    if id == metrics.id {
        return metrics.last_log_index;
    }
    metrics.replication.as_ref()?.get(&id)?.as_ref().map(|log_id| log_id.index)
}

/// Whether a node has answered the leader within a few heartbeats: a hand-over to one that is dead stops writes until the next
/// election.
fn is_heard_lately(metrics: &RaftMetrics<TypeConfig>, group: &Group, id: u64) -> bool {
    let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(&id)).and_then(Option::as_ref);
    let silence_ms = HEARTBEATS_MISSED_MAX * group.config().heartbeat_interval + HEARTBEAT_SLACK_MS;
    heard.is_some_and(|heard| heard.elapsed() < Duration::from_millis(silence_ms))
}

fn stand(metrics: &RaftMetrics<TypeConfig>, raft: &Group, wish: &Wish, bars: &mut BTreeMap<u64, u64>) -> Stand {
    let group = &metrics.membership_config;
    let nodes: BTreeSet<u64> = group.nodes().map(|(id, _)| *id).collect();
    let committed = metrics.local_committed.map_or(0, |id| id.index);
    for id in wish.voters.iter().chain(&wish.learners).filter(|id| nodes.contains(id)) {
        bars.entry(*id).or_insert(committed);
    }
    bars.retain(|id, _| nodes.contains(id));
    Stand {
        configs: group.membership().get_joint_config().clone(),
        settled: metrics.committed_membership_config.log_id() == group.log_id(),
        committed,
        matched: nodes.iter().filter_map(|id| Some((*id, matched(metrics, *id)?))).collect(),
        bars: bars.clone(),
        heard: nodes.iter().copied().filter(|id| is_heard_lately(metrics, raft, *id)).collect(),
        nodes,
    }
}

/// A change of a membership, for as long as a step may take.
async fn within<T, E: std::fmt::Display>(change: impl Future<Output = Result<T, E>>) -> Result<(), String> {
    match timeout(Duration::from_millis(STEP_MS), change).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("not in time".to_owned()),
    }
}
