//! What a pod's owner says of its sidecar: annotations `usher.dev/…`, each read into a type. One that cannot be read keeps
//! the pod out: it may have been meant to exclude a port, and nobody reads warnings of an admission.

mod value;

use std::time::Duration;

use usher_config::{parse::nearest, value::Name};

use super::{
    fault::Fault,
    settings::Mode,
    yaml::{Node, Scalar},
};

pub(super) use value::{ApplicationPort, Quantity};

/// Before all names.
pub const PREFIX: &str = "usher.dev/";

/// What this module writes itself, about what it has done.
pub(super) const INJECTED: &str = "usher.dev/injected";

/// All that may be said, in the order of `--help`: the name without [`PREFIX`], what its value looks like, and what it
/// is for.
pub const ANNOTATIONS: [(&str, &str, &str); 22] = [
    (
        "inject",
        "true|false",
        "false: no sidecar; true: refuse instead of skipping where there can be none",
    ),
    (
        "service",
        "NAME",
        "the service [default: the label app.kubernetes.io/name or app, else the workload's name]",
    ),
    (
        "application-port",
        "PORT|none",
        "the port that the mesh calls [default: the first TCP port of a container]",
    ),
    (
        "mode",
        "transparent|explicit",
        "whether the kernel hands connections over, or the application calls the sidecar",
    ),
    (
        "native-sidecar",
        "true|false",
        "an init container with restartPolicy: Always, or the first of the containers",
    ),
    (
        "rewrite-probes",
        "true|false",
        "false: the kubelet's probes and hooks go to the application as written",
    ),
    (
        "include-outbound-ports",
        "PORTS",
        "destination ports that are intercepted: all, none, or 80,8000-8999 [default: all]",
    ),
    (
        "exclude-outbound-ports",
        "PORTS",
        "destination ports that are not [default: none]",
    ),
    (
        "include-outbound-cidrs",
        "CIDRS",
        "destinations that are intercepted: all, none, or 10.0.0.0/8,fd00::/8 [default: all]",
    ),
    (
        "exclude-outbound-cidrs",
        "CIDRS",
        "destinations that are not [default: none]",
    ),
    (
        "include-inbound-ports",
        "PORTS",
        "ports of the pod that are intercepted [default: all]",
    ),
    (
        "exclude-inbound-ports",
        "PORTS",
        "ports of the pod that are not: they are open to plaintext [default: none]",
    ),
    (
        "include-inbound-cidrs",
        "CIDRS",
        "sources that are intercepted [default: all]",
    ),
    (
        "exclude-inbound-cidrs",
        "CIDRS",
        "sources that are not: they may speak plaintext [default: none]",
    ),
    (
        "tcp",
        "LOCAL=SERVICE:PORT,...",
        "local listeners for opaque TCP, such as 127.0.0.1:5432=postgres.bank:5432",
    ),
    ("cpu-request", "CPU", "of the sidecar [default: 20m]"),
    ("cpu-limit", "CPU", "of the sidecar [default: none]"),
    ("memory-request", "BYTES", "of the sidecar [default: 32Mi]"),
    ("memory-limit", "BYTES", "of the sidecar [default: 256Mi]"),
    (
        "log-level",
        "LEVEL",
        "error, warn, info, debug, or target=level,... [default: info]",
    ),
    (
        "access-log",
        "on|off",
        "a line on stdout for each request [default: on]",
    ),
    (
        "drain-grace",
        "DURATION",
        "the longest that a drain waits [default: terminationGracePeriodSeconds less 5s]",
    ),
];

/// What a pod's annotations say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) inject: Option<bool>,
    pub(super) service: Option<Name>,
    pub(super) application_port: Option<ApplicationPort>,
    pub(super) mode: Option<Mode>,
    pub(super) native: Option<bool>,
    pub(super) rewrite_probes: Option<bool>,
    /// Flags of `usher-proxy intercept install` and their values.
    pub(super) rules: Vec<(&'static str, String)>,
    pub(super) tcp: Option<String>,
    pub(super) cpu: Bounds,
    pub(super) memory: Bounds,
    pub(super) log_level: Option<String>,
    pub(super) access_log: Option<bool>,
    pub(super) drain_grace: Option<Duration>,
}

/// `resources` of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) request: Option<Quantity>,
    pub(super) limit: Option<Quantity>,
}

