//! The `usher` binary: everything is in the library, so that the `bank` launcher can be `usher` too.

use std::process::ExitCode;

/// What thousands of sidecars took has to go back when they are gone (ARCHITECTURE.md, "jemalloc").
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    usher_control_plane::main_with(std::env::args_os())
}
