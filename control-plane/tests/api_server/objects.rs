//! Objects by where the API has them, and what became of them since it remembers.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};

/// Where an object is: `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `v1`, `apps/v1`.
    pub(crate) version: String,
    pub(crate) plural: String,
    /// Empty: the object is the cluster's.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// Of an object of the whole cluster.
    pub(crate) fn of_cluster(version: &str, plural: &str, name: &str) -> Self {
        Self {
            version: version.to_owned(),
            plural: plural.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    fn of(object: &Value) -> Self {
        let text = |way: &str| {
            let text = object.pointer(way).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let kind = text("/kind").to_lowercase();
        let plural = match kind.strip_suffix('y') {
            Some(stem) if !stem.ends_with('a') => format!("{stem}ies"),
            _ if kind.ends_with(['s', 'h']) => format!("{kind}es"),
            _ => format!("{kind}s"),
        };
        Self {
            version: text("/apiVersion"),
            plural,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) key: Key,
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub(crate) what: &'static str,
    pub(crate) object: Value,
}

/// What a list or watch is about.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) version: String,
    pub(crate) plural: String,
    /// `None`: of all.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

impl Selection {
    pub(crate) fn has(&self, key: &Key) -> bool {
        let is = |asked: &Option<String>, found: &String| {
            asked.as_ref().is_none_or(|asked| asked == found)
        };
        key.version == self.version
            && key.plural == self.plural
            && is(&self.namespace, &key.namespace)
            && is(&self.name, &key.name)
    }
}

/// Why a write is not done, as Kubernetes says it.
pub(crate) enum Refusal {
    NotFound,
    Conflict,
    Unfit(String),
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    version: u64,
    /// What is remembered begins after this one.
    forgotten: u64,
    all: BTreeMap<Key, Value>,
    events: VecDeque<Event>,
    crossing: usize,
    /// Group, version, kind and plural of CustomResourceDefinitions.
    pub(crate) installed: Vec<(String, String, String)>,
    /// Of these plurals nobody may list or watch any; `PATCH bank`: none may be changed in this namespace.
    pub(crate) forbidden: Vec<String>,
    /// Of these plurals only the first page of a list is answered.
    pub(crate) broken_pages: Vec<String>,
    /// Between two lines of a watch.
    pub(crate) pause: Duration,
}

impl Objects {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.all.get(key)
    }

    pub(crate) fn put(&mut self, mut object: Value) -> Value {
        let key = Key::of(&object);
        let what = if self.all.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        }
        self.all.insert(key.clone(), object.clone());
        self.tell(key, what, object.clone());
        object
    }

    pub(crate) fn delete(&mut self, key: &Key) -> Option<Value> {
        let mut object = self.all.remove(key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(key.clone(), "DELETED", object.clone());
        Some(object)
    }

    /// A new object, or another version of one that is there, for the version that it names.
    pub(crate) fn write(
        &mut self,
        mut object: Value,
        namespace: &str,
        is_new: bool,
    ) -> Result<Value, Refusal> {
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let known = self.all.get(&Key::of(&object));
        let named = &object["metadata"]["resourceVersion"];
        match known {
            Some(_) if is_new => Err(Refusal::Conflict),
            None if !is_new => Err(Refusal::NotFound),
            Some(known) if !named.is_null() && *named != known["metadata"]["resourceVersion"] => {
                Err(Refusal::Conflict)
            }
            _ => Ok(self.put(object)),
        }
    }

    /// RFC 7396, for the version that it names; of a subresource only what is below that.
    pub(crate) fn merge(
        &mut self,
        key: &Key,
        body: &Value,
        subresource: Option<&str>,
    ) -> Result<Value, Refusal> {
        let known = self.all.get(key).ok_or(Refusal::NotFound)?;
        let named = &body["metadata"]["resourceVersion"];
        if !named.is_null() && *named != known["metadata"]["resourceVersion"] {
            return Err(Refusal::Conflict);
        }
        self.apply(key, body, subresource)
    }

    /// Server-side apply, as far as a test needs it: fields are merged, lists replaced; what is not there is made. Of the
    /// subresource only what is below `status` counts.
    pub(crate) fn apply(
        &mut self,
        key: &Key,
        body: &Value,
        subresource: Option<&str>,
    ) -> Result<Value, Refusal> {
        if self.crossing > 0 {
            self.crossing -= 1;
            return Err(Refusal::Conflict);
        }
        let known = self.all.get(key).cloned();
        let mut object = match (known, subresource) {
            (None, Some(_)) => return Err(Refusal::NotFound),
            (None, None) => json!({}),
            (Some(object), _) => object,
        };
        match subresource {
            Some(part) => {
                let before = std::mem::take(&mut object[part]);
                object[part] = merged(before, &body[part]);
            }
            None => object = merged(object, body),
        }
        let is_same = self.all.get(key) == Some(&object);
        Ok(if is_same { object } else { self.put(object) })
    }

    fn tell(&mut self, key: Key, what: &'static str, object: Value) {
        let version = self.version;
        self.events.push_back(Event {
            version,
            key,
            what,
            object,
        });
    }

    /// RFC 6902, as the API server applies it: to the object as it is now.
    pub(crate) fn patch(&mut self, key: &Key, operations: &[u8]) -> Result<Value, Refusal> {
        let mut object = self.all.get(key).ok_or(Refusal::NotFound)?.clone();
        if self.crossing > 0 {
            self.crossing -= 1;
            return Err(Refusal::Conflict);
        }
        let unfit = |error: &dyn std::error::Error| Refusal::Unfit(error.to_string());
        let patch: json_patch::Patch =
            serde_json::from_slice(operations).map_err(|error| unfit(&error))?;
        json_patch::patch(&mut object, &patch).map_err(|error| unfit(&error))?;
        Ok(self.put(object))
    }

    /// A page of a list, and how many there are in all.
    pub(crate) fn list(
        &self,
        selection: &Selection,
        (from, limit): (usize, usize),
    ) -> (Vec<Value>, usize) {
        let all = || self.all.iter().filter(|(key, _)| selection.has(key));
        let page = all().skip(from).take(limit);
        (
            page.map(|(_, object)| object.clone()).collect(),
            all().count(),
        )
    }

    /// What happened after `version`; `None`: that is no longer known.
    pub(crate) fn since(&self, version: u64, selection: &Selection) -> Option<Vec<Event>> {
        if version < self.forgotten {
            return None;
        }
        let first = self
            .events
            .partition_point(|event| event.version <= version);
        let later = self.events.range(first..);
        let selected = later.filter(|event| selection.has(&event.key));
        Some(selected.cloned().collect())
    }

    pub(crate) fn cross(&mut self, writes: usize) {
        self.crossing = writes;
    }

    pub(crate) fn forget(&mut self) {
        self.forgotten = self.version;
        self.events.clear();
    }
}

fn merged(before: Value, now: &Value) -> Value {
    match (before, now) {
        (Value::Object(mut before), Value::Object(now)) => {
            for (name, value) in now {
                let known = before.remove(name).unwrap_or_default();
                before.insert(name.clone(), merged(known, value));
            }
            Value::Object(before)
        }
        (_, now) => now.clone(),
    }
}
