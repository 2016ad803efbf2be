//! Objects by where the API has them, and what became of them since it remembers.

use std::collections::{BTreeMap, VecDeque};

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

    pub(crate) fn list(&self, selection: &Selection) -> Vec<Value> {
        let all = self.all.iter().filter(|(key, _)| selection.has(key));
        all.map(|(_, object)| object.clone()).collect()
    }

    /// What happened after `version`; `None`: that is no longer known.
    pub(crate) fn since(&self, version: u64, selection: &Selection) -> Option<Vec<Event>> {
        if version < self.forgotten {
            return None;
        }
        let later = self.events.iter().filter(|event| event.version > version);
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
