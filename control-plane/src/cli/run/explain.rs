//! A sidecar that ended, explained: its exit code, its last words, the end of its log.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    process::ExitStatus,
};

use serde::Deserialize;

use super::{Failure, exit, role::Role};

/// How much of the sidecar's log is shown when it fails.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Where a sidecar leaves its last words, in its state directory.
pub(super) const LAST_WORDS: &str = "exit.json";

#[derive(Debug, Deserialize)]
struct LastWords {
    reason: String,
}

/// Why it ended, as far as the code tells; with its own reason, where it left one in `last_words`.
pub(super) fn ended(status: ExitStatus, role: Role, last_words: &Path) -> Failure {
    let words = std::fs::read(last_words)
        .ok()
        .and_then(|text| serde_json::from_slice::<LastWords>(&text).ok())
        .map(|words| words.reason);
    let reason = words
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(exit::USAGE) => Failure::new(
            exit::USAGE,
            format!("the proxy did not accept its arguments{reason}"),
        ),
        Some(exit::UNAVAILABLE) => Failure::new(
            exit::UNAVAILABLE,
            // Its own words begin with "no identity".
            words.map_or_else(
                || "the control plane refused this workload's identity".to_owned(),
                |words| format!("the {role} has {words}"),
            ),
        )
        .advise("a new token: usher token create --namespace NS --service-account SA, into the file of --token-file")
        .advise("is it the right control plane? --control-plane HOST:PORT"),
        Some(exit::SYSTEM) => {
            let failure = Failure::new(
                exit::SYSTEM,
                format!("the proxy did not get what it needs of this machine{reason}"),
            );
            if reason.contains("in use") {
                failure.advise("an address in use belongs to another process: give another one, or port 0 for any that is free")
            } else {
                failure
            }
        }
        // Its own words say what is reachable and what to do.
        Some(exit::CONFIGURATION) => Failure::new(
            exit::CONFIGURATION,
            words.unwrap_or_else(|| {
                "the application can be reached around its sidecar: it must listen on 127.0.0.1 only".to_owned()
            }),
        ),
        _ => Failure::new(exit::FAILED, format!("the {role} ended: {status}{reason}")),
    }
}

/// Shows the end of the log, unless (`None`) the user has it on the screen already.
pub(super) fn with_log(failure: Failure, log: Option<&Path>) -> Failure {
    let Some(path) = log else {
        return failure;
    };
    let failure = failure.advise(format!("the end of its log, {}:", path.display()));
    let tail = tail(path).unwrap_or_default();
    tail.lines()
        .fold(failure, |failure, line| failure.advise(format!("  {line}")))
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
