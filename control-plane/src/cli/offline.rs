//! Configuration read from files, for verbs that answer without a control plane.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use usher_config::parse::{Parsed, Severity, parse_paths};

use super::{
    Failure, exit, meant_path,
    paint::{WARN, paint},
    validate::plural,
};
use crate::{
    compile::{Compiled, compile},
    registry::{World, store::Stored, world::Reading},
};

/// Which files.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Files, or directories with *.yaml and *.yml at any depth; may be given several times
    #[arg(
        long = "config",
        value_name = "PATH",
        required = true,
        env = "USHER_CONFIG"
    )]
    paths: Vec<PathBuf>,
}

/// What they say, and what would run.
pub(super) struct Offline {
    pub(super) parsed: Parsed,
    pub(super) world: World,
    pub(super) compiled: Compiled,
}

impl Files {
    /// Reads and compiles them. Mistakes are counted on stderr: what is broken is left out, as on a control plane that
    /// has no earlier version of it.
    pub(super) fn read(&self) -> Result<Offline, Failure> {
        let parsed = parsed(&self.paths)?;
        if let Some(file) = parsed.unreadable.first() {
            let message = format!(
                "{} cannot be read as YAML: a policy in it that closes something is not known, so this cannot be answered",
                file.display()
            );
            return Err(Failure::new(exit::MISTAKES, message).advise("usher validate shows where"));
        }
        let errors = parsed.mistakes.iter();
        let errors = errors
            .filter(|mistake| mistake.severity == Severity::Error)
            .count();
        if errors > 0 {
            anstream::eprintln!(
                "{}: {} in the files: what is broken is left out of this answer; usher validate shows it",
                paint(WARN, "warning"),
                plural(errors, "mistake")
            );
        }
        let world = reading(&parsed).world;
        Ok(Offline {
            compiled: compile(&world),
            parsed,
            world,
        })
    }
}

/// Files and directories as one configuration; at least one file.
pub(super) fn parsed(paths: &[PathBuf]) -> Result<Parsed, Failure> {
    let parsed = parse_paths(paths).map_err(|error| {
        let failure = Failure::new(exit::FAILED, format!("cannot read {error}"));
        let missing = paths.iter().find(|path| !path.exists());
        match missing {
            Some(path) => meant_path(failure, path),
            None => failure,
        }
    })?;
    if files(&parsed) == 0 {
        // A check that has checked nothing must not pass: the path is probably wrong.
        let message = "there is no *.yaml or *.yml file in the given directories";
        return Err(Failure::new(exit::USAGE, message));
    }
    Ok(parsed)
}

/// How many there are.
pub(super) fn files(parsed: &Parsed) -> usize {
    let all: BTreeSet<&PathBuf> = parsed.sources.keys().chain(&parsed.unreadable).collect();
    all.len()
}

/// What a control plane that starts with nothing makes of it.
pub(super) fn reading(parsed: &Parsed) -> Reading {
    let (nothing, _) = World::restored(&Stored::default());
    nothing.read(parsed, Path::new(""), SystemTime::now())
}
