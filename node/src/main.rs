//! The program `rollcall`.

use std::process::ExitCode;

/// Many small, long-lived allocations a connection: jemalloc keeps them close and gives pages back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rollcall_node::program::run()
}
