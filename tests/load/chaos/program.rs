//! A program that somebody wants to run: started again when it ends by itself, as a machine's own supervisor does.

use std::{path::PathBuf, process::Command, time::Duration};

use nix::sys::signal::Signal;
use usher_tests::Process;

use super::plan::Life;

/// How long what was told to end may take.
const END: Duration = Duration::from_secs(30);

/// It, and how it is started.
pub(super) struct Program {
    words: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
    life: Life,
    /// How often it was started.
    starts: u32,
}

impl Program {
    /// Not started yet: the program's path and its arguments; its output goes to `LOG.N`, N counting starts.
    pub(super) fn new(words: Vec<String>, log: PathBuf) -> Self {
        Self {
            words,
            log,
            process: None,
            life: Life::Dead,
            starts: 0,
        }
    }

    fn start(&mut self) {
        let Some((program, arguments)) = self.words.split_first() else {
            return;
        };
        self.starts += 1;
        let mut command = Command::new(program);
        command.args(arguments);
        let log = self.log.with_extension(self.starts.to_string());
        self.process = Some(Process::start(command, log));
    }

    /// From now on it shall live so.
    pub(super) async fn live(&mut self, life: Life, signal: Signal) {
        match (life, &self.process) {
            (Life::Runs, Some(process)) => process.signal(Signal::SIGCONT),
            (Life::Runs, None) => self.start(),
            (Life::Frozen, Some(process)) => process.signal(Signal::SIGSTOP),
            (Life::Frozen | Life::Dead, None) => {}
            (Life::Dead, Some(process)) => {
                process.signal(signal);
                process.signal(Signal::SIGCONT);
                if let Some(mut process) = self.process.take() {
                    process.end(END).await;
                }
            }
        }
        self.life = life;
    }

    /// Starts it again, if it has ended and should not have.
    pub(super) fn look_after(&mut self) {
        let has_ended = self
            .process
            .as_mut()
            .is_some_and(|one| one.ended().is_some());
        if has_ended {
            self.process = None;
        }
        if self.life == Life::Runs && self.process.is_none() {
            self.start();
        }
    }

    /// How often it was started.
    pub(super) fn starts(&self) -> u32 {
        self.starts
    }
}
