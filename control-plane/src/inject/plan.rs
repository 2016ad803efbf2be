//! What this pod gets: the mesh's settings, what its annotations say, and what it says of itself, made one.

use std::time::Duration;

use usher_config::value::{Name, format_duration};

use super::{
    annotations::{ApplicationPort, PREFIX, Wishes},
    fault::Fault,
    kinds::Identity,
    settings::{Mode, Settings, Style},
    yaml::Node,
};

/// Everything that is decided about a pod before it is changed.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) settings: &'a Settings,
    pub(super) wishes: Wishes,
    pub(super) style: Style,
    pub(super) mode: Mode,
    pub(super) service: String,
    pub(super) service_account: String,
    /// Whether the pod's name is a label, which an instance's has to be.
    pub(super) is_instance: bool,
    pub(super) application_port: Option<u16>,
    pub(super) drain_grace: Duration,
    pub(super) restarts: Restarts,
}

/// What happens when a container of the pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarts {
    /// It starts again: the pod never completes.
    Always,
    /// Only if it failed.
    OnFailure,
    /// Never.
    Never,
}

/// Kubernetes's default for `terminationGracePeriodSeconds`.
const TERMINATION_GRACE: i64 = 30;
/// What is left of it for the application's last calls and our own end.
const AFTERWARDS: i64 = 5;

impl<'a> Plan<'a> {
    /// Decides, or says what cannot be meant. `template` has containers.
    pub(super) fn new(
        template: &Node,
        owner: &Identity,
        wishes: Wishes,
        settings: &'a Settings,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let style = match wishes.native {
            Some(true) => Style::Native,
            Some(false) => Style::Ordered,
            None => settings.style,
        };
        let mode = wishes.mode.unwrap_or(settings.mode);
        if mode == Mode::Explicit
            && let Some((name, _)) = wishes.rules.first()
        {
            faults.push(Fault::new(
                annotation(name),
                "a rule about what is intercepted, in explicit mode",
                format!("it with {PREFIX}mode: transparent only"),
            ));
        }
        for (kind, bounds) in [("cpu", &wishes.cpu), ("memory", &wishes.memory)] {
            if let (Some(request), Some(limit)) = (&bounds.request, &bounds.limit)
                && request.thousandths > limit.thousandths
            {
                faults.push(Fault::new(
                    annotation(&format!("{kind}-request")),
                    format!("`{}`", request.text),
                    format!("at most {PREFIX}{kind}-limit, which is {}", limit.text),
                ));
            }
        }
        let drain_grace = drain_grace(template, &wishes).unwrap_or_else(|fault| {
            faults.push(fault);
            Duration::ZERO
        });
        let service = service(template, owner, (&wishes, settings)).unwrap_or_else(|fault| {
            faults.push(fault);
            String::new()
        });
        let application_port = application_port(template, &wishes);
        if mode == Mode::Transparent
            && let Some(port) = application_port
        {
            faults.extend(left_open(port, &wishes));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let spec = |name: &str| template.at(&["spec", name]).and_then(Node::text);
        let account = spec("serviceAccountName").or(spec("serviceAccount"));
        Ok(Self {
            settings,
            style,
            mode,
            service,
            service_account: account.unwrap_or("default").to_owned(),
            is_instance: owner
                .name
                .as_deref()
                .is_some_and(|name| !name.contains('.')),
            application_port,
            drain_grace,
            restarts: restarts(template),
            wishes,
        })
    }

    /// Whether containers have to say when they have ended, because the sidecar would run on.
    pub(super) fn ends_with_containers(&self) -> bool {
        self.style == Style::Ordered && self.restarts != Restarts::Always
    }
}

pub(super) fn annotation(name: &str) -> String {
    format!("metadata.annotations[{PREFIX}{name}]")
}

fn restarts(template: &Node) -> Restarts {
    match template.at(&["spec", "restartPolicy"]).and_then(Node::text) {
        Some("Never") => Restarts::Never,
        Some("OnFailure") => Restarts::OnFailure,
        Some(_) | None => Restarts::Always,
    }
}

