//! The command line of `usher-proxy intercept`.

use std::{
    error::Error as _,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use usher_config::value::Port;

use super::{
    AddressSet, Calls, Cgroup, Inbound, PortSet, Settings, Side,
    enter::enter,
    nft::{self, InterceptError},
    ruleset,
    settings::table_of,
};

/// The word that `usher-proxy` hands over at.
pub const NAME: &str = "intercept";

/// Of a template clap takes what is no tag as it is: it would break the lines of examples where the terminal ends.
const BEFORE_EXAMPLES: &str =
    "{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}\n\n";

const AFTER_HELP: &str = "\
Examples:
  usher-proxy intercept install
      every TCP connection of this network namespace goes through the sidecar of uid 1337
  usher-proxy intercept install --exclude-outbound-cidrs 10.96.0.1 --include-inbound-ports 8080
      but not those to 10.96.0.1, and of those from outside only those to port 8080
  usher-proxy intercept check
      exit code 0 if exactly these rules are installed
  usher-proxy intercept install --only-cgroup system.slice/web.service --outbound-port 15001
      only what the processes of that control group call; its sidecar is in another one, started with --transparent outbound
  usher-proxy intercept enter --only-cgroup web -- ./web
      moves itself into /sys/fs/cgroup/web, proves that its connections are handed over, becomes ./web
  usher-proxy intercept install --only-cgroup web --closed
      its sidecar is gone: what it calls is refused, instead of handed to whoever takes the sidecar's port next
  usher-proxy intercept remove
      and says which tables of control groups there are; usher run --transparent removes its own

The sidecar must run with --transparent, as a user of --exclude-uid or outside of --only-cgroup. Loopback is never intercepted, nor is anything
that others send to the sidecar's own listener, or to a link-local address. Only new connections are affected. Rules
do not outlive a reboot: install them before the sidecar starts. UDP is not intercepted. A control group that is removed
and made again is another one, as a unit's at each start: install its rules each time (ExecStartPre=+usher-proxy intercept
install ...); enter starts nothing without them.

Exit codes: 0 done, 1 check: not installed, or with other settings, 64 usage, 69 nft is not installed, 71 the kernel
refused the rules, has no such control group, or does not hand its connections over, 77 not permitted; of enter the
command's own, 126 it cannot be executed, 127 there is none.";

