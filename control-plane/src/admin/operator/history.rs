//! Earlier revisions, for the operator: what they did, and going back. And the configuration in force, whole.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use usher_config::{model::Revision, value::InvalidValue};

use super::{
    Operator, Refused,
    apply::{said, status_of, told},
};
use crate::{
    admin::answer::{not_seen, written},
    registry::{
        Denied, object_key,
        store::{Origin, RevisionRecord, Stored, StoredObject},
    },
    state::{By, RollbackError},
    status::RevisionStatus,
};

/// What `POST /v1/rollback` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// To which revision; `None`: the one that is held is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Whose command it is, as he says himself.
    #[serde(default)]
    pub author: String,
    /// Why, in his words.
    #[serde(default)]
    pub message: String,
    /// Also if it locks out who is listed as a caller in plaintext.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// What a revision did to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// `Kind namespace/name`
    pub object: String,
    /// Its YAML before; `None`: it was added.
    pub before: Option<String>,
    /// Its YAML since; `None`: it was deleted.
    pub after: Option<String>,
}

/// The configuration in force: what a store has of it, by names as people write them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// Its number.
    pub revision: u64,
    /// `Kind namespace/name` → its YAML, file and age.
    pub objects: BTreeMap<String, StoredObject>,
    /// AccessPolicies that never were valid.
    pub denied: BTreeMap<String, Denied>,
    /// Of services.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Since when services are gone that still have an address.
    pub deleted: BTreeMap<String, SystemTime>,
    /// What certificates carry, if there are any.
    pub trust_domain: Option<String>,
    /// What is known of the newest revision: when, whose, and which services still take plaintext in it.
    #[serde(default)]
    pub newest: Option<RevisionRecord>,
}

impl From<Stored> for InForce {
    fn from(stored: Stored) -> Self {
        fn named<K: ToString, V>(map: BTreeMap<K, V>) -> BTreeMap<String, V> {
            let all = map.into_iter();
            all.map(|(key, value)| (key.to_string(), value)).collect()
        }
        Self {
            revision: stored.number(),
            objects: named(stored.objects),
            denied: named(stored.denied),
            addresses: named(stored.addresses),
            deleted: named(stored.deleted),
            trust_domain: stored.trust_domain.map(|domain| domain.to_string()),
            newest: stored.revisions.into_iter().next_back(),
        }
    }
}

impl TryFrom<InForce> for Stored {
    type Error = InvalidValue;
    fn try_from(shown: InForce) -> Result<Self, InvalidValue> {
        fn named<K, V>(
            map: BTreeMap<String, V>,
            name: impl Fn(&str) -> Result<K, InvalidValue>,
        ) -> Result<BTreeMap<K, V>, InvalidValue>
        where
            K: Ord,
        {
            let all = map.into_iter();
            all.map(|(key, value)| Ok((name(&key)?, value))).collect()
        }
        let domain = shown.trust_domain.map(|domain| domain.parse());
        Ok(Self {
            objects: named(shown.objects, object_key)?,
            denied: named(shown.denied, object_key)?,
            addresses: named(shown.addresses, str::parse)?,
            deleted: named(shown.deleted, str::parse)?,
            revisions: shown.newest.into_iter().collect(),
            trust_domain: domain.transpose()?,
        })
    }
}

pub(super) async fn rollback(
    State(operator): State<Operator>,
    Json(wanted): Json<Rollback>,
) -> Result<Response, Refused> {
    let (author, message) = (said(&wanted.author), said(&wanted.message));
    let done: Result<Revision, RollbackError> = match wanted.to {
        Some(to) => {
            let by = By {
                forced: wanted.force,
                ..By::rollback(to, author, message)
            };
            operator.mesh.roll_back(to, &by).await
        }
        None => {
            let origin = Origin::Release;
            let by = By {
                origin,
                author,
                message,
                ..By::default()
            };
            operator.mesh.release(&by).await
        }
    };
    done.map_err(refused)?;
    status(State(operator)).await
}

pub(super) async fn revision(
    State(operator): State<Operator>,
    Path(number): Path<u64>,
) -> Result<Json<Vec<Changed>>, Refused> {
    let changes = operator.mesh.changes(number).await.map_err(refused)?;
    let changed = changes.into_iter().map(|(key, change)| Changed {
        object: key.to_string(),
        before: change.before.map(|object| object.text),
        after: change.after.map(|object| object.text),
    });
    Ok(Json(changed.collect()))
}

pub(super) async fn configuration(State(operator): State<Operator>) -> Json<InForce> {
    Json(operator.mesh.in_force().into())
}

pub(super) async fn revisions(State(operator): State<Operator>) -> Json<Vec<RevisionStatus>> {
    Json(operator.mesh.revisions())
}

pub(super) async fn status(State(operator): State<Operator>) -> Result<Response, Refused> {
    let json = operator.mesh.shown_status_json().await.map_err(not_seen)?;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, json).into_response())
}

pub(super) async fn objects(State(operator): State<Operator>) -> Result<Response, Refused> {
    let shown = operator.mesh.shown().await.map_err(not_seen)?;
    written(move || Json(&shown.objects).into_response()).await
}

fn refused(error: RollbackError) -> Refused {
    let status = match &error {
        RollbackError::NotRemembered { .. } => StatusCode::NOT_FOUND,
        RollbackError::NotPinned | RollbackError::Unreadable { .. } => StatusCode::CONFLICT,
        RollbackError::Store(error) => status_of(error),
    };
    (status, told(&error))
}
