//! One pod, into the mesh and out of it. Pure: what comes out depends on the pod and the settings alone.

use super::{
    admit::{self, Skip, name},
    annotations::{self, INJECTED},
    environment,
    fault::Fault,
    jobs,
    kinds::Identity,
    plan::Plan,
    probes::{self, Rewritten},
    settings::{Mode, Settings, Style},
    sidecar::{self, CONTAINER, INTERCEPT, METRICS_PORT},
    volumes::{self, VOLUME_PREFIX},
    yaml::{Node, flow, list, map, read, text},
};

/// What became of a pod that was to have a sidecar.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has one now, and what its owner may want to know.
    Injected(Vec<String>),
    /// It is as it was.
    Skipped(Skip),
}

/// Puts the sidecar in. `template`: a pod, or the template of pods.
///
/// # Errors
/// Everything that is wrong with it; it may then be half changed.
pub(super) fn inject(
    template: &mut Node,
    owner: &Identity,
    settings: &Settings,
) -> Result<Verdict, Vec<Fault>> {
    if admit::has_ours(template) {
        return Ok(Verdict::Skipped(Skip::HasOurs));
    }
    let wishes = annotations::wishes(template)?;
    if let Some(skip) = admit::skip(template, &wishes) {
        if wishes.inject != Some(true) || skip == Skip::OptedOut {
            return Ok(Verdict::Skipped(skip));
        }
        let allowed = "a pod that can have a sidecar, or no such annotation, which skips this one";
        let found = format!("`true`, but {skip}");
        let fault = Fault::new(super::plan::annotation("inject"), found, allowed);
        return Err(annotations::placed(vec![fault], template));
    }
    shape(template)?;
    let plan = Plan::new(template, owner, wishes, settings);
    let plan = plan.map_err(|faults| annotations::placed(faults, template))?;
    let mut faults = admit::refuse(template, &plan);
    let mut rewritten = Rewritten::default();
    let mut ends_with = Vec::new();
    each_container(template, |path, container, is_init| {
        let restarts = container.get("restartPolicy").and_then(Node::text);
        if is_init && restarts != Some("Always") {
            return;
        }
        if plan.wishes.rewrite_probes != Some(false) {
            rewritten.take(path, container);
        }
        if !is_init && plan.ends_with_containers() {
            ends_with.extend(name(container).map(str::to_owned));
            faults.extend(jobs::wrap(path, container).err());
        }
    });
    faults.append(&mut rewritten.faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut remarks = std::mem::take(&mut rewritten.remarks);
    let mut added = Vec::new();
    if plan.mode == Mode::Explicit {
        each_container(template, |_, container, _| {
            added.extend(environment::point_to_sidecar(container));
        });
    }
    let sidecar = sidecar::sidecar(&plan, rewritten.setting(), &ends_with);
    place(template, &plan, sidecar);
    let annotated = annotate(template, &plan, &mut remarks);
    let mut state = map([("style", text(plan.style.as_str()))]);
    for (field, added) in [
        (
            "annotations",
            annotated.into_iter().map(text).collect::<Vec<_>>(),
        ),
        ("environment", added.into_iter().map(text).collect()),
    ] {
        if !added.is_empty() {
            state.put(field, list(added));
        }
    }
    mark(template, &state);
    if plan.mode == Mode::Explicit && plan.application_port.is_some() {
        remarks.push("explicit mode: the application has to listen on 127.0.0.1 only, else its sidecar does not start".to_owned());
    }
    if plan.application_port.is_none() {
        remarks.push("no container names a TCP port: the mesh does not call this workload (usher.dev/application-port)".to_owned());
    }
    Ok(Verdict::Injected(remarks))
}

/// What would not be taken by any API server cannot be changed with sense.
fn shape(template: &Node) -> Result<(), Vec<Fault>> {
    let fault = |field: &str, node: Option<&Node>, allowed: &str| {
        Err(vec![match node {
            Some(node) => Fault::of(field, node, allowed),
            None => Fault::new(field, "nothing", allowed).at(template),
        }])
    };
    let Some(spec) = template.get("spec").filter(|spec| spec.is_mapping()) else {
        return fault("spec", template.get("spec"), "the pod's spec");
    };
    let containers = spec.get("containers");
    if containers.is_none_or(|containers| containers.items().is_empty()) {
        return fault("spec.containers", containers, "at least one container");
    }
    for (field, node) in [
        ("spec.initContainers", spec.get("initContainers")),
        ("spec.volumes", spec.get("volumes")),
    ] {
        if node.is_some_and(|node| !node.is_sequence()) {
            return fault(field, node, "a list");
        }
    }
    for (path, container) in admit::containers(template) {
        if name(container).is_none_or(|name| name.parse::<usher_config::value::Name>().is_err()) {
            let allowed = "a container with a name: a-z, 0-9 and '-'";
            return fault(
                &format!("{path}.name"),
                container.get("name").or(Some(container)),
                allowed,
            );
        }
        for field in ["volumeMounts", "env"] {
            let node = container.get(field);
            if node.is_some_and(|node| !node.is_sequence()) {
                return fault(&format!("{path}.{field}"), node, "a list");
            }
        }
    }
    for field in ["metadata", "labels", "annotations"] {
        let node = match field {
            "metadata" => template.get(field),
            _ => template.at(&["metadata", field]),
        };
        if node.is_some_and(|node| !node.is_mapping()) {
            return fault(field, node, "a mapping");
        }
    }
    Ok(())
}

/// Calls with each container's path, and whether it is an init container.
fn each_container(template: &mut Node, mut act: impl FnMut(&str, &mut Node, bool)) {
    let Some(spec) = template.get_mut("spec") else {
        return;
    };
    for (kind, is_init) in [("initContainers", true), ("containers", false)] {
        let containers = spec.get_mut(kind).and_then(Node::items_mut);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            act(&format!("spec.{kind}[{index}]"), container, is_init);
        }
    }
}

