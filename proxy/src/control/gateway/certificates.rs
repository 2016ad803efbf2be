//! Certificates and keys from their files, and again whenever the files change.
//!
//! Looked at once a second, by what `stat` says: that sees replaced files, files written in place and the links that
//! Kubernetes swaps alike. A pair is taken only if its parts belong together, so files that are written one after the
//! other are no moment without a certificate.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use nix::unistd::{Gid, getegid, getgroups};
use rustls::server::ProducesTickets;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use usher_config::value::CertificateName;

use super::super::{Exit, Standing};
use crate::{
    bootstrap::{CertificateFiles, GatewayRole},
    telemetry::metrics::{Gauge, Metrics},
    tls::edge::{self, Certificate, CertificateError, Certificates},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Two files are seldom written in one moment: for so many looks a pair that does not fit is no news.
const PATIENCE: u32 = 2;

/// A chain of sixteen large certificates has 64 KiB.
const FILE_MAX: u64 = 256 * 1024;

/// Why a pair of files is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{} is larger than {FILE_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} holds a private key and others can read or change it (mode {mode:04o}): chmod 600, or 640 where its group is one of this process", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} holds a private key and {} holds none: the certificate is named first, then its key (NAME=CERT,KEY)", certificate.display(), key.display())]
    Swapped { certificate: PathBuf, key: PathBuf },
    #[error("{} and {}: {cause}", certificate.display(), key.display())]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        cause: CertificateError,
    },
}

/// What says whether a file is another one than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    mode: u32,
}

/// A pair and how it looked last.
#[derive(Debug)]
struct Watched {
    files: CertificateFiles,
    looks: Option<[Option<Look>; 2]>,
    expiry: Gauge,
    /// What is wrong with the files as they are, and how many more looks that may take to mend itself.
    refused: Option<(Refused, u32)>,
    /// What was said of the one in use.
    said: Validity,
}

/// How long a certificate will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    Fine,
    /// Whoever renews it should have done so: ACME clients begin 30 days before.
    EndsSoon,
    Expired,
}

/// See [`Validity::EndsSoon`].
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

impl Validity {
    fn of(not_after: SystemTime, now: SystemTime) -> Self {
        match not_after.duration_since(now) {
            Err(_) => Self::Expired,
            Ok(left) if left < SOON => Self::EndsSoon,
            Ok(_) => Self::Fine,
        }
    }
}

/// Reads all pairs and keeps reading them.
///
/// # Errors
/// [`Exit::System`]: the first reading fails; a gateway that starts without its certificates would serve nobody.
pub(in super::super) fn keep(
    role: &GatewayRole,
    certificates: &Arc<Certificates>,
    (standing, metrics): (&Standing, &Metrics),
) -> Result<(), Exit> {
    let tickets = edge::tickets().map_err(io::Error::other);
    let tickets = tickets.map_err(Exit::system("make keys for TLS sessions"))?;
    let mut watched: Vec<Watched> = Vec::new();
    for files in &role.certificates {
        watched.push(Watched {
            files: files.clone(),
            looks: None,
            expiry: metrics.certificate_expiry(files.name.as_str()),
            refused: None,
            said: Validity::Fine,
        });
    }
    let mut current = HashMap::new();
    for pair in &mut watched {
        pair.looks = Some(pair.look());
        let read = pair.read(&tickets).map_err(io::Error::other);
        let what = format!("use certificate {} (--certificate)", pair.files.name);
        let certificate = read.map_err(Exit::system(what))?;
        pair.speak_of(&certificate, standing);
        current.insert(pair.files.name.clone(), Arc::new(certificate));
    }
    certificates.replace(current);
    if !watched.is_empty() {
        let (certificates, standing) = (certificates.clone(), standing.clone());
        tokio::spawn(follow(watched, certificates, tickets, standing));
    }
    Ok(())
}

