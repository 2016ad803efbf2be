//! Settings → nftables rules. Pure.
//!
//! One table with a chain for each side; a control group's has only the outbound one, for its sockets alone. `return` in
//! a base chain leaves the packet to whatever comes after us, so rules of other tables keep their say. The text first adds the table and deletes it: as one transaction it then
//! replaces what was there, whether that was nothing, the same, or an older version's.

use std::{fmt::Write as _, net::Ipv4Addr};

use usher_config::value::Port;

use super::{AddressSet, Calls, Inbound, PortSet, Settings, Side};

/// The table's name, in the family `inet`: one set of rules for IPv4 and IPv6.
pub const TABLE: &str = "usher-intercept";

/// A connection of this machine to any port of this address is handed over as one from outside to that port would be,
/// whoever's it is: so a sidecar finds out whether anything is. On loopback, which is never intercepted otherwise; without
/// the rules it reaches whatever listens on all addresses.
pub const WITNESS: Ipv4Addr = Ipv4Addr::new(127, 0, 15, 6);

/// A connection to this address is handed over as an application's unless its user is excluded: so a sidecar finds out
/// whether it is, whatever ports and destinations the rules are about.
pub const WITNESS_OF_UID: Ipv4Addr = Ipv4Addr::new(127, 0, 15, 1);

/// A connection to this address is handed over by the rules of its control group, never by everybody's: so a command
/// finds out that its own group is known.
pub const WITNESS_OF_CGROUP: Ipv4Addr = Ipv4Addr::new(127, 0, 15, 2);

/// Where `check` loads what should be, to compare with what is. Dormant: never applied to a packet.
pub(super) const SCRATCH: &str = "usher-intercept-check";

/// Priority of destination NAT (`dstnat`), by its number: nft knows the name only for some hooks.
const DSTNAT: i32 = -100;
/// Before everybody's: the first rule that translates a connection's destination decides.
const DSTNAT_OF_CGROUP: i32 = DSTNAT - 1;
/// Priority of `mangle`, where TPROXY belongs.
const MANGLE: i32 = -150;

/// Leaves packets of connections that were there before us to whom they belong. Connection tracking that starts only
/// with our rules takes the next packet of each, whoever sends it, for the first of a new connection
/// (`nf_conntrack_tcp_loose`): redirected, it would be answered with a reset.
const RUNNING: &str = "tcp flags & (fin | syn | rst | ack) != syn return";

/// Leaves what a server answers to whoever called it: only calls are refused.
const ANSWERS: &str = "ct direction reply return";

/// The whole transaction that installs `settings`.
pub fn install(settings: &Settings) -> String {
    let name = settings.table();
    format!("{}{}", remove(&name), table(settings, &name, ""))
}

/// As [`install`], into the dormant table.
pub(super) fn rehearse(settings: &Settings) -> String {
    let dormant = "\tflags dormant;\n";
    format!("{}{}", remove(SCRATCH), table(settings, SCRATCH, dormant))
}

/// Removes the table, whether it is there or not.
pub fn remove(name: &str) -> String {
    format!("table inet {name}\ndelete table inet {name}\n")
}

fn table(settings: &Settings, name: &str, flags: &str) -> String {
    let mut text = format!("table inet {name} {{\n{flags}");
    outbound(&mut text, settings);
    match settings.mode {
        Inbound::Off => {}
        Inbound::Redirect => inbound(&mut text, &settings.inbound, Verdict::Redirect),
        Inbound::Tproxy => inbound(&mut text, &settings.inbound, Verdict::Tproxy),
    }
    text.push_str("}\n");
    text
}

fn outbound(text: &mut String, settings: &Settings) {
    let side = &settings.outbound;
    let verdict = match settings.calls {
        Calls::HandedOver => Verdict::Redirect,
        Calls::Refused => Verdict::Refuse,
    };
    text.push_str("\tchain outbound {\n");
    if settings.only_cgroup.is_none() {
        begin(text, DSTNAT, verdict);
    }
    match settings.mode {
        Inbound::Off => {}
        Inbound::Redirect | Inbound::Tproxy => witness(text, &settings.inbound),
    }
    // The sidecar's own calls: intercepted, they would come back to it for ever.
    let uids: Vec<String> = settings.exclude_uids.iter().map(u32::to_string).collect();
    if !uids.is_empty() {
        rule(
            text,
            &format!("meta skuid {{ {} }} return", uids.join(", ")),
        );
    }
    let witnesses = match settings.only_cgroup {
        None => WITNESS_OF_UID.to_string(),
        Some(_) => format!("{{ {WITNESS_OF_UID}, {WITNESS_OF_CGROUP} }}"),
    };
    for then in verdict.statements(side.listener) {
        rule(
            text,
            &format!("ip daddr {witnesses} meta l4proto tcp {then}"),
        );
    }
    // What stays on this machine's loopback is not the mesh's.
    rule(text, "ip daddr 127.0.0.0/8 return");
    rule(text, "ip6 daddr ::1 return");
    // A link-local address means something only together with an interface, which is lost on the way to the sidecar.
    rule(text, "ip6 daddr fe80::/10 return");
    body(text, side, "daddr", verdict);
    text.push_str("\t}\n");
    if let Some(cgroup) = &settings.only_cgroup {
        text.push_str("\tchain of-cgroup {\n");
        begin(text, DSTNAT_OF_CGROUP, verdict);
        let level = cgroup.level();
        // Said of what is in it, not of what is not: a packet without a socket is nobody's.
        rule(
            text,
            &format!("socket cgroupv2 level {level} \"{cgroup}\" goto outbound"),
        );
        text.push_str("\t}\n");
    }
}

