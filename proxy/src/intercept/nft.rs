//! Carries rulesets to the kernel, by the `nft` program, and says what to do when that fails.

use std::{
    io::{self, Write as _},
    process::{Command, Output, Stdio},
};

use usher_config::value::Port;

use super::{
    Settings,
    ruleset::{self, SCRATCH, TABLE},
};

/// What the rule of a control group begins with, in nft's spelling.
const OF_CGROUP: &str = "socket cgroupv2 level ";

/// In PATH, and where it is when PATH is a plain user's.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Why the rules are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum InterceptError {
    /// Code 69.
    #[error(
        "the program nft is not installed: install nftables (apt-get install nftables, dnf install nftables, \
         apk add nftables), or load the rules of --dry-run by other means"
    )]
    NoNft,
    /// Code 77.
    #[error(
        "the kernel does not let this process change rules ({said}): run it as root, or with CAP_NET_ADMIN in its \
         network namespace (in a pod: an init container with securityContext.capabilities.add: [NET_ADMIN])"
    )]
    NotPermitted {
        /// By nft.
        said: String,
    },
    /// Code 71.
    #[error(
        "nft did not load the rules: {said}\nThe kernel needs nf_tables with NAT: the modules nft_chain_nat, \
         nft_redir and nft_fib_inet, and nft_tproxy for --inbound tproxy; for --only-cgroup nft_socket, nft_reject_inet, \
         Linux 5.14 and nftables 0.9.9 at least"
    )]
    Refused {
        /// By nft.
        said: String,
    },
    /// Code 71.
    #[error("cannot run nft")]
    Failed(#[from] io::Error),
    /// Code 1.
    #[error("no such rules are installed here: usher-proxy intercept install")]
    Missing,
    /// Code 64.
    #[error(
        "--inbound {found} and --only-cgroup exclude each other: what comes from outside is of no control group; leave \
         --inbound out"
    )]
    InboundOfCgroup {
        /// What was asked for.
        found: String,
    },
    /// Code 64.
    #[error(
        "--outbound-port and --inbound-port are both {port}: the sidecar tells by the port which way a connection goes; \
         give the two ports that its --outbound and --inbound have"
    )]
    SamePort {
        /// Of both.
        port: Port,
    },
    /// Code 71.
    #[error(
        "--only-cgroup needs the control groups of version 2 at /sys/fs/cgroup, where nft looks them up, and something \
         else is there: boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup"
    )]
    NoCgroups,
    /// Code 71.
    #[error(
        "there is no control group /sys/fs/cgroup/{cgroup}: make it first (mkdir), the rule is about the one that is \
         there now"
    )]
    NoCgroup {
        /// Its path.
        cgroup: String,
    },
    /// Code 77.
    #[error(
        "cannot move into the control group {cgroup}, nothing was started: its cgroup.procs, and that of the nearest \
         group that both are in, must be writable"
    )]
    NotEntered {
        /// Its path.
        cgroup: String,
        /// By the kernel.
        #[source]
        source: io::Error,
    },
    /// Code 71.
    #[error(
        "the kernel does not hand over the connections of the control group {cgroup}, nothing was started: are the rules \
         installed (usher-proxy intercept check --only-cgroup {cgroup})? In a container Linux before 6.11 does not find \
         its groups"
    )]
    NotHandedOver {
        /// Its path.
        cgroup: String,
    },
    /// Code 71.
    #[error(
        "no sidecar takes what the rules hand over, nothing was started: does it run with --transparent?"
    )]
    Unproven {
        /// Of a connection to ourselves.
        #[source]
        source: io::Error,
    },
    /// Code 126 or 127, as of shells.
    #[error("cannot start {program}")]
    NotStarted {
        /// The command.
        program: String,
        /// By the kernel.
        #[source]
        source: io::Error,
    },
    /// Code 1.
    #[error(
        "the rules are not those of these settings; usher-proxy intercept install with the same settings replaces \
         them\n{difference}"
    )]
    Different {
        /// Lines that are missing and lines that are too many.
        difference: String,
    },
}

