//! `usher-proxy`: everything is in the library, because `bank` contains it too.

use std::process::ExitCode;

/// A request costs some thirty allocations, and what thousands of connections took has to go back when they are gone
/// (ARCHITECTURE.md, "jemalloc").
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    usher_proxy::control::main_with(std::env::args_os())
}