/// Of a chain for connections that this machine makes.
fn begin(text: &mut String, priority: i32, verdict: Verdict) {
    let (kind, priority, running) = match verdict {
        Verdict::Redirect | Verdict::Tproxy => ("nat", priority, RUNNING),
        // Each packet, before any translation: one that was there already is not to reach the next one at its port either.
        Verdict::Refuse => ("filter", MANGLE, ANSWERS),
    };
    rule(
        text,
        &format!("type {kind} hook output priority {priority}; policy accept;"),
    );
    rule(text, "meta l4proto != tcp return");
    rule(text, running);
}

/// The ports of the inbound side, whose sources have no meaning here.
fn witness(text: &mut String, inbound: &Side) {
    if let Some(ports) = inbound.exclude_ports.elements() {
        rule(
            text,
            &format!("ip daddr {WITNESS} tcp dport {ports} return"),
        );
    }
    let included = match (&inbound.include_ports, &inbound.exclude_ports) {
        (_, PortSet::All) => None,
        (PortSet::All, PortSet::Ranges(_)) => Some("meta l4proto tcp".to_owned()),
        (some, PortSet::Ranges(_)) => some.elements().map(|ports| format!("tcp dport {ports}")),
    };
    if let Some(included) = included {
        let listener = inbound.listener;
        rule(
            text,
            &format!("ip daddr {WITNESS} {included} redirect to :{listener}"),
        );
    }
}

fn inbound(text: &mut String, side: &Side, verdict: Verdict) {
    let (kind, priority) = match verdict {
        Verdict::Redirect => ("nat", DSTNAT),
        Verdict::Tproxy | Verdict::Refuse => ("filter", MANGLE),
    };
    let _ = write!(
        text,
        "\tchain inbound {{\n\t\ttype {kind} hook prerouting priority {priority}; policy accept;\n"
    );
    rule(text, "meta l4proto != tcp return");
    match verdict {
        Verdict::Redirect => rule(text, RUNNING),
        // No translation: each packet has to find its way here.
        Verdict::Tproxy | Verdict::Refuse => {}
    }
    rule(text, "iifname \"lo\" return");
    // What this machine only forwards (to its containers, say) is not for its application.
    rule(text, "fib daddr type != local return");
    // Other sidecars call ours directly.
    rule(text, &format!("tcp dport {} return", side.listener));
    body(text, side, "saddr", verdict);
    text.push_str("\t}\n");
}

/// How a packet gets to the sidecar, or that none does.
#[derive(Clone, Copy)]
enum Verdict {
    Redirect,
    Tproxy,
    Refuse,
}

impl Verdict {
    /// What becomes of a packet that is to be handed over, rule by rule.
    fn statements(self, listener: Port) -> Vec<String> {
        match self {
            Self::Redirect => vec![format!("redirect to :{listener}")],
            Self::Tproxy => vec![
                format!("tproxy to :{listener} accept"),
                // Where no sidecar listens the rule before lets go of the packet, and it would reach the application:
                // dropped, a beginning is sent again, until there is one.
                "tcp flags & (fin | syn | rst | ack) == syn drop".to_owned(),
            ],
            Self::Refuse => vec!["reject with tcp reset".to_owned()],
        }
    }
}

/// Exclusions, then what is included. `address`: the one that the side's sets are about.
fn body(text: &mut String, side: &Side, address: &str, verdict: Verdict) {
    let every_port = side.exclude_ports == PortSet::All;
    let everybody = side.exclude_addresses == AddressSet::All;
    if every_port || everybody {
        return;
    }
    if let Some(ports) = side.exclude_ports.elements() {
        rule(text, &format!("tcp dport {ports} return"));
    }
    let (ipv4, ipv6) = side.exclude_addresses.elements();
    for (family, set) in [("ip", ipv4), ("ip6", ipv6)] {
        if let Some(set) = set {
            rule(text, &format!("{family} {address} {set} return"));
        }
    }
    let ports = match &side.include_ports {
        PortSet::All => "meta l4proto tcp".to_owned(),
        some => match some.elements() {
            Some(ports) => format!("tcp dport {ports}"),
            None => return,
        },
    };
    let (ipv4, ipv6) = side.include_addresses.elements();
    let from =
        |(family, set): (&str, Option<String>)| Some(format!("{family} {address} {} ", set?));
    let from: Vec<String> = match side.include_addresses {
        AddressSet::All => vec![String::new()],
        AddressSet::Blocks { .. } => [("ip", ipv4), ("ip6", ipv6)]
            .into_iter()
            .filter_map(from)
            .collect(),
    };
    for from in from {
        for then in verdict.statements(side.listener) {
            rule(text, &format!("{from}{ports} {then}"));
        }
    }
}

fn rule(text: &mut String, rule: &str) {
    let _ = writeln!(text, "\t\t{rule}");
}

#[cfg(test)]
mod tests;
