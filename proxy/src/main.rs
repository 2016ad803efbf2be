//! `usher-proxy`: everything is in the library, because `bank` contains it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    usher_proxy::control::main_with(std::env::args_os())
}
