//! What to intercept: each side's ports and addresses, and who is left alone.

use usher_config::value::Port;

use super::{AddressSet, Cgroup, PortSet, ruleset::TABLE};

/// Everything that the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Calls of the application; addresses are their destinations.
    pub outbound: Side,
    /// Calls to the application; addresses are their sources.
    pub inbound: Side,
    /// What becomes of the calls that are intercepted.
    pub calls: Calls,
    /// How inbound connections reach the sidecar.
    pub mode: Inbound,
    /// User ids whose calls are never intercepted: the sidecar's own must be among them, else it would call itself.
    pub exclude_uids: Vec<u32>,
    /// Only the calls of its processes are intercepted, and none from outside; `None`: those of the network namespace.
    pub only_cgroup: Option<Cgroup>,
}

impl Settings {
    /// The table that the rules are in.
    pub(super) fn table(&self) -> String {
        table_of(self.only_cgroup.as_ref())
    }
}

/// The table of a control group's rules, or of everybody's.
pub(super) fn table_of(cgroup: Option<&Cgroup>) -> String {
    cgroup.map_or_else(|| TABLE.to_owned(), Cgroup::table)
}

/// One direction. A connection is intercepted if its port and its address are included and neither is excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Where the sidecar listens.
    pub listener: Port,
    /// Ports that are intercepted.
    pub include_ports: PortSet,
    /// Ports that are not.
    pub exclude_ports: PortSet,
    /// Addresses that are intercepted.
    pub include_addresses: AddressSet,
    /// Addresses that are not.
    pub exclude_addresses: AddressSet,
}

/// What becomes of the application's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// The sidecar gets them.
    HandedOver,
    /// Nobody does, they are reset: whoever listens at the port of a sidecar that is gone is a stranger.
    Refused,
}

/// How inbound connections reach the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Inbound {
    /// Their destination is rewritten; the sidecar asks the kernel for the original one. Needs no privilege.
    Redirect,
    /// They are handed over as they are. Costs no address translation, but the sidecar needs CAP_NET_ADMIN.
    Tproxy,
    /// They go to the application, past the sidecar.
    Off,
}
