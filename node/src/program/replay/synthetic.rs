//! Invented people: who knows whom, and a day of coming and going.
//!
//! Owns the generator. Promises the same script for the same seed and number of people, on every machine: friendships with a
//! heavy tail (mean about 44), a rhythm of day and night with everybody online at midday, and mobile clients that lose
//! their connection for seconds.

use super::{
    script::{Action, Friends, Script, Step, UserIx},
    trace::{AFTERGLOW_S, GAP_MAX_S, Message},
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Mean number of friends, where there are people enough: that of the Facebook friend graph.
const FRIENDS_MEAN: usize = 44;
/// Steepness of the weights; degrees then fall about as a power of 2.6.
const TAIL: f64 = 0.625;
/// The weights start here, so that the best-known person knows some hundreds and not everybody.
const TAIL_OFFSET: f64 = 12.0;
/// Share of people whose device is mobile.
const MOBILE: f64 = 0.4;
/// Share of a mobile's sessions that lose their connection once.
const FLAPPING: f64 = 0.7;
/// How long a lost connection stays lost, ms: within the default grace of 15 s.
const FLAP_MS: Range<u64> = 1_000..6_000;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// Everybody is online from here on for half an hour.
const MIDDAY: u64 = 12 * HOUR + 30 * MINUTE;

/// A day of `users` people.
pub(crate) fn script(users: u32, seed: u64) -> Script {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let friends = friends(users, &mut random);
    let mut steps = Vec::new();
    for user in 0..users {
        day(user, &mut random, &mut steps);
    }
    Script::new((1..=users).map(|n| n.to_string()).collect(), friends, steps)
}

/// Draws friendships by weight: a few know many, many know a few.
fn friends(users: u32, random: &mut ChaCha8Rng) -> Friends {
    let count = users as usize;
    let mut sum = 0.0;
    let reach: Vec<f64> = (0..count)
        .map(|i| {
            sum += (i as f64 + TAIL_OFFSET).powf(-TAIL);
            sum
        })
        .collect();
    let mean = FRIENDS_MEAN.min(count.saturating_sub(1) / 2);
    let mut draw = || {
        let at = random.random::<f64>() * sum;
        reach.partition_point(|r| *r <= at).min(count.saturating_sub(1)) as UserIx
    };
    let mut pairs: Vec<(UserIx, UserIx)> = Vec::new();
    // Some draws repeat a pair: a few rounds make up for them.
    for _ in 0..8 {
        let lacking = (mean * count / 2).saturating_sub(pairs.len());
        for _ in 0..lacking {
            let (a, b) = (draw(), draw());
            if a != b {
                pairs.push((a.min(b), a.max(b)));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
    }
    // Nobody is alone.
    pairs.extend((1..users).map(|u| (u - 1, u)).step_by(2));
    Friends::of_pairs(count, &pairs)
}

/// One person's day.
fn day(user: UserIx, random: &mut ChaCha8Rng, steps: &mut Vec<Step>) {
    let mobile = random.random_bool(MOBILE);
    for session in sessions(random) {
        steps.push(Step { at_ms: session.start, user, action: Action::Open });
        steps.push(Step { at_ms: session.end, user, action: Action::End });
        let inner = session.start + MINUTE..session.end - MINUTE;
        if mobile && inner.end > inner.start + MINUTE && random.random_bool(FLAPPING) {
            let lost = random.random_range(inner.start..inner.end - FLAP_MS.end);
            steps.push(Step { at_ms: lost, user, action: Action::Drop });
            steps.push(Step { at_ms: lost + random.random_range(FLAP_MS), user, action: Action::Resume });
        }
    }
}

/// When a person is online: some at night, all from their morning over midday to their evening, with breaks.
fn sessions(random: &mut ChaCha8Rng) -> Vec<Range<u64>> {
    let mut sessions = Vec::new();
    if random.random_bool(0.1) {
        let start = random.random_range(0..4 * HOUR);
        sessions.push(start..start + random.random_range(10 * MINUTE..HOUR));
    }
    let mut start = random.random_range(6 * HOUR..MIDDAY);
    let evening = random.random_range(20 * HOUR..24 * HOUR);
    for span in [start + 20 * MINUTE..MIDDAY, MIDDAY + 30 * MINUTE..17 * HOUR, 17 * HOUR..evening - HOUR] {
        if span.end <= span.start + HOUR || !random.random_bool(0.4) {
            continue;
        }
        let pause = random.random_range(span.start..span.end - HOUR);
        let back = pause + random.random_range(5 * MINUTE..HOUR);
        sessions.push(start..pause);
        start = back;
    }
    sessions.push(start..evening);
    sessions
}

/// Messages that tell about the same day, for a trace file: within a session nobody is silent for too long.
pub(crate) fn messages(script: &Script, seed: u64) -> Vec<Message<'_>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6d65_7373_6167_6573);
    let mut opened = vec![0; script.users.len()];
    let mut messages = Vec::new();
    for step in &script.steps {
        let at_s = step.at_ms / 1_000;
        match step.action {
            Action::Open => opened[step.user as usize] = at_s,
            Action::End => {
                let friends = script.friends.of(step.user);
                let last_s = at_s.saturating_sub(AFTERGLOW_S);
                let mut at_s = opened[step.user as usize];
                loop {
                    let target = friends[random.random_range(0..friends.len())];
                    let (source, target) = (&script.users[step.user as usize], &script.users[target as usize]);
                    messages.push(Message { source, target, at_s });
                    at_s += random.random_range(60..=GAP_MAX_S);
                    if at_s > last_s {
                        break;
                    }
                }
            }
            Action::Drop | Action::Resume => {}
        }
    }
    messages.sort_by_key(|m| m.at_s);
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::replay::trace;

    #[test]
    fn the_same_seed_gives_the_same_day() {
        let (one, two, other) = (script(200, 7), script(200, 7), script(200, 8));
        assert_eq!((&one.steps, &one.friends), (&two.steps, &two.friends));
        assert_ne!(one.steps, other.steps);
    }

    #[test]
    fn friendships_have_a_heavy_tail_and_everybody_has_one() {
        let script = script(4_000, 1);
        let mean = 2.0 * script.friends.pairs() as f64 / 4_000.0;
        assert!((40.0..48.0).contains(&mean), "{mean}");
        assert!((300..1_500).contains(&script.friends.most()), "{}", script.friends.most());
        assert!((0..4_000).all(|u| !script.friends.of(u).is_empty()));
    }

    #[test]
    fn everybody_is_online_at_midday_and_steps_of_a_user_make_sense() {
        let script = script(300, 3);
        assert_eq!(script.peak().0, 300);
        assert!(script.flaps() > 50);
        let mut last = vec![Action::End; 300];
        for step in &script.steps {
            let before = std::mem::replace(&mut last[step.user as usize], step.action);
            let fits = match step.action {
                Action::Open => before == Action::End,
                Action::End | Action::Drop => matches!(before, Action::Open | Action::Resume),
                Action::Resume => before == Action::Drop,
            };
            assert!(fits, "{step:?} after {before:?}");
        }
        assert!(last.iter().all(|a| *a == Action::End));
    }

    #[test]
    fn even_two_people_have_a_day() {
        let script = script(2, 1);
        assert_eq!((script.friends.pairs(), script.peak().0), (1, 2));
    }

    #[test]
    fn written_messages_make_a_trace() {
        let script = script(50, 5);
        let text = trace::write(&messages(&script, 5));
        let read = trace::script(&trace::messages(&text).unwrap());
        assert_eq!(read.users.len(), 50);
        assert!(read.sessions() > 50 && read.expected() > 1_000);
        assert!(read.peak().0 >= 40, "{:?}", read.peak());
    }
}
