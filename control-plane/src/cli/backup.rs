//! `usher backup`: all that the control plane on this machine has to keep, in one file.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::Serialize;

use super::{
    Failure, Outcome, block_on, exit,
    locate::DataDirectory,
    operator,
    paint::{GOOD, WARN, paint},
    validate::plural,
};
use crate::{
    backup::{Backup as Content, Keys},
    private_files::write_private,
};

/// The whole history of a large mesh is read and sent.
const LIMIT: Duration = Duration::from_secs(120);

/// Write a backup of the control plane on this machine into one file
///
/// Configuration, its history, virtual addresses, join tokens (hashed) and token issuers' keys, as of one moment, while it
/// runs. The file has mode 0600 and checks itself. The mesh's private keys (ca/ of the data directory) are not in it unless
/// asked for: keep a copy of them in a safer place, because without them every sidecar has to join again. Registrations
/// are in no backup: sidecars make them anew within seconds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usher backup /backups/usher-$(date +%F)
  usher backup --with-keys /media/safe/usher     # now the file is a secret: it can be anybody in the mesh
  usher restore /backups/usher-2030-01-31        # into a new data directory

With `usher serve --store etcd://...` etcd makes the backups: this verb says how.

Exit codes: 0 written, 64 usage, 69 no control plane answers or its store cannot be read, 70 refused, 71 the file cannot be written.")]
pub(super) struct Backup {
    /// Where to write it; a file that is there is kept
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// With the mesh's private keys: the file is a secret
    #[arg(long)]
    with_keys: bool,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: DataDirectory,
    /// Print {"file","bytes","madeAt","trustDomain","revision","objects","revisions","tokens","keys"}
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn execute(self) -> Outcome {
        let shown = self.file.display();
        if self.file.exists() && !self.force {
            let message = format!("there is a file {shown}");
            return Err(Failure::new(exit::SYSTEM, message).advise("replace it: --force"));
        }
        let path = match self.with_keys {
            true => "/v1/backup?keys=included",
            false => "/v1/backup?keys=leftOut",
        };
        let asked = operator::exchange(&self.data, (Method::GET, path), Bytes::new(), LIMIT);
        let bytes = block_on(asked)?.map_err(operator::refused)?;
        // Before it may take the place of one that is good.
        let backup = Content::decode(&bytes).map_err(|error| Failure::of(exit::FAILED, &error))?;
        // `FILE` alone has an empty parent, in which nothing can be made.
        let file = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        write_private(&file, &bytes).map_err(|error| {
            Failure::new(exit::SYSTEM, format!("cannot write {shown}: {error}"))
        })?;
        let summary = Summary::of(&backup);
        if self.json {
            return super::print_json(&Written {
                file: self.file.clone(),
                bytes: bytes.len(),
                summary,
            });
        }
        anstream::println!(
            "{} ({} bytes)",
            paint(GOOD, format!("{shown} holds {}", summary.line())),
            bytes.len()
        );
        let ca = self.data.path().join("ca");
        match backup.keys {
            Keys::LeftOut => anstream::println!(
                "without the mesh's private keys: keep a copy of {} in a safer place, or use --with-keys",
                ca.display()
            ),
            Keys::Included => anstream::println!(
                "{}",
                paint(
                    WARN,
                    "with the mesh's private keys: whoever has this file can be anybody in the mesh"
                )
            ),
        }
        Ok(exit::OK)
    }
}

/// What is in a backup.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    made_at: String,
    trust_domain: String,
    revision: u64,
    objects: usize,
    revisions: usize,
    tokens: usize,
    keys: Keys,
}

impl Summary {
    pub(super) fn of(backup: &Content) -> Self {
        let (objects, revisions) = backup.store.counts();
        Self {
            made_at: backup.made_at.clone(),
            trust_domain: backup.trust_domain.clone(),
            revision: backup.revision,
            objects,
            revisions,
            tokens: backup.tokens.len(),
            keys: backup.keys,
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "revision {} of {} as of {}: {}, {}, {}",
            self.revision,
            self.trust_domain,
            self.made_at,
            plural(self.objects, "object"),
            plural(self.revisions, "revision"),
            plural(self.tokens, "join token"),
        )
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    file: PathBuf,
    bytes: usize,
    #[serde(flatten)]
    summary: Summary,
}
