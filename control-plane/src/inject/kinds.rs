//! Which objects have pods, and where.

use super::{fault::join, yaml::Node};

/// Kinds with pods: API group, kind, and the way to the pod (or its template).
const KINDS: [(&str, &str, &[&str]); 7] = [
    ("", "Pod", &[]),
    ("apps", "Deployment", &["spec", "template"]),
    ("apps", "StatefulSet", &["spec", "template"]),
    ("apps", "DaemonSet", &["spec", "template"]),
    ("apps", "ReplicaSet", &["spec", "template"]),
    ("batch", "Job", &["spec", "template"]),
    (
        "batch",
        "CronJob",
        &["spec", "jobTemplate", "spec", "template"],
    ),
];

/// Where the first versions of some kinds of `apps` were.
const EARLIER_GROUP: &str = "extensions";

/// Lists in lists: nobody writes them, but they must not cost the stack.
const LISTS_MAX: usize = 8;

/// Who an object is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl std::fmt::Display for Identity {
    /// `Deployment bank/account`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        let name = self.name.as_deref().unwrap_or("(without a name)");
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{name}"),
            None => write!(f, " {name}"),
        }
    }
}

impl Identity {
    pub(super) fn of(object: &Node, kind: &str) -> Self {
        let field = |name| object.at(&["metadata", name]).and_then(Node::text);
        // A pod that is still to get its name says how it will begin.
        let generated = field("generateName").map(|name| name.trim_end_matches('-'));
        Self {
            kind: kind.to_owned(),
            namespace: field("namespace").map(str::to_owned),
            name: field("name").or(generated).map(str::to_owned),
        }
    }
}

/// An object with pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carrier {
    /// Where it is in its document: empty, or `items[0]`.
    pub(super) path: String,
    /// The same as numbers.
    items: Vec<usize>,
    pub(super) identity: Identity,
    /// From the object to the pod.
    pub(super) way: &'static [&'static str],
}

/// All objects with pods in a document, in order.
pub(super) fn carriers(root: &Node) -> Vec<Carrier> {
    let mut carriers = Vec::new();
    collect(root, None, &mut Vec::new(), &mut carriers);
    carriers
}

fn collect(
    object: &Node,
    of_list: Option<&str>,
    items: &mut Vec<usize>,
    carriers: &mut Vec<Carrier>,
) {
    // Items of a typed list (`PodList`) may leave out what they are.
    let kind = object.get("kind").and_then(Node::text).or(of_list);
    let Some(kind) = kind else { return };
    let version = object.get("apiVersion").and_then(Node::text);
    if let Some(of) = kind.strip_suffix("List") {
        let listed = object.get("items").map(Node::items).unwrap_or_default();
        if items.len() < LISTS_MAX {
            for (index, item) in listed.iter().enumerate() {
                items.push(index);
                collect(item, Some(of).filter(|of| !of.is_empty()), items, carriers);
                items.pop();
            }
        }
        return;
    }
    let is_ours = |group: &str| match version.map(group_of) {
        Some(found) => found == group || (group == "apps" && found == EARLIER_GROUP),
        None => of_list.is_some(),
    };
    let known = KINDS
        .iter()
        .find(|known| known.1 == kind && is_ours(known.0));
    if let Some((_, _, way)) = known {
        let path = items.iter().map(|index| format!("items[{index}]"));
        carriers.push(Carrier {
            path: path.collect::<Vec<_>>().join("."),
            items: items.clone(),
            identity: Identity::of(object, kind),
            way,
        });
    }
}

/// `apps` of `apps/v1`; the core group has no name.
fn group_of(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

impl Carrier {
    /// The object itself.
    pub(super) fn object<'a>(&self, root: &'a Node) -> Option<&'a Node> {
        let mut node = root;
        for index in &self.items {
            node = node.get("items")?.items().get(*index)?;
        }
        Some(node)
    }

    /// Its pod, or the template of its pods.
    pub(super) fn template_mut<'a>(&self, root: &'a mut Node) -> Option<&'a mut Node> {
        let mut node = root;
        for index in &self.items {
            node = node.get_mut("items")?.items_mut()?.get_mut(*index)?;
        }
        for key in self.way {
            node = node.get_mut(key)?;
        }
        Some(node)
    }

    /// The way from the document to the pod.
    pub(super) fn template_path(&self) -> String {
        join(&self.path, &self.way.join("."))
    }
}