impl InterceptError {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Missing | Self::Different { .. } => 1,
            Self::InboundOfCgroup { .. } | Self::SamePort { .. } => 64,
            Self::NoNft => 69,
            Self::Refused { .. }
            | Self::Failed(_)
            | Self::NoCgroups
            | Self::NoCgroup { .. }
            | Self::NotHandedOver { .. }
            | Self::Unproven { .. } => 71,
            Self::NotPermitted { .. } | Self::NotEntered { .. } => 77,
            Self::NotStarted { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::NotStarted { .. } => 126,
        }
    }
}

/// Loads a ruleset as one transaction.
pub(super) fn load(ruleset: &str) -> Result<(), InterceptError> {
    nft(&["-f", "-"], ruleset).map(drop)
}

/// Compares what is installed with what `settings` ask for, in nft's own spelling of both.
pub(super) fn check(settings: &Settings) -> Result<(), InterceptError> {
    let found = installed(&settings.table())?.ok_or(InterceptError::Missing)?;
    load(&ruleset::rehearse(settings))?;
    let wanted = list(SCRATCH);
    load(&ruleset::remove(SCRATCH))?;
    let difference = difference(&lines(&wanted?), &lines(&found));
    if difference.is_empty() {
        Ok(())
    } else {
        Err(InterceptError::Different { difference })
    }
}

/// Whether there is such a table.
pub(super) fn is_installed(table: &str) -> Result<bool, InterceptError> {
    Ok(installed(table)?.is_some())
}

/// The tables of control groups, and the path of each; `None`: its group is gone.
pub(super) fn of_cgroups() -> Result<Vec<(String, Option<String>)>, InterceptError> {
    let tables = nft(&["list", "tables", "inet"], "")?;
    let names = tables
        .lines()
        .filter_map(|line| line.strip_prefix("table inet "));
    let ours = |name: &&str| {
        let rest = name.strip_prefix(TABLE);
        *name != SCRATCH && rest.is_some_and(|rest| rest.starts_with('-'))
    };
    let mut found = Vec::new();
    for name in names.map(str::trim).filter(ours) {
        // One that is gone by now is nobody's.
        if let Some(listed) = installed(name)? {
            found.push((name.to_owned(), cgroup_of(&listed)));
        }
    }
    Ok(found)
}

fn cgroup_of(listed: &str) -> Option<String> {
    let mut rules = listed.lines().map(str::trim);
    let rule = rules.find_map(|line| line.strip_prefix(OF_CGROUP))?;
    Some(rule.split('"').nth(1)?.to_owned())
}

fn installed(table: &str) -> Result<Option<String>, InterceptError> {
    match list(table) {
        Err(InterceptError::Refused { said }) if said.contains("No such file") => Ok(None),
        listed => listed.map(Some),
    }
}

fn list(table: &str) -> Result<String, InterceptError> {
    nft(&["--stateless", "list", "table", "inet", table], "")
}

/// Of a listed table, without what only one of the two has.
fn lines(listed: &str) -> Vec<&str> {
    let own =
        |line: &&str| !line.is_empty() && !line.starts_with("table ") && *line != "flags dormant";
    listed.lines().map(str::trim).filter(own).collect()
}

fn difference(wanted: &[&str], found: &[&str]) -> String {
    if wanted == found {
        return String::new();
    }
    let missing = wanted.iter().filter(|line| !found.contains(line));
    let surplus = found.iter().filter(|line| !wanted.contains(line));
    let told: Vec<String> = missing
        .map(|line| format!("  missing: {line}"))
        .chain(surplus.map(|line| format!("  not asked for: {line}")))
        .collect();
    if told.is_empty() {
        "  the same rules in another order".to_owned()
    } else {
        told.join("\n")
    }
}

fn nft(arguments: &[&str], input: &str) -> Result<String, InterceptError> {
    for program in PROGRAMS {
        match run(program, arguments, input) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
            Ok(output) if output.status.success() => {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(if said.contains("Operation not permitted") {
                    let said = said.lines().next().unwrap_or_default().to_owned();
                    InterceptError::NotPermitted { said }
                } else {
                    InterceptError::Refused { said }
                });
            }
        }
    }
    Err(InterceptError::NoNft)
}

fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft that does not want its input says why on stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests;
