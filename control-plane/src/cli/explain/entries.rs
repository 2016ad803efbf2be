//! Gateways in `usher explain`: ways in, and what stands before them.

use super::{DIM, Field, HEAD, WARN, conditions, fields, paint, taken, title, with_place};
use crate::whatif::explain::{Entry, GatewayExplained};

pub(super) fn of_gateway(explained: &GatewayExplained) -> Vec<String> {
    let mut lines = vec![title(&explained.object, explained.at.as_ref())];
    let listeners = explained.listeners.iter();
    lines.extend(listeners.map(|listener| format!("  listener {listener}")));
    let identities = explained.identities.iter();
    lines.extend(identities.map(|id| format!("  runs as {id}")));
    if explained.identities.is_empty() {
        let nobody = "  nobody may run it: there is no Workload of its name";
        lines.push(paint(WARN, nobody));
    }
    lines.push(paint(
        HEAD,
        "whose tokens it believes, and what it counts, where no route says more",
    ));
    lines.extend(guards(&explained.guards));
    if explained.entries.is_empty() {
        lines.push(paint(WARN, "no route is attached to it: it answers 404"));
    }
    lines.extend(entries(&explained.entries));
    lines.extend(conditions(&explained.conditions));
    lines
}

/// Also that there is nothing: whoever looks for a guard must not have to guess.
pub(super) fn guards(all: &[Field]) -> Vec<String> {
    if all.is_empty() {
        let nothing = "no AuthenticationPolicy and no RateLimitPolicy holds here";
        return vec![format!("  {}", paint(DIM, nothing))];
    }
    fields(all)
}

/// Each with what it is for, where it leads, and past what.
pub(super) fn entries(all: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    if !all.is_empty() {
        let head = "from outside, in the order in which rules are asked";
        lines.push(paint(HEAD, head));
    }
    for entry in all {
        let gateway = with_place(&entry.gateway, entry.at.as_ref());
        let rule = format!("{} rule {}", entry.route, entry.rule);
        let rule = with_place(&rule, entry.rule_at.as_ref());
        lines.push(format!("  {gateway}, listener {}: {rule}", entry.listener));
        let takes = entry.matches.iter();
        lines.extend(takes.map(|matches| format!("    takes {matches}")));
        lines.extend(entry.taken.iter().map(taken));
        let backends = entry.backends.iter();
        lines.extend(backends.map(|backend| format!("    to {backend}")));
        let guards = guards(&entry.guards).into_iter();
        lines.extend(guards.map(|line| format!("  {line}")));
    }
    lines
}