/// Rules before a native sidecar, and both before everything of the application; with an ordinary one, rules after what
/// the application prepares with: there is nobody yet who would take its calls.
fn place(template: &mut Node, plan: &Plan<'_>, sidecar: Node) {
    let Some(spec) = template.get_mut("spec") else {
        return;
    };
    let mut before = Vec::new();
    if plan.ends_with_containers() {
        before.push(jobs::copy(plan.settings));
    }
    before.extend(sidecar::intercept(plan));
    let (front, containers) = match plan.style {
        Style::Native => (true, None),
        Style::Ordered => (false, Some(sidecar.clone())),
    };
    if front {
        before.push(sidecar);
    }
    if !before.is_empty()
        && let Some(all) = spec
            .or_insert("initContainers", || list([]))
            .and_then(Node::items_mut)
    {
        let at = if front { 0 } else { all.len() };
        all.splice(at..at, before);
    }
    if let Some(all) = spec.get_mut("containers").and_then(Node::items_mut) {
        all.splice(0..0, containers);
    }
    if let Some(all) = spec
        .or_insert("volumes", || list([]))
        .and_then(Node::items_mut)
    {
        all.extend(volumes::volumes(plan));
    }
}

/// What points a Prometheus to the sidecar.
const SCRAPE: [(&str, &str); 3] = [
    ("prometheus.io/scrape", "true"),
    ("prometheus.io/port", "15020"),
    ("prometheus.io/path", "/metrics"),
];