#[derive(Debug, Parser)]
#[command(
    name = "usher-proxy intercept",
    bin_name = "usher-proxy intercept",
    about = "Makes the kernel hand connections to the sidecar (nftables)",
    help_template = format!("{BEFORE_EXAMPLES}{AFTER_HELP}")
)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install the rules, replacing those that an earlier install left
    Install {
        #[command(flatten)]
        rules: Rules,
        /// Print the ruleset instead, in the form that `nft -f` reads
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the rules, if there are any
    Remove {
        /// Those of this control group, instead of everybody's
        #[arg(long, value_name = "PATH")]
        only_cgroup: Option<Cgroup>,
        /// Print what would be given to `nft -f` instead
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare what is installed with these settings
    Check {
        #[command(flatten)]
        rules: Rules,
    },
    /// Become a command in a control group whose connections are handed over, once that is proven
    Enter {
        /// The control group, whose rules are installed
        #[arg(long, value_name = "PATH")]
        only_cgroup: Cgroup,
        /// The command, after `--`
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct Rules {
    /// Intercept only what processes of this control group (v2) call: a path below /sys/fs/cgroup. A table of its own,
    /// before everybody's
    #[arg(long, value_name = "PATH", conflicts_with_all = OF_INBOUND)]
    only_cgroup: Option<Cgroup>,
    /// Refuse (TCP reset) what these rules would hand over: the sidecar is gone, and its port may be a stranger's
    #[arg(long, requires = "only_cgroup")]
    closed: bool,
    /// User id whose connections are left alone: the sidecar's; repeatable [default: 1337; with --only-cgroup nobody]
    #[arg(long, value_name = "UID")]
    exclude_uid: Vec<u32>,
    /// How connections from outside reach the sidecar; tproxy needs CAP_NET_ADMIN in the sidecar too
    /// [default: redirect; with --only-cgroup off]
    #[arg(long, value_name = "HOW", value_enum)]
    inbound: Option<Inbound>,
    /// Port of the sidecar's outbound listener
    #[arg(long, value_name = "PORT", default_value = "15001")]
    outbound_port: Port,
    /// Port of the sidecar's inbound listener
    #[arg(long, value_name = "PORT", default_value = "15006")]
    inbound_port: Port,
    /// Ports whose outgoing connections are intercepted: all, none, or 80,8000-8999
    #[arg(long, value_name = "PORTS", default_value = "all")]
    include_outbound_ports: PortSet,
    /// Ports whose outgoing connections are not
    #[arg(long, value_name = "PORTS", default_value = "none")]
    exclude_outbound_ports: PortSet,
    /// Destinations that are intercepted: all, none, or 10.0.0.0/8,fd00::/8
    #[arg(long, value_name = "CIDRS", default_value = "all")]
    include_outbound_cidrs: AddressSet,
    /// Destinations that are not
    #[arg(long, value_name = "CIDRS", default_value = "none")]
    exclude_outbound_cidrs: AddressSet,
    /// Ports whose incoming connections are intercepted
    #[arg(long, value_name = "PORTS", default_value = "all")]
    include_inbound_ports: PortSet,
    /// Ports whose incoming connections are not. 22 (SSH: nobody should lock themselves out) and 15020 (the sidecar's
    /// own /metrics) are never, unless --include-inbound-ports names them
    #[arg(long, value_name = "PORTS", default_value = "none")]
    exclude_inbound_ports: PortSet,
    /// Sources that are intercepted
    #[arg(long, value_name = "CIDRS", default_value = "all")]
    include_inbound_cidrs: AddressSet,
    /// Sources that are not
    #[arg(long, value_name = "CIDRS", default_value = "none")]
    exclude_inbound_cidrs: AddressSet,
}

/// See the flag's help.
const LEFT_ALONE: [u16; 2] = [22, 15020];

/// The sidecar's, unless told otherwise.
const SIDECAR_UID: u32 = 1337;

/// What comes from outside is of no control group.
const OF_INBOUND: [&str; 5] = [
    "inbound_port",
    "include_inbound_ports",
    "exclude_inbound_ports",
    "include_inbound_cidrs",
    "exclude_inbound_cidrs",
];

impl TryFrom<Rules> for Settings {
    type Error = InterceptError;

    fn try_from(rules: Rules) -> Result<Self, InterceptError> {
        let (mode, exclude_uids) = match (&rules.only_cgroup, rules.inbound, rules.exclude_uid) {
            (Some(_), Some(found @ (Inbound::Redirect | Inbound::Tproxy)), _) => {
                let found = format!("{found:?}").to_lowercase();
                return Err(InterceptError::InboundOfCgroup { found });
            }
            (Some(_), _, uids) => (Inbound::Off, uids),
            (None, mode, uids) if uids.is_empty() => {
                (mode.unwrap_or(Inbound::Redirect), vec![SIDECAR_UID])
            }
            (None, mode, uids) => (mode.unwrap_or(Inbound::Redirect), uids),
        };
        if mode != Inbound::Off && rules.outbound_port == rules.inbound_port {
            let port = rules.outbound_port;
            return Err(InterceptError::SamePort { port });
        }
        let include = rules.include_inbound_ports;
        let is_named = |port| matches!(include, PortSet::Ranges(_)) && include.contains(port);
        let left_alone = LEFT_ALONE.into_iter().filter(|port| !is_named(*port));
        let exclude = left_alone.fold(rules.exclude_inbound_ports, PortSet::with);
        Ok(Self {
            outbound: Side {
                listener: rules.outbound_port,
                include_ports: rules.include_outbound_ports,
                exclude_ports: rules.exclude_outbound_ports,
                include_addresses: rules.include_outbound_cidrs,
                exclude_addresses: rules.exclude_outbound_cidrs,
            },
            inbound: Side {
                listener: rules.inbound_port,
                include_ports: include,
                exclude_ports: exclude,
                include_addresses: rules.include_inbound_cidrs,
                exclude_addresses: rules.exclude_inbound_cidrs,
            },
            calls: if rules.closed {
                Calls::Refused
            } else {
                Calls::HandedOver
            },
            mode,
            exclude_uids,
            only_cgroup: rules.only_cgroup,
        })
    }
}

/// Runs the command; `arguments` without the program's name, beginning with [`NAME`].
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(usage) => {
            // Nobody is left to tell when even this cannot be written.
            let _ = usage.print();
            let code = if usage.use_stderr() { 64 } else { 0 };
            return ExitCode::from(code);
        }
    };
    match execute(command.verb) {
        Ok(said) => {
            let _ = io::stdout().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            let _ = writeln!(io::stderr(), "usher-proxy intercept: {error}{cause}");
            ExitCode::from(error.code())
        }
    }
}

/// What to say on stdout.
fn execute(verb: Verb) -> Result<String, InterceptError> {
    match verb {
        Verb::Install { rules, dry_run } => {
            let settings = Settings::try_from(rules)?;
            let ruleset = ruleset::install(&settings);
            if dry_run {
                return Ok(ruleset);
            }
            if let Some(cgroup) = &settings.only_cgroup {
                cgroup.must_exist()?;
            }
            nft::load(&ruleset)?;
            Ok(format!("installed: table inet {}\n", settings.table()))
        }
        Verb::Remove {
            only_cgroup,
            dry_run: true,
        } => Ok(ruleset::remove(&table_of(only_cgroup.as_ref()))),
        Verb::Remove {
            only_cgroup,
            dry_run: false,
        } => remove(only_cgroup.as_ref()),
        Verb::Check { rules } => {
            let settings = Settings::try_from(rules)?;
            nft::check(&settings)?;
            let table = settings.table();
            Ok(format!("installed as asked for: table inet {table}\n"))
        }
        Verb::Enter {
            only_cgroup,
            command,
        } => enter(&only_cgroup, &command),
    }
}

fn remove(only: Option<&Cgroup>) -> Result<String, InterceptError> {
    let table = table_of(only);
    let mut said = if nft::is_installed(&table)? {
        nft::load(&ruleset::remove(&table))?;
        format!("removed: table inet {table}\n")
    } else {
        format!("nothing to remove: there is no table inet {table} in this network namespace\n")
    };
    if let Some(cgroup) = only {
        said.extend(cgroup.remove_ours());
        return Ok(said);
    }
    for (table, cgroup) in nft::of_cgroups()? {
        // nft may know the group by the way to another mount.
        let path = cgroup.filter(|path| {
            path.parse()
                .is_ok_and(|group: Cgroup| group.table() == table)
        });
        let how = match path {
            Some(cgroup) => format!("usher-proxy intercept remove --only-cgroup {cgroup}"),
            None => {
                format!("its control group is not seen from here; nft delete table inet {table}")
            }
        };
        let _ = writeln!(said, "kept: table inet {table} ({how})");
    }
    Ok(said)
}

#[cfg(test)]
mod tests;
