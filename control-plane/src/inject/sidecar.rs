//! The containers that are put into a pod: the sidecar, and the one before it that installs the kernel's rules.

use usher_config::value::format_duration;

use super::{
    annotations::Bounds,
    jobs,
    plan::Plan,
    settings::{Mode, PROGRAM, Proof, Style},
    volumes::{self, ROOT_FILE, STATE_DIR, TOKEN_FILE},
    yaml::{Node, list, map, text, word},
};

/// The sidecar.
pub(super) const CONTAINER: &str = "usher-proxy";
/// What installs the kernel's rules, and ends.
pub(super) const INTERCEPT: &str = "usher-intercept";
/// Its user, whose own connections are not intercepted.
pub(super) const UID: u32 = 1337;
/// Where the sidecar listens: outbound, inbound, and for whoever asks how it is.
pub(super) const PORTS: [u16; 3] = [15001, 15006, 15020];
/// `/metrics`, `/ready`, `/live`, `/probe` and `/hook`. Nobody asks for `/live`: a sidecar that is started anew because
/// its node is short of CPU takes its pod's traffic with it.
pub(super) const METRICS_PORT: u16 = 15020;
/// What is asked of the application instead of the kubelet.
pub(super) const PROBES: &str = "USHER_PROXY_PROBES";

/// As Kubernetes spells it, and in thousandths.
const CPU_REQUEST: (&str, u128) = ("20m", 20);
const MEMORY_REQUEST: (&str, u128) = ("32Mi", 32_000 << 20);
/// Room for a mesh of thousands of services, and thousands of connections.
const MEMORY_LIMIT: (&str, u128) = ("256Mi", 256_000 << 20);
/// Where nothing bounds its CPU, one thread for each of the node's would be waste.
const WORKERS: u32 = 2;
/// Seconds in which it has to find the control plane and get an identity before it is started again.
const START_SECONDS: u32 = 300;

/// `probes`: what to ask of the application, by name; `None`: nothing.
pub(super) fn sidecar(plan: &Plan<'_>, probes: Option<String>, ends_with: &[String]) -> Node {
    let mut entries = vec![
        ("name", text(CONTAINER)),
        ("image", text(&plan.settings.image)),
    ];
    if let Some(policy) = plan.settings.pull_policy {
        entries.push(("imagePullPolicy", text(policy.as_str())));
    }
    if plan.style == Style::Native {
        entries.push(("restartPolicy", text("Always")));
    }
    let port = |name, number: u16| {
        map([
            ("name", text(name)),
            ("containerPort", word(number)),
            ("protocol", text("TCP")),
        ])
    };
    let ports = list([
        port("usher-inbound", 15006),
        port("usher-metrics", METRICS_PORT),
    ]);
    entries.extend([
        ("command", list([text(PROGRAM)])),
        ("env", environment(plan, probes, ends_with)),
        ("ports", ports),
        (
            "startupProbe",
            ours(
                "/ready",
                &[("periodSeconds", 1), ("failureThreshold", START_SECONDS)],
            ),
        ),
        (
            "readinessProbe",
            ours("/ready", &[("periodSeconds", 5), ("timeoutSeconds", 3)]),
        ),
        ("lifecycle", lifecycle(plan)),
        ("resources", resources(plan)),
        ("securityContext", security(UID, None)),
        ("volumeMounts", volumes::mounts(plan)),
    ]);
    map(entries)
}

/// Installs the rules, as root with one capability; `None`: there are none.
pub(super) fn intercept(plan: &Plan<'_>) -> Option<Node> {
    if plan.mode == Mode::Explicit {
        return None;
    }
    let mut arguments = vec![text("intercept"), text("install")];
    for (flag, value) in &plan.wishes.rules {
        arguments.push(text(format!("--{flag}={value}")));
    }
    let mut entries = vec![
        ("name", text(INTERCEPT)),
        ("image", text(&plan.settings.init_image)),
    ];
    if let Some(policy) = plan.settings.pull_policy {
        entries.push(("imagePullPolicy", text(policy.as_str())));
    }
    entries.extend([
        ("command", list([text(PROGRAM)])),
        ("args", list(arguments)),
        ("resources", bounds("10m", "16Mi", &[("memory", "64Mi")])),
        ("securityContext", security(0, Some("NET_ADMIN"))),
    ]);
    Some(map(entries))
}