/// Which container `kubectl logs` and `exec` mean; by default the first, which an ordered sidecar is.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Names what was added.
fn annotate(template: &mut Node, plan: &Plan<'_>, remarks: &mut Vec<String>) -> Vec<&'static str> {
    let first = template.at(&["spec", "containers"]).map(Node::items);
    let mut containers = first.unwrap_or_default().iter().filter_map(name);
    let first = containers
        .find(|name| *name != CONTAINER)
        .map(str::to_owned);
    let metadata = template.or_insert("metadata", || map([]));
    let annotations = metadata.and_then(|metadata| metadata.or_insert("annotations", || map([])));
    let Some(annotations) = annotations else {
        return Vec::new();
    };
    let mut added = Vec::new();
    if SCRAPE.iter().any(|(key, _)| annotations.get(key).is_some()) {
        remarks.push(format!(
            "prometheus.io annotations are the application's: scrape the sidecar's port {METRICS_PORT} by a PodMonitor"
        ));
    } else {
        for (key, value) in SCRAPE {
            annotations.put(key, text(value));
            added.push(key);
        }
    }
    if plan.style == Style::Ordered
        && annotations.get(DEFAULT_CONTAINER).is_none()
        && let Some(first) = first
    {
        annotations.put(DEFAULT_CONTAINER, text(first));
        added.push(DEFAULT_CONTAINER);
    }
    added
}

/// For selectors a label, for whoever takes the sidecar out again what cannot be seen otherwise.
fn mark(template: &mut Node, state: &Node) {
    let Some(metadata) = template.get_mut("metadata") else {
        return;
    };
    if let Some(annotations) = metadata.get_mut("annotations") {
        annotations.put(INJECTED, text(flow(state)));
    }
    if let Some(labels) = metadata.or_insert("labels", || map([])) {
        labels.put(INJECTED, text("true"));
    }
}

/// Takes the sidecar out; `false`: there is none of ours.
pub(super) fn uninject(template: &mut Node) -> bool {
    if !admit::has_ours(template) {
        return false;
    }
    let state = take_marks(template);
    let added = |field: &str| -> Vec<String> {
        let named = state.as_ref().and_then(|state| state.get(field));
        let named = named.map(Node::items).unwrap_or_default().iter();
        named.filter_map(Node::text).map(str::to_owned).collect()
    };
    let setting = admit::containers(template)
        .find_map(|(_, container)| environment::of(container, sidecar::PROBES));
    let setting = setting.map(str::to_owned);
    let (annotations, variables) = (added("annotations"), added("environment"));
    if let Some(metadata) = template.get_mut("metadata") {
        if let Some(all) = metadata.get_mut("annotations") {
            let known =
                |key: &str| key == DEFAULT_CONTAINER || SCRAPE.iter().any(|one| one.0 == key);
            for key in annotations.iter().filter(|key| known(key)) {
                all.take(key);
            }
        }
        drop_empty(metadata, &["annotations", "labels"]);
    }
    drop_empty(template, &["metadata"]);
    let Some(spec) = template.get_mut("spec") else {
        return true;
    };
    let ours = [CONTAINER, INTERCEPT, jobs::COPY];
    for kind in ["initContainers", "containers"] {
        if let Some(all) = spec.get_mut(kind).and_then(Node::items_mut) {
            all.retain(|container| !name(container).is_some_and(|name| ours.contains(&name)));
        }
    }
    without_ours(spec, "volumes");
    drop_empty(spec, &["initContainers", "volumes"]);
    each_container(template, |_, container, _| {
        if let Some(setting) = &setting {
            probes::restore(setting, container);
        }
        jobs::unwrap(container);
        environment::take_back(container, &variables);
        without_ours(container, "volumeMounts");
        drop_empty(container, &["volumeMounts", "env"]);
    });
    true
}

fn take_marks(template: &mut Node) -> Option<Node> {
    let metadata = template.get_mut("metadata")?;
    if let Some(labels) = metadata.get_mut("labels") {
        labels.take(INJECTED);
    }
    let state = metadata.get_mut("annotations")?.take(INJECTED)?;
    read(state.text()?).ok()?.root
}

fn without_ours(node: &mut Node, field: &str) {
    if let Some(all) = node.get_mut(field).and_then(Node::items_mut) {
        all.retain(|one| !name(one).is_some_and(|name| name.starts_with(VOLUME_PREFIX)));
    }
}

/// Collections that are empty say as much as none.
fn drop_empty(node: &mut Node, fields: &[&str]) {
    for field in fields {
        let is_empty = |node: &Node| {
            (node.is_mapping() || node.is_sequence())
                && node.entries().is_empty()
                && node.items().is_empty()
        };
        if node.get(field).is_some_and(is_empty) {
            node.take(field);
        }
    }
}