/// Never returns.
async fn follow(
    mut watched: Vec<Watched>,
    certificates: Arc<Certificates>,
    tickets: Arc<dyn ProducesTickets>,
    standing: Standing,
) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for pair in &mut watched {
            if let Some(current) = certificates.load().get(&pair.files.name) {
                pair.speak_of(current, &standing);
            }
            let looks = Some(pair.look());
            if pair.looks == looks {
                pair.complain(&standing);
                continue;
            }
            pair.looks = looks;
            let name = pair.files.name.clone();
            match pair.read(&tickets) {
                Ok(certificate) => {
                    pair.refused = None;
                    standing.tell(|facts| drop(facts.unrenewed.remove(name.as_str())));
                    let days = certificate.not_after.duration_since(SystemTime::now());
                    let days = days.unwrap_or_default().as_secs() / 86_400;
                    info!(certificate = %name, days, "renewed certificate is shown from now on");
                    let mut all: HashMap<CertificateName, Arc<Certificate>> =
                        (*certificates.load()).clone();
                    all.insert(name, Arc::new(certificate));
                    certificates.replace(all);
                }
                Err(refused) => pair.refused = Some((refused, PATIENCE)),
            }
        }
    }
}

impl Watched {
    /// Says once why the files as they are now are not taken, when nobody seems to be still writing them.
    fn complain(&mut self, standing: &Standing) {
        match self.refused.take() {
            Some((refused, 0)) => {
                let name = &self.files.name;
                warn!(certificate = %name, reason = %refused, "changed certificate is not taken, the one before stays");
                let notice = format!("certificate {name}: {refused}; the one before stays");
                standing.tell(|facts| {
                    facts.unrenewed.insert(name.to_string(), notice.clone());
                    facts.notices.push(notice);
                });
            }
            Some((refused, looks)) => self.refused = Some((refused, looks - 1)),
            None => {}
        }
    }

    fn look(&self) -> [Option<Look>; 2] {
        let look = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            Some(Look {
                inode: found.ino(),
                size: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                mode: found.mode(),
            })
        };
        [look(&self.files.certificate), look(&self.files.key)]
    }

    /// Says how long the one in use will do, whenever that changes.
    fn speak_of(&mut self, certificate: &Certificate, standing: &Standing) {
        let not_after = certificate.not_after;
        let seconds = not_after
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        self.expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        let validity = Validity::of(not_after, SystemTime::now());
        if std::mem::replace(&mut self.said, validity) == validity {
            return;
        }
        let name = &self.files.name;
        match validity {
            Validity::Fine => {}
            Validity::EndsSoon => {
                warn!(certificate = %name, "certificate expires in less than 14 days");
            }
            Validity::Expired => {
                warn!(certificate = %name, "certificate has expired, callers refuse it");
                let notice = format!("certificate {name} has expired: callers refuse it");
                standing.tell(|facts| facts.notices.push(notice));
            }
        }
    }

    fn read(&self, tickets: &Arc<dyn ProducesTickets>) -> Result<Certificate, Refused> {
        let CertificateFiles {
            certificate, key, ..
        } = &self.files;
        let (chain, _) = read(certificate)?;
        let (secret, metadata) = read(key)?;
        if edge::holds_key(&chain) && !edge::holds_key(&secret) {
            return Err(Refused::Swapped {
                certificate: certificate.clone(),
                key: key.clone(),
            });
        }
        if is_exposed(metadata.mode(), || is_group_of_ours(metadata.gid())) {
            return Err(Refused::Exposed {
                path: key.clone(),
                mode: metadata.mode() & 0o7777,
            });
        }
        Certificate::new(&chain, &secret, tickets).map_err(|cause| Refused::Unusable {
            certificate: certificate.clone(),
            key: key.clone(),
            cause,
        })
    }
}

/// Whether others than its owner can change the file, or others than this process's own groups read it. A Secret that
/// Kubernetes mounts for a process without root is readable through a group (`fsGroup`) and in no other way.
fn is_exposed(mode: u32, own_group: impl FnOnce() -> bool) -> bool {
    mode & 0o027 != 0 || (mode & 0o040 != 0 && !own_group())
}

fn is_group_of_ours(group: u32) -> bool {
    let group = Gid::from_raw(group);
    group == getegid() || getgroups().is_ok_and(|groups| groups.contains(&group))
}

/// A file's content, and what is known of just that file.
fn read(path: &Path) -> Result<(Vec<u8>, Metadata), Refused> {
    let unreadable = |cause| Refused::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mut content = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > FILE_MAX {
        let path = path.to_owned();
        return Err(Refused::TooLarge { path });
    }
    Ok((content, metadata))
}

#[cfg(test)]
mod tests;
