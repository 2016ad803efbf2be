//! Join tokens: an operator's permission for one service account to enter the mesh.
//!
//! `usher1.<id>.<secret>.<sha256 of the root's SPKI, hex>`. The last part is for the sidecar: it pins the
//! server before it says the secret. Kept in a [`table`], only the secret's SHA-256 (it is 256 random bits,
//! so no slow hash is needed). A use is counted in a durable transaction before anything is signed: a token
//! for one use cannot be used twice, not even around a crash, or at two control planes that share a table.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    path::Path,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    constant_time,
    digest::{self, SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use usher_config::value::{InvalidValue, Name};

use super::{Authority, authority::reserved, certificate::hex};
use table::FileTable;

mod table;

pub use table::{Change, Record, TableError, TokenTable};

/// Their file in the data directory, where they are kept in one.
pub const FILE: &str = "tokens.redb";

/// Tokens that may be alive at once: a bound on the file, far above any rollout.
pub const TOKENS_MAX: u64 = 100_000;

/// Longest life of a token: 90 days. What must live longer is an identity, not a permission to get one.
pub const TTL_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

/// A token as it travels. Its text is a secret: `Debug` shows the id only, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: String,
    pin: String,
}

impl JoinToken {
    /// The token's text, secret included: for the one who asked for it, and nobody's log.
    pub fn reveal(&self) -> String {
        format!("usher1.{}.{}.{}", self.id, self.secret, self.pin)
    }

    /// Names the token in logs and lists; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the root's SPKI, hex.
    pub fn pin(&self) -> &str {
        &self.pin
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // The text itself stays out of the error: it holds the secret.
        let invalid = || {
            let found = format!("a text of {} characters", text.len());
            InvalidValue::new(
                &found,
                "usher1.<id>.<secret>.<sha256 of the root's SPKI, hex>",
            )
        };
        let mut parts = text.trim().split('.');
        let (Some("usher1"), Some(id), Some(secret), Some(pin), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(invalid());
        };
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id.len() != 16 || !is_hex(id) || secret.len() != 43 || pin.len() != 64 || !is_hex(pin) {
            return Err(invalid());
        }
        let [id, secret, pin] = [id, secret, pin].map(str::to_owned);
        Ok(Self { id, secret, pin })
    }
}

/// What a token shall permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Namespace of the identity.
    pub namespace: Name,
    /// Service account of the identity.
    pub service_account: Name,
    /// How long it may be used; more than zero, at most [`TTL_MAX`].
    pub ttl: Duration,
    /// How often it may be used; `None`: as often as wanted within its life.
    pub uses: Option<NonZeroU32>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A life that is none, or too long.
    #[error("a token lives more than 0 s and at most {} days", TTL_MAX.as_secs() / 86_400)]
    Ttl,
    /// The control plane's own namespace.
    #[error(
        "the namespace {} is the control plane's own: no token can be made for it",
        reserved::NAMESPACE
    )]
    Reserved,
    /// Too many alive.
    #[error("{TOKENS_MAX} tokens are alive: wait for some to expire, or use a shorter ttl")]
    TooMany,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The table failed.
    #[error(transparent)]
    Store(#[from] TableError),
}

/// Why a token does not let its holder in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such token, or another secret: not said which, so that ids cannot be probed.
    #[error(
        "the join token is not known here: it was never made, expired long ago, or was mistyped"
    )]
    NotKnown,
    /// Its life is over.
    #[error("the join token has expired: make a new one with `usher token create`")]
    Expired,
    /// All uses are used.
    #[error(
        "the join token was used as often as it may be: make a new one with `usher token create`"
    )]
    Spent,
    /// Configuration does not know whom it is for (any more).
    #[error(
        "no Workload in namespace {} has the service account {}: the configuration does not declare this identity",
        .0.namespace, .0.service_account
    )]
    Undeclared(Subject),
    /// It pins another root.
    #[error(
        "the join token is for another mesh, or for a root of this one that was retired: make a new one with `usher token create`"
    )]
    OtherMesh,
    /// The table failed.
    #[error(transparent)]
    Store(#[from] TableError),
}

/// Whose identity a token permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Namespace of the identity.
    pub namespace: Name,
    /// Service account of the identity.
    pub service_account: Name,
}

/// What tokens pin: of the root that signs now, and those of all roots that the mesh trusts.
pub type Pins = Arc<dyn Fn() -> (String, Vec<String>) + Send + Sync>;

/// The pins of an authority, as they are at each moment.
pub fn pins_of(authority: &Arc<Authority>) -> Pins {
    let authority = Arc::clone(authority);
    Arc::new(move || {
        let roots = authority.roots();
        let all = roots.roots.iter().map(|root| root.pin.clone());
        (authority.pin(), all.collect())
    })
}

