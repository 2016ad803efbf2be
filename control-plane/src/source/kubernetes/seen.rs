//! Objects as they come over the wire: of each only what is kept, taken out while the next one is still text.
//!
//! A list of thousands of pods is megabytes, and as values ten times as much. So a list's items are read one after the other,
//! and each is forgotten but for its [`Item`]. Whatever an object holds, it is read: one that is odd must not hide the others.

use std::{borrow::Cow, fmt::Debug, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::cluster::{ApiName, Document, Item, Pod, Slice, name_of};

/// What is kept of objects of one kind.
pub(super) trait Keep: Debug + Clone + Send + Sync + 'static {
    /// Of this one.
    fn keep(name: &ApiName, object: &Value) -> Item;
}

/// Pods.
#[derive(Debug, Clone)]
pub(super) struct Pods;
/// EndpointSlices.
#[derive(Debug, Clone)]
pub(super) struct Slices;
/// Services.
#[derive(Debug, Clone)]
pub(super) struct Services;
/// The mesh's configuration.
#[derive(Debug, Clone)]
pub(super) struct Documents;

impl Keep for Pods {
    fn keep(_: &ApiName, object: &Value) -> Item {
        Pod::of(object).map_or(Item::Nothing, Item::Pod)
    }
}

impl Keep for Slices {
    fn keep(_: &ApiName, object: &Value) -> Item {
        Slice::of(object).map_or(Item::Nothing, Item::Slice)
    }
}

impl Keep for Services {
    fn keep(name: &ApiName, object: &Value) -> Item {
        Item::service(name, object)
    }
}

impl Keep for Documents {
    fn keep(_: &ApiName, object: &Value) -> Item {
        Item::Document(Document::of(object))
    }
}

/// An object.
#[derive(Debug, Clone)]
pub(super) struct Seen<K> {
    /// What a watch needs of it.
    meta: ObjectMeta,
    /// `None`: it has no name, which no API server has.
    pub(super) kept: Option<(ApiName, Item)>,
    kind: PhantomData<fn() -> K>,
}

impl<'de, K: Keep> Deserialize<'de> for Seen<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let name = name_of(&object);
        let version = object.pointer("/metadata/resourceVersion");
        let version = version.and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            meta: ObjectMeta {
                resource_version: version,
                ..ObjectMeta::default()
            },
            kept: name.map(|name| {
                let item = K::keep(&name, &object);
                (name, item)
            }),
            kind: PhantomData,
        })
    }
}

impl<K: Keep> Resource for Seen<K> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
