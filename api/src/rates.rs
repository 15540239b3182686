//! Token buckets: how much a user may ask for, and how often an address may be refused. The algorithm is `governor`'s.
//!
//! Owns the buckets of a node and what is charged to which. Memory is bounded: a bucket that is full again is forgotten, and at
//! [`BUCKETS_MAX`] all of a kind are, which gives everybody a full one.

use crate::{
    problem::{Code, Problem},
    token::Identity,
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use parking_lot::RwLock;
use rollcall_config::Limits;
use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Buckets of a kind: each takes about 40 bytes, so all of them 10 MiB. More users or addresses that are active within the
/// seconds that a bucket takes to fill are more than a node serves.
const BUCKETS_MAX: usize = 1 << 18;
/// Buckets from which on full ones are looked for.
const SWEPT_MIN: usize = 4_096;
/// How many charges go by between two looks at the number of buckets.
const LOOK_EVERY: u32 = 1_024;
/// How much of an IPv6 address names its owner, bits: a home or a machine gets 64 to itself.
const IPV6_OWNER_BITS: u32 = 64;

/// Buckets of one kind, by key.
struct Buckets {
    quota: Quota,
    burst: NonZeroU32,
    of: RwLock<DefaultKeyedRateLimiter<u64>>,
    charges: AtomicU32,
    /// Buckets that were left by the last sweep.
    left: AtomicU32,
    max: usize,
}

impl Buckets {
    /// `None` without a limit.
    fn new(per_s: u32, burst: u32, max: usize) -> Option<Self> {
        let (per_s, burst) = (NonZeroU32::new(per_s)?, NonZeroU32::new(burst)?);
        let quota = Quota::per_second(per_s).allow_burst(burst);
        let (charges, left) = (AtomicU32::new(0), AtomicU32::new(0));
        Some(Self { quota, burst, of: RwLock::new(RateLimiter::dashmap(quota)), charges, left, max })
    }

    /// Takes `count` of the bucket of `key`, at most a whole bucket.
    ///
    /// # Errors
    /// When there will be enough; nothing was taken.
    fn charge(&self, key: u64, count: usize) -> Result<(), Duration> {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.burst.get());
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        if self.charges.fetch_add(1, Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1 {
            self.sweep();
        }
        match self.of.read().check_key_n(&key, count) {
            Ok(Err(until)) => Err(until.wait_time_from(DefaultClock::default().now())),
            // More than a bucket holds cannot be asked for here.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Forgets what is full again, once that may be half of all; whatever happens, no more than the bound is kept.
    fn sweep(&self) {
        let of = self.of.read();
        let floor = SWEPT_MIN.max(self.left.load(Ordering::Relaxed) as usize * 2).min(self.max);
        if of.len() < floor {
            return;
        }
        of.retain_recent();
        of.shrink_to_fit();
        let left = of.len();
        drop(of);
        if left >= self.max {
            tracing::warn!(buckets = left, "too many users or addresses are active; all get full buckets");
            *self.of.write() = RateLimiter::dashmap(self.quota);
        }
        self.left.store(u32::try_from(left).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// What is charged on this node.
pub(crate) struct Rates {
    requests: Option<Buckets>,
    ids: Option<Buckets>,
    refusals: Option<Buckets>,
    address_requests: Option<Buckets>,
    /// Keys are hashes of names, so that a bucket takes the same room for every name; keyed, so that nobody chooses whose bucket
    /// is shared.
    names: RandomState,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            requests: Buckets::new(limits.user_requests_per_s, limits.user_requests_burst, BUCKETS_MAX),
            ids: Buckets::new(limits.user_ids_per_s, limits.user_ids_burst, BUCKETS_MAX),
            refusals: Buckets::new(limits.address_refusals_per_s, limits.address_refusals_burst, BUCKETS_MAX),
            address_requests: Buckets::new(limits.address_requests_per_s, limits.address_requests_burst, BUCKETS_MAX),
            names: RandomState::new(),
        }
    }

    /// Charges a request or frame of `who`, and the `ids` that it asks for. Services and operators are not limited: they are the
    /// operator's own.
    ///
    /// # Errors
    /// 429 `rate_limited`; a refusal for its ids costs a request all the same.
    pub(crate) fn user(&self, who: &Identity, ids: usize) -> Result<(), Problem> {
        if who.service || who.admin {
            return Ok(());
        }
        let key = self.names.hash_one(&*who.user);
        for (buckets, count, why) in [
            (&self.requests, 1, "too many requests of this user"),
            (&self.ids, ids, "this user asks for too many users"),
        ] {
            if let Some(buckets) = buckets {
                buckets.charge(key, count).map_err(|after| limited(why, after))?;
            }
        }
        Ok(())
    }

    /// Charges a refusal to the address that caused it.
    ///
    /// # Errors
    /// 429 `rate_limited`, which is answered instead of it.
    pub(crate) fn refusal(&self, address: IpAddr) -> Result<(), Problem> {
        self.address(&self.refusals, address, "too many refused requests from this address")
    }

    /// Charges a request to its address.
    ///
    /// # Errors
    /// 429 `rate_limited`.
    pub(crate) fn request(&self, address: IpAddr) -> Result<(), Problem> {
        self.address(&self.address_requests, address, "too many requests from this address")
    }

    fn address(&self, buckets: &Option<Buckets>, address: IpAddr, why: &'static str) -> Result<(), Problem> {
        let Some(buckets) = buckets else { return Ok(()) };
        buckets.charge(self.names.hash_one(owner(address)), 1).map_err(|after| limited(why, after))
    }
}

fn limited(why: &'static str, after: Duration) -> Problem {
    let after_ms = u64::try_from(after.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
    Problem { after_ms: Some(after_ms), ..Problem::new(Code::RateLimited, why) }
}

/// The address as far as it names an owner.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> IPV6_OWNER_BITS << IPV6_OWNER_BITS).into(),
        v4 => v4,
    }
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_presence::{UnixMs, UserId};

    fn identity(name: &str, service: bool) -> Identity {
        let user = UserId::new(name).unwrap();
        Identity { user, own: true, service, admin: false, until: UnixMs::MAX, key: std::sync::Arc::default() }
    }

    fn slow() -> Limits {
        Limits {
            user_requests_per_s: 1,
            user_requests_burst: 3,
            user_ids_per_s: 1,
            user_ids_burst: 10,
            address_refusals_per_s: 1,
            address_refusals_burst: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn one_users_requests_are_refused_beyond_the_burst_and_nobody_elses() {
        let rates = Rates::new(&slow());
        let (alice, bob, service) = (identity("alice", false), identity("bob", false), identity("alice", true));
        let refused = (0..5).filter(|_| rates.user(&alice, 0).is_err()).count();
        assert_eq!(refused, 2);
        assert!(rates.user(&bob, 0).is_ok());
        assert!((0..100).all(|_| rates.user(&service, 500).is_ok()));
        let after_ms = rates.user(&alice, 0).unwrap_err().after_ms.unwrap();
        assert!((1..=1_000).contains(&after_ms), "{after_ms}");
    }

    #[test]
    fn ids_are_charged_and_not_requests_alone() {
        let rates = Rates::new(&slow());
        let alice = identity("alice", false);
        assert!(rates.user(&alice, 8).is_ok());
        assert_eq!(rates.user(&alice, 8).unwrap_err().code, Code::RateLimited);
        // More than a bucket holds costs a whole one, and is possible.
        assert!(rates.user(&identity("bob", false), 5_000).is_ok());
        assert!(rates.user(&identity("bob", false), 1).is_err());
    }

    #[test]
    fn an_owner_of_many_ipv6_addresses_has_one_bucket() {
        let rates = Rates::new(&slow());
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(rates.refusal(of("2001:db8::1")).is_ok() && rates.refusal(of("2001:db8::2")).is_ok());
        assert!(rates.refusal(of("2001:db8::3")).is_err());
        assert!(rates.refusal(of("2001:db8:0:1::1")).is_ok());
        assert!(rates.request(of("2001:db8::3")).is_ok(), "there is no such limit by default");
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        const MAX: usize = 5_000;
        let buckets = Buckets::new(1, 1_000_000, MAX).unwrap();
        for key in 0..10 * MAX as u64 {
            // None of them is full again within the test.
            buckets.charge(key, 1_000).unwrap();
            assert!(buckets.of.read().len() <= MAX + LOOK_EVERY as usize);
        }
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = Buckets::new(1_000_000, 1, BUCKETS_MAX).unwrap();
        for key in 0..20 * SWEPT_MIN as u64 {
            let _ = buckets.charge(key, 1);
        }
        let kept = buckets.of.read().len();
        assert!(kept <= 2 * SWEPT_MIN + LOOK_EVERY as usize, "{kept}");
    }
}