/// The tokens of a mesh. Calls wait for the disk: not for an async task.
pub struct TokenStore {
    table: Box<dyn TokenTable>,
    pins: Pins,
}

impl TokenStore {
    /// Opens the file, or makes it (the directory must keep others out), for a mesh with these roots.
    ///
    /// # Errors
    /// The file is another program's, damaged, or in use by another control plane.
    pub fn open(path: &Path, pins: Pins) -> Result<Self, redb::Error> {
        Ok(Self::on(Box::new(FileTable::open(path)?), pins))
    }

    /// Keeps them in this table, for a mesh with these roots.
    pub fn on(table: Box<dyn TokenTable>, pins: Pins) -> Self {
        Self { table, pins }
    }

    /// Makes a new file of what a backup has.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn make(path: &Path, records: &BTreeMap<String, Record>) -> Result<(), redb::Error> {
        FileTable::make(path, records)
    }

    /// What is kept of all tokens, by their ids, for a backup; `None`: the table makes backups by other means.
    ///
    /// # Errors
    /// The table failed.
    pub fn records(&self) -> Result<Option<BTreeMap<String, Record>>, TableError> {
        self.table.records()
    }

    /// Makes a token, and forgets those that expired.
    ///
    /// # Errors
    /// The request is out of bounds, too many are alive, or the file failed.
    pub fn create(
        &self,
        request: &TokenRequest,
        now: SystemTime,
    ) -> Result<(JoinToken, SystemTime), TokenError> {
        if request.ttl.is_zero() || request.ttl > TTL_MAX {
            return Err(TokenError::Ttl);
        }
        if request.namespace.as_str() == reserved::NAMESPACE {
            return Err(TokenError::Reserved);
        }
        let (id, secret) = (random::<8>()?, random::<32>()?);
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let token = JoinToken {
            id: hex(&id),
            secret,
            pin: (self.pins)().0,
        };
        let expires_at = now + request.ttl;
        let record = Record {
            secret_sha256: hex(digest::digest(&SHA256, token.secret.as_bytes()).as_ref()),
            namespace: request.namespace.to_string(),
            service_account: request.service_account.to_string(),
            expires_at: unix_seconds(expires_at),
            uses_left: request.uses.map(NonZeroU32::get),
        };
        if self.table.insert(&token.id, &record, unix_seconds(now))? {
            Ok((token, expires_at))
        } else {
            Err(TokenError::TooMany)
        }
    }

    /// Counts one use of a token, durably, and says whose identity it permits, if that one is `declared`.
    ///
    /// # Errors
    /// The token does not let its holder in; no use is counted then.
    pub fn redeem(
        &self,
        token: &JoinToken,
        now: SystemTime,
        mut declared: impl FnMut(&Subject) -> bool,
    ) -> Result<Subject, Refusal> {
        if !(self.pins)().1.contains(&token.pin) {
            return Err(Refusal::OtherMesh);
        }
        let mut permits = None;
        self.table.change(token.id.as_str(), &mut |found| {
            let mut record = permitted(found, token, now)?;
            record.uses_left = record.uses_left.map(|left| left.saturating_sub(1));
            let name = |text: &str| text.parse::<Name>().map_err(|_| Refusal::NotKnown);
            let subject = Subject {
                namespace: name(&record.namespace)?,
                service_account: name(&record.service_account)?,
            };
            if !declared(&subject) {
                return Err(Refusal::Undeclared(subject));
            }
            permits = Some(subject);
            Ok(record)
        })?;
        permits.ok_or(Refusal::NotKnown)
    }

    /// How many tokens are kept, expired ones not yet forgotten included.
    ///
    /// # Errors
    /// The table failed.
    pub fn len(&self) -> Result<u64, TableError> {
        self.table.count()
    }

    /// Whether none is kept.
    ///
    /// # Errors
    /// The table failed.
    pub fn is_empty(&self) -> Result<bool, TableError> {
        Ok(self.len()? == 0)
    }
}

/// Whether a token opens a record, pure. The secret comes first: without it nothing is said about the rest.
fn permitted(
    record: Option<Record>,
    token: &JoinToken,
    now: SystemTime,
) -> Result<Record, Refusal> {
    let record = record.ok_or(Refusal::NotKnown)?;
    let presented = hex(digest::digest(&SHA256, token.secret.as_bytes()).as_ref());
    constant_time::verify_slices_are_equal(presented.as_bytes(), record.secret_sha256.as_bytes())
        .map_err(|_| Refusal::NotKnown)?;
    if unix_seconds(now) >= record.expires_at {
        return Err(Refusal::Expired);
    }
    if record.uses_left == Some(0) {
        return Err(Refusal::Spent);
    }
    Ok(record)
}

fn random<const N: usize>() -> Result<[u8; N], TokenError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| TokenError::Random)?;
    Ok(bytes)
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
pub(crate) mod tests;
