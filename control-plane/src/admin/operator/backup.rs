//! A backup of this control plane, for the operator: the file as it is to be kept.

use std::{path::PathBuf, sync::Arc};

use axum::{
    extract::{Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::info;

use super::{Operator, Refused, apply::told};
use crate::backup::{Backup, BackupError, Keys};

/// What there is to keep beside the store.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The data directory.
    pub data: PathBuf,
    /// Of etcd, where that is the store.
    pub etcd_members: Vec<String>,
}

/// What `GET /v1/backup` may be asked.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Whether the mesh's private keys shall be in it.
    keys: Keys,
}

pub(super) async fn backup(
    State(operator): State<Operator>,
    Query(asked): Query<Asked>,
) -> Result<Vec<u8>, Refused> {
    let etcd = instead(&operator.kept);
    let made = tokio::task::spawn_blocking(move || {
        let Operator {
            mesh, tokens, kept, ..
        } = operator;
        let now = OffsetDateTime::now_utc();
        let backup = Backup::make((&mesh, &tokens), &kept.data, asked.keys, now)?;
        info!(revision = backup.revision, keys = ?asked.keys, "backup made");
        Ok(backup.encode())
    });
    let failed = |error: &(dyn std::error::Error + 'static)| {
        (StatusCode::INTERNAL_SERVER_ERROR, told(error))
    };
    match made.await.map_err(|error| failed(&error))? {
        Ok(bytes) => bytes.map_err(|error| failed(&error)),
        Err(BackupError::NotOurs) => Err((StatusCode::CONFLICT, etcd)),
        Err(error @ (BackupError::Files(_) | BackupError::NoTrustDomain)) => {
            Err((StatusCode::CONFLICT, told(&error)))
        }
        Err(error @ (BackupError::Store(_) | BackupError::Tokens(_))) => {
            Err((StatusCode::SERVICE_UNAVAILABLE, told(&error)))
        }
    }
}

/// What to do where the store is etcd.
fn instead(kept: &Arc<Kept>) -> String {
    let members = kept
        .etcd_members
        .first()
        .map_or("HOST:PORT", String::as_str);
    let ca = kept.data.join("ca");
    format!(
        "configuration, registrations and tokens of this mesh are in etcd, which makes its own backups, of one member:\n  \
         ETCDCTL_API=3 etcdctl --endpoints={members} snapshot save FILE\n\
         (with --cacert, --cert, --key and --user as etcd needs them). The mesh's keys are not in etcd: keep a copy of \
         {} too, as a secret.\n\
         To go back, stop etcd, then on each of its members, with that member's name and addresses:\n  \
         ETCDCTL_API=3 etcdctl snapshot restore FILE --data-dir NEW --name NAME --initial-cluster ... \
         --initial-advertise-peer-urls ...\n\
         (etcd 3.5 and later: etcdutl snapshot restore), and start etcd on NEW. Control planes may run meanwhile",
        ca.display()
    )
}
