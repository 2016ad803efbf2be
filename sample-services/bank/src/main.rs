//! The bank: one executable that is every program of the sample, and the launcher that starts them.
//!
//! Why one executable: `cargo run --release` then builds and links once, and the launcher can start real
//! processes (control plane, sidecars, services) without knowing where another binary was installed. It
//! calls itself through symbolic links, so that `ps` and logs show each program under its own name.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks on its terminal"
)]

mod arguments;
mod bank;
mod client;
mod layout;
mod log_tail;
mod ports;
mod process;
mod process_table;
mod programs;
mod readiness;
mod roster;

use std::process::ExitCode;

fn main() -> ExitCode {
    programs::die_with_launcher();
    let arguments: Vec<_> = std::env::args_os().collect();
    match programs::Program::select(&arguments) {
        Some((program, arguments)) => program.run(arguments),
        None => launch(),
    }
}

/// Anything that is not one of the programs is a request to the launcher.
fn launch() -> ExitCode {
    ExitCode::SUCCESS
}
