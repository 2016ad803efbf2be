//! One object of the mesh's configuration, as the API server has it, and what it says. Pure, total.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use serde_json::{Map, Value};
use usher_config::{
    kind::{Choice as _, Kind, ObjectKey, PolicyKind, TargetKind, TargetRef},
    parse::{Mistake, Parsed, Rejected, api_file, parse_alone, unnamed, written},
    value::Name,
};

use super::{
    others::{GatewayName, is_other_class, ours_of_route},
    text::{made, text},
};

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// What somebody has written, as JSON.
    text: Box<str>,
    made: Option<SystemTime>,
    /// Of the API server: which version of it was written, and which of all it is.
    generation: i64,
    version: Box<str>,
    /// What of its status may be ours, as JSON; `None`: too much to keep.
    status: Option<Box<str>>,
    /// What it says, once somebody has asked; `Some(None)`: it is another controller's.
    said: Option<Option<Arc<Parsed>>>,
}

/// An object as it is in the API server, for whoever writes its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Current<'c> {
    pub(crate) namespace: &'c str,
    pub(crate) resource: &'c (String, String),
    pub(crate) generation: i64,
    pub(crate) version: String,
    pub(crate) spec: Value,
    pub(crate) status: Value,
}

/// Beyond it nothing is kept of a status, and none written.
const STATUS_BYTES_MAX: usize = 64 << 10;

/// Of an object's status, what may be ours.
fn status(object: &Value) -> Option<Box<str>> {
    let fields = ["conditions", "parents", "ancestors", "listeners"].map(|field| {
        let found = object.pointer(&format!("/status/{field}"))?;
        Some((field.to_owned(), found.clone()))
    });
    let kept: Map<String, Value> = fields.into_iter().flatten().collect();
    let text = Value::Object(kept).to_string();
    (text.len() <= STATUS_BYTES_MAX).then(|| text.into())
}

impl Document {
    /// Of an object.
    pub(crate) fn of(object: &Value) -> Self {
        Self {
            text: written(object).to_string().into(),
            made: made(object),
            generation: object
                .pointer("/metadata/generation")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            version: text(object, "/metadata/resourceVersion")
                .unwrap_or_default()
                .into(),
            status: status(object),
            said: None,
        }
    }

    /// The account that a Workload names, whatever else may be wrong with it.
    pub(crate) fn account(&self) -> Option<Name> {
        let object: Value = serde_json::from_str(&self.text).ok()?;
        text(&object, "/spec/serviceAccount")?.parse().ok()
    }

    /// What was asked of it before, when it meant the same.
    pub(crate) fn known_as(&mut self, before: Self) {
        self.said = before.said;
    }

    /// As it is in the API server. `resource`: in which version it is served, and its plural.
    pub(crate) fn current<'c>(
        &self,
        namespace: &'c str,
        resource: &'c (String, String),
    ) -> Option<Current<'c>> {
        let status = self.status.as_deref()?;
        let mut object: Value = serde_json::from_str(&self.text).ok()?;
        Some(Current {
            namespace,
            resource,
            generation: self.generation,
            version: self.version.to_string(),
            spec: object.get_mut("spec").map(Value::take).unwrap_or_default(),
            status: serde_json::from_str(status).ok()?,
        })
    }

    /// Whether it is the same as another one, but for when it was made.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// Other Gateways are others' now.
    pub(crate) fn ask_again(&mut self) {
        self.said = None;
    }

    /// Whether it is a Gateway of another controller.
    pub(crate) fn is_other_gateway(&self) -> bool {
        serde_json::from_str::<Value>(&self.text).is_ok_and(|gateway| is_other_class(&gateway))
    }

    /// What it says; `None`: it is another controller's.
    pub(crate) fn said(
        &mut self,
        (kind, namespace, name): (Kind, &str, &str),
        others: &BTreeSet<GatewayName>,
    ) -> Option<&Arc<Parsed>> {
        let (text, made) = (&self.text, self.made);
        let said = self.said.get_or_insert_with(|| {
            let of = (kind, namespace, name);
            // One that is nested too deep can be written, and not read again.
            let Ok(object) = serde_json::from_str(text) else {
                let unreadable = Parsed::unreadable(api_file(kind, namespace, name));
                return Some(Arc::new(known(unreadable, of)));
            };
            let object = as_kind(kind, object);
            let object = match kind {
                Kind::Gateway => (!is_other_class(&object)).then_some(object)?,
                Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute => {
                    ours_of_route(namespace, object, others)?
                }
                _ => object,
            };
            let mut parsed = known(parse_alone(&api_file(kind, namespace, name), &object), of);
            let key = key((kind, namespace, name));
            parsed.since.extend(key.zip(made));
            Some(Arc::new(parsed))
        });
        said.as_ref()
    }
}

/// In lists objects need not say what they are.
fn as_kind(kind: Kind, mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        let version = fields.entry("apiVersion");
        version.or_insert_with(|| kind.api_version().into());
        let word = fields.entry("kind");
        word.or_insert_with(|| kind.word().into());
    }
    object
}

/// As the mesh names it; `None`: it has no name here.
pub(super) fn key((kind, namespace, name): (Kind, &str, &str)) -> Option<ObjectKey> {
    let namespace = match namespace {
        "" => "default",
        namespace => namespace,
    };
    Some(ObjectKey {
        kind,
        namespace: namespace.parse().ok()?,
        name: name.parse().ok()?,
    })
}

/// Whose it is, the API server has said: nothing may be in it that nobody knows of, as in a file. What cannot be read at all
/// is an object with mistakes, and closes what a policy like it could be for; one whose name is none here (it has a dot)
/// is not in force, and closes as well.
fn known(mut parsed: Parsed, of: (Kind, &str, &str)) -> Parsed {
    for rejected in &mut parsed.rejected {
        rejected.named = true;
    }
    if std::mem::take(&mut parsed.unreadable).is_empty() {
        return parsed;
    }
    let (kind, namespace, name) = of;
    let file = api_file(kind, namespace, name);
    let home = || Some((kind, namespace.parse().ok()?));
    let stand_in = || unnamed(home()?, &file, 0);
    let Some(key) = key(of).or_else(stand_in) else {
        return parsed;
    };
    let title = key.to_string();
    let nameless = parsed.mistakes.iter_mut().filter(|one| one.key.is_none());
    nameless.for_each(|mistake: &mut Mistake| {
        (mistake.key, mistake.object) = (Some(key.clone()), Some(title.clone()));
    });
    parsed.rejected.push(Rejected {
        targets: all_of(kind, &key.namespace),
        key,
        named: true,
        file,
        line: 1,
    });
    parsed
}

/// All that a policy of that kind could be for.
fn all_of(kind: Kind, namespace: &Name) -> Vec<TargetRef> {
    let is_policy = PolicyKind::ALL.iter().any(|(word, _)| *word == kind.word());
    let target = is_policy.then(|| TargetRef {
        kind: TargetKind::Namespace,
        name: namespace.clone(),
        section_name: None,
    });
    target.into_iter().collect()
}

/// The name of an object, as the API server has it; `None`: it has none.
pub(crate) fn name_of(object: &Value) -> Option<(String, String)> {
    let name = text(object, "/metadata/name")?;
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    Some((namespace.to_owned(), name.to_owned()))
}
