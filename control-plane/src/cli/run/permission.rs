//! Permission to join: a token from a file the user names, or one asked for on this machine.
//!
//! Whoever may open the control plane's operator socket may make tokens anyway, so `usher run` makes its own, for
//! ten minutes. The sidecar reads the file each time it has to prove itself; it renews its SVID without it, so a
//! new token is needed only after the machine slept for longer than an SVID holds. A sidecar that has kept an
//! identity starts without the control plane too.

use std::{
    convert::Infallible,
    fmt,
    num::NonZeroU32,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use usher_config::value::Name;

use super::{
    super::token::request_token,
    Failure, Run,
    elsewhere::is_elsewhere,
    exit,
    kept::{IDENTITY, Wanted, has_identity},
    progress::Progress,
    standing::Standing,
    state_directory::StateDirectory,
};
use crate::{admin::operator::CreateToken, private_files::write_private};

/// The token's file, in the state directory.
const TOKEN: &str = "join-token";

/// Long enough for a slow start, useless afterwards.
const TTL: &str = "10m";

/// One, and two more: an answer may be lost on the way after its use was counted.
const USES: Option<NonZeroU32> = NonZeroU32::new(3);

/// A token older than this is replaced: an SVID that was not renewed for so long is near its end.
const REFRESH_AFTER: Duration = Duration::from_secs(12 * 3600);

/// How long a control plane that was started together with us may need until it answers.
const CONTROL_PLANE_STARTS_WITHIN: Duration = Duration::from_secs(10);

/// How often it is asked meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How often to look at the clock on the wall. It runs while the machine sleeps; timers do not.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Where the sidecar finds its token.
#[derive(Debug)]
pub(super) enum Permission {
    /// The user's file: theirs to keep fresh.
    Given(PathBuf),
    /// Ours, from the control plane on this machine.
    Asked(Asked),
    /// None yet, as the control plane is away; the sidecar has an identity from before.
    Kept {
        /// Where a token will be.
        file: PathBuf,
    },
    /// None: this machine's control plane makes them for its own mesh, and the sidecar has an identity of another one. It
    /// was told whom to follow; a token that nobody gave says nothing against that.
    OfAnother {
        /// Where a token would be.
        file: PathBuf,
        /// Whom it was told.
        control_plane: String,
    },
}

/// A token of ours.
#[derive(Debug)]
pub(super) struct Asked {
    /// Where it is.
    file: PathBuf,
    namespace: String,
    /// Whom of it it permits to be.
    account: String,
}

impl Permission {
    pub(super) async fn obtain(
        run: &Run,
        state: &StateDirectory,
        progress: Progress,
    ) -> Result<Self, Failure> {
        if let Some(file) = &run.token_file {
            // Read once, so that a wrong path is said here and not by a log line of the sidecar.
            let unreadable = |error: std::io::Error| {
                let message = format!("cannot read the token file {}: {error}", file.display());
                Failure::new(exit::USAGE, message)
            };
            let opened = std::fs::File::open(file).map_err(unreadable)?;
            let metadata = opened.metadata().map_err(unreadable)?;
            let mode = metadata.mode() & 0o7777;
            if metadata.is_file() && mode & 0o007 != 0 {
                progress.warn(&format!(
                    "the token file {} is everybody's on this machine (mode {:04o}), and whoever has it may be this service: \
                     chmod 600",
                    file.display(),
                    mode
                ));
            }
            return Ok(Self::Given(file.clone()));
        }
        let asked_at = Instant::now();
        let file = state.file(TOKEN);
        let kept = Wanted {
            namespace: &run.namespace,
            account: run.service_account.as_ref().map(Name::as_str),
            token: Some(&file),
        };
        let limit = run.ready_timeout.min(CONTROL_PLANE_STARTS_WITHIN);
        let mut said = false;
        loop {
            match ask(run, state).await {
                Ok(asked) => {
                    let asked = Self::Asked(asked);
                    return Ok(asked.unless_of_another(run, state, kept));
                }
                // It answered and said no: the same end as for a token of its own that it refuses.
                Err(failure) if failure.code != exit::UNAVAILABLE => {
                    return Err(Failure {
                        code: exit::UNAVAILABLE,
                        ..failure
                    });
                }
                Err(_) if has_identity(state, kept) => {
                    return Ok(Self::Kept { file });
                }
                Err(failure) if asked_at.elapsed() >= limit => {
                    let failure = without_token(run.control_plane.as_deref(), failure);
                    return Err(all_taken(run, state, failure));
                }
                Err(failure) => {
                    if !std::mem::replace(&mut said, true) {
                        let failure = without_token(run.control_plane.as_deref(), failure);
                        progress.warn(&format!("waiting up to {limit:?}: {}", failure.message));
                    }
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Drops a token of ours for the identity that is `kept`, if that is of the mesh that was meant and the token is not.
    fn unless_of_another(self, run: &Run, state: &StateDirectory, kept: Wanted<'_>) -> Self {
        let any_mesh = Wanted {
            token: None,
            ..kept
        };
        let misses = !has_identity(state, kept) && has_identity(state, any_mesh);
        match &run.control_plane {
            Some(control_plane) if misses && is_elsewhere(run) => Self::OfAnother {
                file: self.file().clone(),
                control_plane: control_plane.clone(),
            },
            Some(_) | None => self,
        }
    }

    /// The token's file.
    pub(super) fn file(&self) -> &PathBuf {
        match self {
            Self::Given(file)
            | Self::Asked(Asked { file, .. })
            | Self::Kept { file }
            | Self::OfAnother { file, .. } => file,
        }
    }

    /// The account that the identity will be, where that is known.
    pub(super) fn account<'a>(&'a self, run: &'a Run) -> Option<&'a str> {
        match self {
            Self::Asked(asked) => Some(&asked.account),
            Self::Given(_) | Self::Kept { .. } | Self::OfAnother { .. } => {
                run.service_account.as_ref().map(Name::as_str)
            }
        }
    }

    /// A token that was given and not looked at may be any: its owner should know.
    pub(super) fn say_unused(&self, standing: &Standing, progress: Progress) {
        if let (Self::Given(file), Some(identity), true) =
            (self, &standing.identity, standing.identity_kept)
        {
            progress.say(&format!(
                "{identity} is the identity of an earlier run; the token in {} is for when that has ended",
                file.display()
            ));
        }
    }

    /// Replaces a token of ours when it is old, for ever.
    pub(super) async fn keep_fresh(&self, run: &Run, state: &StateDirectory) -> Infallible {
        let mut asked_at = match self {
            // A token for another mesh would not help when the identity ends.
            Self::Given(_) | Self::OfAnother { .. } => return std::future::pending().await,
            Self::Asked(_) => SystemTime::now(),
            Self::Kept { .. } => SystemTime::UNIX_EPOCH,
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // A clock set back counts as old: asking too often is harmless.
            let is_old = asked_at.elapsed().map_or(true, |age| age > REFRESH_AFTER);
            if is_old && ask(run, state).await.is_ok() {
                asked_at = SystemTime::now();
            }
        }
    }
}

impl Drop for Permission {
    /// A spent or expiring secret is of use to nobody.
    fn drop(&mut self) {
        if let Self::Asked(Asked { file, .. }) | Self::Kept { file } = self {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(file) => write!(f, "joining with the token in {}", file.display()),
            Self::Asked(asked) => write!(f, "joining as {}/{}", asked.namespace, asked.account),
            Self::Kept { .. } => {
                f.write_str("no control plane answers here: going on with the identity from before")
            }
            Self::OfAnother { control_plane, .. } => write!(
                f,
                "going on with the identity from before at {control_plane}: the control plane on this machine is of \
                 another mesh"
            ),
        }
    }
}

/// A token is asked for on this machine, wherever the control plane is that was `given`: who named one elsewhere would
/// wonder why.
fn without_token(given: Option<&str>, failure: Failure) -> Failure {
    let Some(control_plane) = given else {
        return failure;
    };
    let message = format!(
        "no --token-file to join at {control_plane} with, and none is made here: {}",
        failure.message
    );
    Failure { message, ..failure }
}

/// Whoever has started one instance without a control plane wonders why the next one does not start.
fn all_taken(run: &Run, state: &StateDirectory, failure: Failure) -> Failure {
    let kept = state
        .taken()
        .iter()
        .filter(|path| path.join(IDENTITY).exists());
    match kept.count() {
        0 => failure,
        number => failure.advise(format!(
            "without it only as many instances of {} start as have an identity from before: {number} here, and in use",
            run.full_service()
        )),
    }
}

async fn ask(run: &Run, state: &StateDirectory) -> Result<Asked, Failure> {
    let request = CreateToken {
        namespace: run.namespace.to_string(),
        service_account: run.service_account.as_ref().map(ToString::to_string),
        service: Some(run.service.to_string()),
        ttl: Some(TTL.to_owned()),
        uses: USES,
    };
    let created = request_token(&run.data, &request).await?;
    let file = state.file(TOKEN);
    write_private(&file, created.token.as_bytes())
        .map_err(|error| Failure::of(exit::FAILED, &error))?;
    Ok(Asked {
        file,
        namespace: created.namespace,
        account: created.service_account,
    })
}
