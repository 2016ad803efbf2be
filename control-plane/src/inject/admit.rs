//! Which pods get no sidecar, and which must not be let in at all.

use super::{
    annotations::Wishes,
    fault::Fault,
    jobs::COPY,
    plan::Plan,
    settings::Style,
    sidecar::{CONTAINER, INTERCEPT, PORTS, UID},
    volumes::VOLUME_PREFIX,
    yaml::Node,
};

/// Sidecars of other meshes, by the names of their containers.
const OTHERS: [(&str, &str); 8] = [
    ("istio-proxy", "Istio"),
    ("linkerd-proxy", "Linkerd"),
    ("consul-dataplane", "Consul"),
    ("consul-connect-envoy-sidecar", "Consul"),
    ("envoy-sidecar", "Consul"),
    ("kuma-sidecar", "Kuma"),
    ("osm-envoy", "Open Service Mesh"),
    ("aws-appmesh-envoy", "App Mesh"),
];

/// Why a pod has no sidecar from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// `usher.dev/inject: "false"`.
    OptedOut,
    /// It has ours.
    HasOurs,
    /// It has another mesh's.
    HasAnother {
        /// Its container.
        container: String,
        /// Whose it is.
        mesh: &'static str,
    },
    /// It has the node's network.
    HostNetwork,
    /// It runs on Windows.
    Windows,
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OptedOut => f.write_str("its annotation usher.dev/inject says false"),
            Self::HasOurs => f.write_str(
                "it has our sidecar already; to change that, take it out first (usher inject --uninject)",
            ),
            Self::HasAnother { container, mesh } => {
                write!(f, "it has a sidecar of {mesh} already, the container {container}")
            }
            Self::HostNetwork => f.write_str(
                "hostNetwork: it has its node's network, whose connections are not its own to intercept",
            ),
            Self::Windows => f.write_str("its containers run on Windows, the sidecar on Linux"),
        }
    }
}

/// Whether there is our sidecar.
pub(super) fn has_ours(template: &Node) -> bool {
    containers(template).any(|(_, container)| name(container) == Some(CONTAINER))
}

/// Whether to leave it as it is.
pub(super) fn skip(template: &Node, wishes: &Wishes) -> Option<Skip> {
    if wishes.inject == Some(false) {
        return Some(Skip::OptedOut);
    }
    let another = containers(template).find_map(|(_, container)| {
        let name = name(container)?;
        let (_, mesh) = OTHERS.iter().find(|other| other.0 == name)?;
        Some(Skip::HasAnother {
            container: name.to_owned(),
            mesh,
        })
    });
    let spec = |way: &[&str]| template.get("spec").and_then(|spec| spec.at(way));
    let is_host = spec(&["hostNetwork"]).is_some_and(Node::is_true);
    let is_windows = spec(&["os", "name"]).and_then(Node::text) == Some("windows");
    another
        .or(is_host.then_some(Skip::HostNetwork))
        .or(is_windows.then_some(Skip::Windows))
}

/// Everything that keeps the sidecar from doing its work.
pub(super) fn refuse(template: &Node, plan: &Plan<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    as_sidecar(
        "spec.securityContext",
        template.at(&["spec", "securityContext"]),
        &mut faults,
    );
    for (path, container) in containers(template) {
        as_sidecar(
            &format!("{path}.securityContext"),
            container.get("securityContext"),
            &mut faults,
        );
        our_ports(&path, container, &mut faults);
        if let Some(taken) = name(container).filter(|name| [INTERCEPT, COPY].contains(name)) {
            faults.push(taken_name(&format!("{path}.name"), taken, container));
        }
        let restarts = container.get("restartPolicy").and_then(Node::text);
        if plan.style == Style::Ordered
            && restarts == Some("Always")
            && let Some(policy) = container.get("restartPolicy")
        {
            let allowed = "none beside a sidecar that is no native one: it would start before the sidecar; leave \
                           --no-native-sidecar out, as this cluster knows native sidecars";
            faults.push(Fault::of(format!("{path}.restartPolicy"), policy, allowed));
        }
    }
    let volumes = template.at(&["spec", "volumes"]).map(Node::items);
    for (index, volume) in volumes.unwrap_or_default().iter().enumerate() {
        if let Some(taken) = name(volume).filter(|name| name.starts_with(VOLUME_PREFIX)) {
            faults.push(taken_name(
                &format!("spec.volumes[{index}].name"),
                taken,
                volume,
            ));
        }
    }
    faults
}

fn taken_name(field: &str, taken: &str, named: &Node) -> Fault {
    let fault = Fault::new(
        field,
        format!("`{taken}`"),
        "another name: this one is for what belongs to the sidecar",
    );
    match named.get("name") {
        Some(name) => fault.at(name),
        None => fault,
    }
}

/// What runs as the sidecar's user is never intercepted.
fn as_sidecar(field: &str, context: Option<&Node>, faults: &mut Vec<Fault>) {
    let user = context.and_then(|context| context.get("runAsUser"));
    if let Some(user) = user.filter(|user| user.number() == Some(i64::from(UID))) {
        let allowed = format!(
            "another user: {UID} is the sidecar's, and what runs as it calls around the mesh"
        );
        faults.push(Fault::of(format!("{field}.runAsUser"), user, allowed));
    }
}

fn our_ports(path: &str, container: &Node, faults: &mut Vec<Fault>) {
    let ports = container.get("ports").map(Node::items).unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        for field in ["containerPort", "hostPort"] {
            let taken = port.get(field).filter(|node| {
                let number = node.number();
                PORTS.iter().any(|port| number == Some(i64::from(*port)))
            });
            if let Some(taken) = taken {
                let allowed = "another port: the sidecar listens on 15001, 15006 and 15020";
                faults.push(Fault::of(
                    format!("{path}.ports[{index}].{field}"),
                    taken,
                    allowed,
                ));
            }
        }
    }
}

/// All containers, by their paths.
pub(super) fn containers(template: &Node) -> impl Iterator<Item = (String, &Node)> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(move |kind| {
            let all = template.at(&["spec", kind]).map(Node::items);
            let all = all.unwrap_or_default().iter().enumerate();
            all.map(move |(index, container)| (format!("spec.{kind}[{index}]"), container))
        })
}

pub(super) fn name(named: &Node) -> Option<&str> {
    named.get("name").and_then(Node::text)
}
