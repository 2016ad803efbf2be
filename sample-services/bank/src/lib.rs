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
mod programs;
mod roster;
mod layout;
mod output;
mod ports;
mod process;
mod process_table;
mod log_tail;
mod instance;
mod control_plane;
mod bank;
mod signals;
mod client;
mod metrics;
mod mesh_view;
mod auditor;
mod run;
mod screen;
mod drill;
mod flaky;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Verb},
    signals::Interrupted,
};

/// Runs whichever program it was called as, or the launcher.
#[must_use]
pub fn main() -> ExitCode {
    programs::die_with_launcher();
    let arguments: Vec<_> = std::env::args_os().collect();
    match programs::Program::select(&arguments) {
        Some((program, arguments)) => program.run(arguments),
        None => launch(&Arguments::parse()),
    }
}

/// Anything that is not one of the programs is a request to the launcher.
fn launch(arguments: &Arguments) -> ExitCode {
    // One thread: the kernel kills our children when the *thread* that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let launched = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let mut interrupted = Interrupted::listen()?;
            match &arguments.verb {
                Some(Verb::Drill(arguments)) => drill::drill(arguments, &mut interrupted).await,
                Some(Verb::Run(arguments)) => run::run(arguments, &mut interrupted).await,
                None => run::run(&arguments.run, &mut interrupted).await,
            }
        })
    });
    launched.unwrap_or_else(|error| {
        output::trouble(&format!("bank: {error:#}"));
        ExitCode::FAILURE
    })
}
