//! Free ports that stay the same when a node is started again.
//!
//! They lie below the range that the system gives to outgoing connections, so that no connection takes a node's port while
//! the node is down, and each process begins to look at another place.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// The first port to look at.
const FIRST: u16 = 12_000;
/// How many ports there are: up to the range of outgoing connections, 32768.
const COUNT: u16 = 20_000;
/// Ports between the places where processes begin.
const STRIDE: u32 = 61;

/// A free `host:port` that this process has not chosen before.
///
/// # Panics
/// When there is none left.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = (process::id().wrapping_mul(STRIDE)) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((begin + step) % u32::from(COUNT)).expect("an offset within the range");
        let address = format!("127.0.0.1:{}", FIRST + offset);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no free port from {FIRST} on");
}
