//! The `usher` binary: everything is in the library, so that the `bank` launcher can be `usher` too.

use std::process::ExitCode;

fn main() -> ExitCode {
    usher_control_plane::main_with(std::env::args_os())
}