fn environment(plan: &Plan<'_>, probes: Option<String>, ends_with: &[String]) -> Node {
    let set = |name: &str, value: Node| map([("name", text(name)), ("value", value)]);
    let ask = |name: &str, field: &str| {
        let field = map([("fieldPath", text(field))]);
        map([
            ("name", text(name)),
            ("valueFrom", map([("fieldRef", field)])),
        ])
    };
    let settings = plan.settings;
    let mut all = vec![
        set("USHER_PROXY_SERVICE", text(&plan.service)),
        match &settings.namespace {
            Some(namespace) => set("USHER_PROXY_NAMESPACE", text(namespace.as_str())),
            None => ask("USHER_PROXY_NAMESPACE", "metadata.namespace"),
        },
    ];
    if plan.is_instance {
        all.push(ask("USHER_PROXY_INSTANCE", "metadata.name"));
    }
    all.extend([
        set("USHER_PROXY_SERVICE_ACCOUNT", text(&plan.service_account)),
        set("USHER_PROXY_CONTROL_PLANE", text(&settings.control_plane)),
        set("USHER_PROXY_TOKEN_FILE", text(TOKEN_FILE)),
        set("USHER_PROXY_STATE_DIR", text(STATE_DIR)),
        set(
            "USHER_PROXY_METRICS",
            text(format!("0.0.0.0:{METRICS_PORT}")),
        ),
        set(
            "USHER_PROXY_DRAIN_GRACE",
            text(format_duration(plan.drain_grace)),
        ),
    ]);
    let wishes = &plan.wishes;
    let workers = wishes.cpu.limit.is_none().then(|| WORKERS.to_string());
    let off = (wishes.access_log == Some(false)).then(|| "off".to_owned());
    let transparent = (plan.mode == Mode::Transparent).then(|| "redirect".to_owned());
    // A join token says itself whom it may be shown to.
    let roots = (settings.proof == Proof::ServiceAccount).then(|| ROOT_FILE.to_owned());
    let optional = [
        ("USHER_PROXY_ROOT_FILE", roots),
        ("USHER_PROXY_TRANSPARENT", transparent),
        (
            "USHER_PROXY_APPLICATION_PORT",
            plan.application_port.map(|port| port.to_string()),
        ),
        ("USHER_PROXY_TCP", wishes.tcp.clone()),
        ("USHER_PROXY_WORKERS", workers),
        ("USHER_PROXY_ACCESS_LOG", off),
        ("USHER_LOG", wishes.log_level.clone()),
        (PROBES, probes),
        ("USHER_PROXY_ENDS_WITH", jobs::ends_with(plan, ends_with)),
    ];
    for (name, value) in optional {
        all.extend(value.map(|value| set(name, text(value))));
    }
    list(all)
}

fn ours(path: &str, numbers: &[(&'static str, u32)]) -> Node {
    let get = map([("path", text(path)), ("port", word(METRICS_PORT))]);
    let numbers = numbers.iter().map(|(name, number)| (*name, word(number)));
    map([("httpGet", get)].into_iter().chain(numbers))
}

/// `preStop` runs when the pod begins to end, also in a native sidecar, which is only asked to end after all others have.
fn lifecycle(plan: &Plan<'_>) -> Node {
    let run = |words: &[&str]| {
        let command = std::iter::once(PROGRAM).chain(words.iter().copied());
        map([("exec", map([("command", list(command.map(text)))]))])
    };
    let drain = ("preStop", run(&["drain"]));
    match plan.style {
        Style::Native => map([drain]),
        // The next container starts when this has ended.
        Style::Ordered => map([("postStart", run(&["wait"])), drain]),
    }
}

fn resources(plan: &Plan<'_>) -> Node {
    let (cpu, memory) = (&plan.wishes.cpu, &plan.wishes.memory);
    let requests = [
        ("cpu", request(cpu, CPU_REQUEST)),
        ("memory", request(memory, MEMORY_REQUEST)),
    ];
    let limits = [
        ("cpu", limit(cpu, None)),
        ("memory", limit(memory, Some(MEMORY_LIMIT))),
    ];
    let limits = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name, text(limit?))));
    let requests = requests.map(|(name, request)| (name, text(request)));
    map([("requests", map(requests)), ("limits", map(limits))])
}

/// A default is no reason to refuse what was asked for: beside a limit that is lower it is the limit.
fn request(bounds: &Bounds, (default, thousandths): (&str, u128)) -> String {
    match (&bounds.request, &bounds.limit) {
        (Some(request), _) => request.text.clone(),
        (None, Some(limit)) if limit.thousandths < thousandths => limit.text.clone(),
        (None, _) => default.to_owned(),
    }
}

/// Likewise, beside a request that is higher it is the request.
fn limit(bounds: &Bounds, default: Option<(&str, u128)>) -> Option<String> {
    match (&bounds.limit, &bounds.request, default) {
        (Some(limit), _, _) => Some(limit.text.clone()),
        (None, Some(request), Some((_, thousandths))) if request.thousandths > thousandths => {
            Some(request.text.clone())
        }
        (None, _, default) => default.map(|(default, _)| default.to_owned()),
    }
}

/// Of the containers that only prepare.
pub(super) fn bounds(cpu: &str, memory: &str, limits: &[(&'static str, &str)]) -> Node {
    let requests = map([("cpu", text(cpu)), ("memory", text(memory))]);
    let limits = map(limits.iter().map(|(name, limit)| (*name, text(*limit))));
    map([("requests", requests), ("limits", limits)])
}

/// As little as there is; `capability`: the one that is left. Written out: the pod's own context may say otherwise.
pub(super) fn security(user: u32, capability: Option<&str>) -> Node {
    let dropped = ("drop", list([text("ALL")]));
    let capabilities = match capability {
        Some(capability) => map([dropped, ("add", list([text(capability)]))]),
        None => map([dropped]),
    };
    map([
        ("runAsUser", word(user)),
        ("runAsGroup", word(user)),
        ("runAsNonRoot", word(user != 0)),
        ("privileged", word(false)),
        ("allowPrivilegeEscalation", word(false)),
        ("readOnlyRootFilesystem", word(true)),
        ("capabilities", capabilities),
        ("seccompProfile", map([("type", text("RuntimeDefault"))])),
    ])
}