/// Reads the annotations of a pod template, or says all that is wrong with them.
pub(super) fn wishes(template: &Node) -> Result<Wishes, Vec<Fault>> {
    let mut reader = Reader {
        wishes: Wishes::default(),
        faults: Vec::new(),
    };
    for (name, key, value) in ours(template) {
        reader.take(name, key, value);
    }
    if reader.faults.is_empty() {
        Ok(reader.wishes)
    } else {
        Err(reader.faults)
    }
}

/// Annotations of a workload that belong on its pods: there nobody would look at them.
pub(super) fn misplaced(object: &Node, template: &str) -> Vec<Fault> {
    let faults = ours(object).filter(|(name, ..)| ANNOTATIONS.iter().any(|known| known.0 == *name));
    let faults = faults.map(|(name, key, value)| {
        let found = format!("the annotation {PREFIX}{name} on the workload");
        let there = field(key);
        let allowed = format!("it on the pods: {template}.{there}");
        Fault::new(there, found, allowed).at(value)
    });
    faults.collect()
}

/// Ours of an object's annotations, by their names without the prefix; what we write ourselves is left out.
fn ours(object: &Node) -> impl Iterator<Item = (&str, &Scalar, &Node)> {
    let annotations = object.at(&["metadata", "annotations"]);
    let entries = annotations.map(Node::entries).unwrap_or_default().iter();
    entries.filter_map(|entry| {
        let name = entry.key.text.strip_prefix(PREFIX)?;
        (entry.key.text != INJECTED).then_some((name, &entry.key, &entry.value))
    })
}

/// With the places of annotations, where faults are about some.
pub(super) fn placed(mut faults: Vec<Fault>, template: &Node) -> Vec<Fault> {
    for fault in faults.iter_mut().filter(|fault| fault.place.is_none()) {
        let mut about = ours(template);
        let about = about.find(|(_, key, _)| fault.field == field(key));
        fault.place = about.and_then(|(_, _, value)| value.position());
    }
    faults
}

fn field(key: &Scalar) -> String {
    let short: String = key.text.chars().take(80).collect();
    format!("metadata.annotations[{short}]")
}

struct Reader {
    wishes: Wishes,
    faults: Vec<Fault>,
}

impl Reader {
    fn take(&mut self, name: &str, key: &Scalar, node: &Node) {
        let known = ANNOTATIONS.iter().find(|known| known.0 == name);
        let Some((name, ..)) = known else {
            let names = ANNOTATIONS.iter().map(|known| known.0);
            let near = nearest(name, names.clone()).map(|near| format!("{PREFIX}{near}"));
            let allowed = format!(
                "{PREFIX} and one of {}",
                names.collect::<Vec<_>>().join(", ")
            );
            let found = format!("unknown annotation `{}`", key.text);
            let fault = Fault::new(field(key), found, allowed).nearest(near);
            return self.faults.push(fault.at(node));
        };
        let is_quotable = node.scalar().is_some_and(|scalar| !scalar.is_text());
        let Some(text) = node.as_text() else {
            let allowed = match is_quotable && !node.is_nothing() {
                true => "text: annotations are strings, so this takes quotes",
                false => "text",
            };
            return self.faults.push(Fault::of(field(key), node, allowed));
        };
        if let Err(allowed) = self.read(name, text.trim()) {
            self.faults.push(Fault::of(field(key), node, allowed));
        }
    }

    /// The error says what is allowed.
    fn read(&mut self, name: &'static str, text: &str) -> Result<(), String> {
        let wishes = &mut self.wishes;
        match name {
            "inject" => wishes.inject = Some(value::flag(text)?),
            "service" => wishes.service = Some(value::name(text)?),
            "application-port" => wishes.application_port = Some(value::application_port(text)?),
            "mode" => wishes.mode = Some(value::mode(text)?),
            "native-sidecar" => wishes.native = Some(value::flag(text)?),
            "rewrite-probes" => wishes.rewrite_probes = Some(value::flag(text)?),
            "tcp" => wishes.tcp = Some(value::forwards(text)?),
            "cpu-request" => wishes.cpu.request = Some(value::cpu(text)?),
            "cpu-limit" => wishes.cpu.limit = Some(value::cpu(text)?),
            "memory-request" => wishes.memory.request = Some(value::memory(text)?),
            "memory-limit" => wishes.memory.limit = Some(value::memory(text)?),
            "log-level" => wishes.log_level = Some(value::log_level(text)?),
            "access-log" => wishes.access_log = Some(value::switch(text)?),
            "drain-grace" => wishes.drain_grace = Some(value::duration(text)?),
            _ if name.ends_with("-ports") => wishes.rules.push((name, value::ports(text)?)),
            _ => wishes.rules.push((name, value::cidrs(text)?)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
