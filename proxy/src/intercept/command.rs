//! The command line of `usher-proxy intercept`.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use usher_config::value::Port;

use super::{
    AddressSet, Inbound, PortSet, Settings, Side,
    nft::{self, InterceptError},
    ruleset::{self, TABLE},
};

/// The word that `usher-proxy` hands over at.
pub const NAME: &str = "intercept";

const AFTER_HELP: &str = "\
Examples:
  usher-proxy intercept install
      every TCP connection of this network namespace goes through the sidecar of uid 1337
  usher-proxy intercept install --exclude-outbound-cidrs 10.96.0.1 --include-inbound-ports 8080
      but not those to 10.96.0.1, and of those from outside only those to port 8080
  usher-proxy intercept check
      exit code 0 if exactly these rules are installed

The sidecar must run with --transparent, as a user of --exclude-uid. Loopback is never intercepted, nor is anything
that others send to the sidecar's own listener, or to a link-local address. Only new connections are affected. Rules
do not outlive a reboot: install them before the sidecar starts. UDP is not intercepted.

Exit codes: 0 done, 1 check: not installed, or with other settings, 64 usage, 69 nft is not installed, 71 the kernel
refused the rules, 77 not permitted.";

#[derive(Debug, Parser)]
#[command(
    name = "usher-proxy intercept",
    bin_name = "usher-proxy intercept",
    about = "Makes the kernel hand connections to the sidecar (nftables)",
    after_help = AFTER_HELP
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
        /// Print what would be given to `nft -f` instead
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare what is installed with these settings
    Check {
        #[command(flatten)]
        rules: Rules,
    },
}

#[derive(Debug, Args)]
struct Rules {
    /// User id whose connections are left alone: the sidecar's; repeatable
    #[arg(long, value_name = "UID", default_value = "1337")]
    exclude_uid: Vec<u32>,
    /// How connections from outside reach the sidecar; tproxy needs CAP_NET_ADMIN in the sidecar too
    #[arg(long, value_name = "HOW", value_enum, default_value = "redirect")]
    inbound: Inbound,
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

impl From<Rules> for Settings {
    fn from(rules: Rules) -> Self {
        let include = rules.include_inbound_ports;
        let is_named = |port| matches!(include, PortSet::Ranges(_)) && include.contains(port);
        let left_alone = LEFT_ALONE.into_iter().filter(|port| !is_named(*port));
        let exclude = left_alone.fold(rules.exclude_inbound_ports, PortSet::with);
        Self {
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
            mode: rules.inbound,
            exclude_uids: rules.exclude_uid,
        }
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
            let _ = writeln!(io::stderr(), "usher-proxy intercept: {error}");
            ExitCode::from(error.code())
        }
    }
}

/// What to say on stdout.
fn execute(verb: Verb) -> Result<String, InterceptError> {
    match verb {
        Verb::Install { rules, dry_run } => {
            let ruleset = ruleset::install(&rules.into());
            if dry_run {
                return Ok(ruleset);
            }
            nft::load(&ruleset)?;
            Ok(format!("installed: table inet {TABLE}\n"))
        }
        Verb::Remove { dry_run: true } => Ok(ruleset::remove(TABLE)),
        Verb::Remove { dry_run: false } if !nft::is_installed()? => Ok(format!(
            "nothing to remove: there is no table inet {TABLE} in this network namespace\n"
        )),
        Verb::Remove { dry_run: false } => {
            nft::load(&ruleset::remove(TABLE))?;
            Ok(format!("removed: table inet {TABLE}\n"))
        }
        Verb::Check { rules } => {
            nft::check(&rules.into())?;
            Ok(format!("installed as asked for: table inet {TABLE}\n"))
        }
    }
}

#[cfg(test)]
mod tests;
