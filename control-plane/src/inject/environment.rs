//! Explicit mode: what tells a program to call its sidecar, and to let nobody else in.

use super::{
    admit::name,
    yaml::{Node, list, map, text},
};

/// As `usher run` sets them.
const VARIABLES: [(&str, &str); 4] = [
    ("HOST", "127.0.0.1"),
    ("http_proxy", "http://127.0.0.1:15001"),
    ("no_proxy", "localhost,127.0.0.1"),
    ("USHER_OUTBOUND", "127.0.0.1:15001"),
];

/// Sets what the container does not set itself; names that as `container/VARIABLE`.
pub(super) fn point_to_sidecar(container: &mut Node) -> Vec<String> {
    let named = name(container).unwrap_or_default().to_owned();
    let Some(all) = container
        .or_insert("env", || list([]))
        .and_then(Node::items_mut)
    else {
        return Vec::new();
    };
    let mut added = Vec::new();
    for (variable, value) in VARIABLES {
        if !all.iter().any(|one| name(one) == Some(variable)) {
            all.push(map([("name", text(variable)), ("value", text(value))]));
            added.push(format!("{named}/{variable}"));
        }
    }
    added
}

/// Takes away what was set.
pub(super) fn take_back(container: &mut Node, added: &[String]) {
    let named = name(container).unwrap_or_default().to_owned();
    let Some(all) = container.get_mut("env").and_then(Node::items_mut) else {
        return;
    };
    all.retain(|one| {
        let variable = name(one).unwrap_or_default();
        let is_ours = VARIABLES.iter().any(|known| known.0 == variable);
        !(is_ours && added.contains(&format!("{named}/{variable}")))
    });
}

/// A variable's value.
pub(super) fn of<'a>(container: &'a Node, variable: &str) -> Option<&'a str> {
    let all = container.get("env")?.items();
    let found = all.iter().find(|one| name(one) == Some(variable))?;
    found.get("value")?.text()
}