/// The pod's own name for itself: an annotation, then the labels that people use, then the workload's name. Where Services that
/// select it are known, and none has that name, the first of those.
fn service(
    template: &Node,
    owner: &Identity,
    (wishes, settings): (&Wishes, &Settings),
) -> Result<String, Fault> {
    if let Some(service) = &wishes.service {
        return Ok(service.to_string());
    }
    let label = |name| {
        template
            .at(&["metadata", "labels", name])
            .and_then(Node::text)
    };
    let controller = controller(template);
    let found = label("app.kubernetes.io/name")
        .or(label("app"))
        .or(controller.as_deref())
        .or(owner.name.as_deref());
    let selecting = &settings.services;
    let is_one = selecting.iter().any(|name| found == Some(name.as_str()));
    if let Some(first) = selecting.first().filter(|_| !is_one) {
        return Ok(first.to_string());
    }
    match found.map(|name| (name, name.parse::<Name>())) {
        Some((_, Ok(name))) => Ok(name.to_string()),
        Some((name, Err(error))) => Err(Fault::new(
            annotation("service"),
            format!(
                "nothing, and `{name}`, the name of the workload or its label app, is no service's"
            ),
            error.allowed,
        )),
        None => Err(Fault::new(
            annotation("service"),
            "nothing, and neither a label app nor a name",
            "the name of the service that these pods are",
        )),
    }
}

/// Of a pod, the workload that made it: its ReplicaSet is named after it and the template's hash.
fn controller(template: &Node) -> Option<String> {
    let owners = template.at(&["metadata", "ownerReferences"])?.items();
    let owner = owners
        .iter()
        .find(|owner| owner.get("controller").is_some_and(Node::is_true))?;
    let name = owner.get("name")?.text()?;
    let hash = template.at(&["metadata", "labels", "pod-template-hash"]);
    let hash = hash.and_then(Node::text).map(|hash| format!("-{hash}"));
    let workload = hash.and_then(|hash| name.strip_suffix(&hash));
    Some(workload.unwrap_or(name).to_owned())
}

fn application_port(template: &Node, wishes: &Wishes) -> Option<u16> {
    match wishes.application_port {
        Some(ApplicationPort::Port(port)) => return Some(port.get()),
        Some(ApplicationPort::None) => return None,
        None => {}
    }
    let containers = template.at(&["spec", "containers"])?.items();
    let mut ports = containers
        .iter()
        .flat_map(|container| container.get("ports").map(Node::items).unwrap_or_default());
    ports.find_map(|port| {
        let protocol = port.get("protocol").and_then(Node::text);
        let number = port.get("containerPort").and_then(Node::number)?;
        let number = u16::try_from(number).ok().filter(|number| *number > 0)?;
        matches!(protocol, None | Some("TCP")).then_some(number)
    })
}

/// An application that is reachable around its sidecar is refused by the sidecar itself, at each start.
fn left_open(port: u16, wishes: &Wishes) -> Option<Fault> {
    let (name, ports) = wishes.rules.iter().find(|(name, ports)| match *name {
        "include-inbound-ports" => !has(ports, port),
        "exclude-inbound-ports" => has(ports, port),
        _ => false,
    })?;
    Some(Fault::new(
        annotation(name),
        format!(
            "`{ports}`, which leaves the port {port} of the application to whoever calls it in plaintext"
        ),
        format!(
            "ports with {port} intercepted, or {PREFIX}application-port: none for what the mesh does not call"
        ),
    ))
}

/// `ports` has been read before.
fn has(ports: &str, port: u16) -> bool {
    let number = |text: &str| text.parse::<u16>().unwrap_or_default();
    ports == "all"
        || ports.split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            (number(first)..=number(last)).contains(&port)
        })
}

/// Ends before the kubelet kills.
fn drain_grace(template: &Node, wishes: &Wishes) -> Result<Duration, Fault> {
    let field = template.at(&["spec", "terminationGracePeriodSeconds"]);
    let whole = match field {
        None => TERMINATION_GRACE,
        Some(node) => node
            .number()
            .filter(|seconds| *seconds >= 0)
            .ok_or_else(|| {
                Fault::of(
                    "spec.terminationGracePeriodSeconds",
                    node,
                    "a number of seconds",
                )
            })?,
    };
    let left = if whole > 2 * AFTERWARDS {
        whole - AFTERWARDS
    } else {
        whole / 2
    };
    let left = Duration::from_secs(u64::try_from(left).unwrap_or_default().max(1));
    match wishes.drain_grace {
        None => Ok(left),
        Some(asked) if asked <= left => Ok(asked),
        Some(asked) => Err(Fault::new(
            annotation("drain-grace"),
            format!("`{}`", format_duration(asked)),
            format!(
                "at most {}, because terminationGracePeriodSeconds is {whole}; a longer one takes more of that",
                format_duration(left)
            ),
        )),
    }
}
