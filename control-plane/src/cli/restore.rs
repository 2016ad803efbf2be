//! `usher restore`: a new data directory of what `usher backup` wrote.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use serde::Serialize;
use usher_config::value::TrustDomain;

use super::{
    Failure, Outcome,
    backup::Summary,
    exit,
    locate::DataDirectory,
    meant_path,
    paint::{GOOD, WARN, paint},
};
use crate::{
    backup::{Backup, Existing, Keys, NotWhole, RestoreError, restore},
    ca::roots::short,
};

/// Make a data directory of a backup
///
/// Only into a directory that is new or empty; the control plane that is started on it then goes on with the backup's
/// revision. A file that was cut off or changed anywhere is refused. A join token that was used since the backup was made
/// can be used once more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher restore /backups/usher-2030-01-31 --data /var/lib/usher
  cp -a /media/safe/ca /var/lib/usher/          # if the backup was made without --with-keys
  usher serve --data /var/lib/usher --config mesh/

Exit codes: 0 restored, 1 the file is no whole backup, 64 usage, 71 it cannot be read, or the directory is not free.")]
pub(super) struct Restore {
    /// What usher backup wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: DataDirectory,
    /// Move a data directory that is there aside, to DIR.before-restore-TIME
    #[arg(long)]
    force: bool,
    /// Refuse a backup of another mesh
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// Print {"data","aside","madeAt","trustDomain","revision","objects","revisions","tokens","keys"}
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn execute(self) -> Outcome {
        let shown = self.file.display();
        let bytes = std::fs::read(&self.file).map_err(|error| {
            let failure = Failure::new(exit::SYSTEM, format!("cannot read {shown}: {error}"));
            meant_path(failure, &self.file)
        })?;
        let backup = Backup::decode(&bytes).map_err(|error| self.refused(&error))?;
        if let Some(asked) = &self.trust_domain
            && asked.as_str() != backup.trust_domain
        {
            let found = &backup.trust_domain;
            let message = format!("{shown} is of the mesh {found}, and not of {asked}");
            return Err(Failure::new(exit::MISTAKES, message));
        }
        let data = self.data.path();
        let data = std::path::absolute(&data).unwrap_or(data);
        let existing = match self.force {
            true => Existing::MoveAside,
            false => Existing::Keep,
        };
        let restored = restore(&backup, &data, existing, SystemTime::now());
        let aside = restored.map_err(|error| not_restored(&error))?.aside;
        let summary = Summary::of(&backup);
        if self.json {
            return super::print_json(&Done {
                data,
                aside,
                summary,
            });
        }
        if let Some(aside) = aside {
            anstream::println!("what was there is now {}", aside.display());
        }
        let holds = format!("{} holds {}", data.display(), summary.line());
        anstream::println!("{}", paint(GOOD, holds));
        anstream::println!("{}", keys(&backup, &data));
        Ok(exit::OK)
    }

    fn refused(&self, error: &NotWhole) -> Failure {
        let failure = Failure::of(exit::MISTAKES, error);
        let message = format!("{}: {}", self.file.display(), failure.message);
        Failure::new(exit::MISTAKES, message)
    }
}

fn keys(backup: &Backup, data: &Path) -> String {
    match backup.keys {
        Keys::Included => {
            "with the mesh's keys: sidecars go on when usher serve is started on it".to_owned()
        }
        Keys::LeftOut => paint(
            WARN,
            format!(
                "the mesh's keys were not in the backup: before usher serve, put your copy of ca/{} at {}",
                signing(backup),
                data.join("ca").display()
            ),
        ),
    }
}

/// Which copy of `ca/` it has to be.
fn signing(backup: &Backup) -> String {
    let made = |root| match backup.roots_version {
        Some(_) => format!(
            ", made together with the backup or later (the root {} signed then),",
            short(root)
        ),
        None => format!(", made when the root {} signed or later,", short(root)),
    };
    backup.root.as_deref().map(made).unwrap_or_default()
}

fn not_restored(error: &RestoreError) -> Failure {
    let code = match error {
        RestoreError::NotEmpty(_)
        | RestoreError::InUse(_)
        | RestoreError::OtherMesh { .. }
        | RestoreError::File { .. } => exit::SYSTEM,
        RestoreError::Store(_) | RestoreError::Tokens(_) => exit::FAILED,
    };
    Failure::of(code, error)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    data: PathBuf,
    aside: Option<PathBuf>,
    #[serde(flatten)]
    summary: Summary,
}
