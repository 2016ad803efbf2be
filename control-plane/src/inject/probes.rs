//! The kubelet's probes and hooks, asked of the sidecar instead: the kubelet has no identity, so under `Strict` its own
//! would be refused, and an application that listens on loopback only never sees them. What the sidecar asks on its behalf
//! is in its own settings, by name; whoever calls it cannot choose.

use super::{
    admit::name,
    fault::Fault,
    sidecar::METRICS_PORT,
    yaml::{Content, Node, flow, map, read, text, word},
};

/// A container's field, and what it is called in the sidecar's settings.
const PROBES: [(&str, &str); 3] = [
    ("livenessProbe", "liveness"),
    ("readinessProbe", "readiness"),
    ("startupProbe", "startup"),
];
const HOOKS: [(&str, &str); 2] = [("postStart", "post-start"), ("preStop", "pre-stop")];
/// How the kubelet can ask, where it asks by network.
const HANDLERS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];

/// What has been rewritten.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    entries: Vec<(String, Node)>,
    pub(super) faults: Vec<Fault>,
    pub(super) remarks: Vec<String>,
}

impl Rewritten {
    /// The sidecar's setting; `None`: there is nothing to ask.
    pub(super) fn setting(&self) -> Option<String> {
        let entries = self.entries.iter();
        let all = map(entries.map(|(name, what)| (name.as_str(), what.clone())));
        // Kubernetes would take `$(NAME)` for a variable. A dollar sign can only be in a text.
        (!self.entries.is_empty()).then(|| flow(&all).replace('$', "\\u0024"))
    }

    /// Rewrites those of one container.
    pub(super) fn take(&mut self, path: &str, container: &mut Node) {
        let Some(named) = name(container).map(str::to_owned) else {
            return;
        };
        let ports = container.get("ports").cloned();
        for (field, which) in PROBES {
            if let Some(probe) = container.get_mut(field) {
                let asked = Asked {
                    field: format!("{path}.{field}"),
                    key: format!("{named}/{which}"),
                    path: format!("/probe/{named}/{which}"),
                    ports: ports.as_ref(),
                };
                self.one(asked, probe, true);
            }
        }
        for (field, which) in HOOKS {
            let hooks = container.get_mut("lifecycle");
            if let Some(hook) = hooks.and_then(|hooks| hooks.get_mut(field)) {
                let asked = Asked {
                    field: format!("{path}.lifecycle.{field}"),
                    key: format!("{named}/{which}"),
                    path: format!("/hook/{named}/{which}"),
                    ports: ports.as_ref(),
                };
                self.one(asked, hook, false);
            }
        }
    }

    fn one(&mut self, asked: Asked<'_>, probe: &mut Node, is_probe: bool) {
        let Some(handler) = HANDLERS
            .into_iter()
            .find(|handler| probe.get(handler).is_some())
        else {
            return;
        };
        let Some(mut question) = probe.get(handler).cloned() else {
            return;
        };
        if let Some(host) = question.get("host").and_then(Node::text) {
            let remark = format!(
                "{} is left as it is: it asks {host}, not the pod",
                asked.field
            );
            return self.remarks.push(remark);
        }
        let port = match port(&asked, handler, &question) {
            Ok(port) => port,
            Err(fault) => return self.faults.push(fault),
        };
        let written = question.get("port").cloned();
        question.put("port", word(port));
        let mut what = vec![(handler, question)];
        if let Some(written) = written.filter(|written| written.number().is_none()) {
            what.push(("portName", written));
        }
        if is_probe && let Some(seconds) = probe.get("timeoutSeconds") {
            what.push(("timeoutSeconds", seconds.clone()));
        }
        self.entries.push((asked.key, map(what)));
        let get = map([("path", text(asked.path)), ("port", word(METRICS_PORT))]);
        probe.replace(handler, "httpGet", get);
    }
}

struct Asked<'a> {
    field: String,
    /// In the sidecar's settings.
    key: String,
    /// Of the sidecar.
    path: String,
    /// The container's.
    ports: Option<&'a Node>,
}

/// As a number; the kubelet looks names up among the container's own ports.
fn port(asked: &Asked<'_>, handler: &str, question: &Node) -> Result<u16, Fault> {
    let field = format!("{}.{handler}.port", asked.field);
    let Some(written) = question.get("port") else {
        return Err(Fault::new(field, "nothing", "a port").at(question));
    };
    let number = |node: &Node| {
        let number = node.number().and_then(|number| u16::try_from(number).ok());
        number.filter(|number| *number > 0)
    };
    let ports = asked.ports.map(Node::items).unwrap_or_default();
    let named = || {
        let found = ports.iter().find(|port| name(port) == written.as_text())?;
        number(found.get("containerPort")?)
    };
    number(written)
        .or_else(|| written.as_text().and_then(|_| named()))
        .ok_or_else(|| {
            let names: Vec<&str> = ports.iter().filter_map(name).collect();
            let allowed = match names.as_slice() {
                [] => "a port from 1 to 65535; the container names none".to_owned(),
                names => format!(
                    "a port from 1 to 65535, or one that the container names: {}",
                    names.join(", ")
                ),
            };
            Fault::of(field, written, allowed)
        })
}

/// Puts back into a container what the sidecar's setting says of it.
pub(super) fn restore(setting: &str, container: &mut Node) {
    let Some(named) = name(container).map(str::to_owned) else {
        return;
    };
    let all = read(setting).ok().and_then(|read| read.root);
    let Some(all) = all else { return };
    for (field, which) in PROBES {
        if let (Some(what), Some(probe)) = (
            all.get(&format!("{named}/{which}")),
            container.get_mut(field),
        ) {
            put_back(what, probe);
        }
    }
    for (field, which) in HOOKS {
        let hooks = container.get_mut("lifecycle");
        let hook = hooks.and_then(|hooks| hooks.get_mut(field));
        if let (Some(what), Some(hook)) = (all.get(&format!("{named}/{which}")), hook) {
            put_back(what, hook);
        }
    }
}

fn put_back(what: &Node, probe: &mut Node) {
    let Some(handler) = HANDLERS
        .into_iter()
        .find(|handler| what.get(handler).is_some())
    else {
        return;
    };
    let Some(mut question) = what.get(handler).cloned() else {
        return;
    };
    forget_places(&mut question);
    if let Some(written) = what.get("portName").and_then(Node::text) {
        question.put("port", text(written));
    }
    probe.replace("httpGet", handler, question);
}

/// They are places in another text.
fn forget_places(node: &mut Node) {
    node.place = None;
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::Sequence(items) => items.iter_mut().for_each(forget_places),
        Content::Mapping(mapping) => {
            for entry in &mut mapping.0 {
                entry.place = None;
                forget_places(&mut entry.value);
            }
        }
    }
}
