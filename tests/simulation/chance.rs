//! Where every random number of a run comes from: the seed.
//!
//! The faults draw from a generator of their own. tokio, openraft and the standard library's hash maps ask the system for their seeds; here
//! the system's answer is computed from the seed too, so that a run is the same in every process.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// What the system answers next when it is asked for randomness.
static SYSTEM: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);

/// From now on the system's randomness follows from `seed`.
pub fn seed_the_system(seed: u64) {
    SYSTEM.store(seed ^ 0x5851_f42d_4c95_7f2d, Ordering::SeqCst);
}

/// Stands in for the C library's function of this name, which the standard library and the crate `getrandom` call.
///
/// # Safety
/// `buffer` must be valid for writing `length` bytes, as the caller of the C function promises.
#[allow(
    unsafe_code,
    reason = "the standard library looks this symbol up so that it can be replaced, and in no other way"
)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        // SAFETY: `at` is below the length that the caller promises.
        unsafe { buffer.add(at).write(split_mix(SYSTEM.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)) as u8) };
    }
    length as isize
}

fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a run draws its schedule from.
pub struct Chance(Mutex<ChaCha8Rng>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }

    /// One of `range`, all equally likely.
    pub fn within(&self, range: Range<u64>) -> u64 {
        super::held(&self.0).random_range(range)
    }

    /// True `percent` times of a hundred.
    pub fn percent(&self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// One of `all`.
    pub fn one<T: Clone>(&self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[usize::try_from(self.within(0..all.len() as u64)).unwrap_or(0)].clone())
    }
}
