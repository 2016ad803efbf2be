//! The roots of a mesh, and how one takes the other's place. Pure.
//!
//! ```text
//! Adding ──activate──▶ Active ──(another is activated)──▶ Retiring ──retire──▶ gone
//!    └────────────────────────────retire───────────────────────────────────────▶
//! ```
//!
//! All of them are trusted; only the active one signs. A root is added, and so known to everybody, before it signs, and
//! stays known until nothing that it signed can still be shown.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use usher_config::{model::TrustBundle, value::TrustDomain};

use super::certificate::{self, CLOCK_SKEW, SVID_LIFETIME};

/// Roots at once: one that goes, one that signs, one that comes, and one that somebody forgot.
pub const ROOTS_MAX: usize = 4;

/// How far a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Trusted, does not sign yet.
    Adding,
    /// Signs.
    Active,
    /// Trusted, signs no longer.
    Retiring,
}

impl Phase {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adding => "Adding",
            Self::Active => "Active",
            Self::Retiring => "Retiring",
        }
    }
}

/// One root: only what everybody may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// SHA-256 of its public key (SPKI, DER), hexadecimal: what join tokens pin.
    pub pin: String,
    /// DER.
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
    /// How far it is.
    pub phase: Phase,
    /// Since when it is in this phase.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The same key under older roots of the mesh, DER: for whoever knows only those.
    #[serde(default, with = "base64_list")]
    pub crosses: Vec<Vec<u8>>,
}

/// All roots of a mesh; there is exactly one active one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootSet {
    /// Grows with every change.
    pub version: u64,
    /// In no order that means anything.
    pub roots: Vec<Root>,
    /// Pins of roots that the mesh had.
    #[serde(default)]
    pub retired: Vec<String>,
}

/// Why the roots stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// No root of the mesh begins so.
    #[error("no root's SHA-256 begins with `{asked}`; there are: {}", there.join(", "))]
    Unknown {
        /// What was asked for.
        asked: String,
        /// Shortened pins.
        there: Vec<String>,
    },
    /// Several do.
    #[error("several roots' SHA-256 begin with `{0}`: give more of it")]
    Ambiguous(String),
    /// It is there.
    #[error("the root {0} is one of the mesh's already")]
    Known(String),
    /// Too many.
    #[error("the mesh has {ROOTS_MAX} roots: retire one first (usher ca retire)")]
    TooMany,
    /// It signs.
    #[error("the root {0} signs: put another one in its place first (usher ca rotate)")]
    Active(String),
    /// It is not on its way in.
    #[error("the root {pin} is {}, and only one that is Adding can be activated", phase.name())]
    NotAdding {
        /// Which.
        pin: String,
        /// What it is.
        phase: Phase,
    },
    /// Somebody would be cut off.
    #[error("{0}")]
    InUse(String),
}

/// What is known of a root's use, over all control planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// Connected sidecars whose SVID leads to it.
    pub sidecars: usize,
    /// Control planes that hold an intermediate of it.
    pub control_planes: usize,
    /// When the last one stopped signing under it, as far as they have said.
    pub left: Option<OffsetDateTime>,
}

/// Who may be cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Force {
    /// Nobody.
    #[default]
    Nobody,
    /// Sidecars that are not connected now, and control planes that are not heard of.
    Absent,
    /// Connected ones, too: the root's key is in wrong hands.
    Everybody,
}

impl RootSet {
    /// A mesh's first: active at once, there is nobody who would have to know it before.
    pub fn first(pin: String, certificate: Vec<u8>, now: OffsetDateTime) -> Self {
        let root = Root {
            pin,
            certificate,
            phase: Phase::Active,
            since: now,
            crosses: Vec::new(),
        };
        Self {
            version: 1,
            roots: vec![root],
            retired: Vec::new(),
        }
    }

    /// The one that signs. `None`: what was stored is not ours.
    pub fn active(&self) -> Option<&Root> {
        self.roots.iter().find(|root| root.phase == Phase::Active)
    }

    /// The one with this pin.
    pub fn get(&self, pin: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.pin == pin)
    }

    /// Whether the mesh has or had the one with this pin.
    pub fn knows(&self, pin: &str) -> bool {
        self.get(pin).is_some() || self.retired.iter().any(|retired| retired == pin)
    }

    /// The only one whose pin begins so.
    ///
    /// # Errors
    /// None does, or several.
    pub fn find(&self, asked: &str) -> Result<&Root, RootError> {
        let asked_hex = asked.to_ascii_lowercase();
        let mut found = self
            .roots
            .iter()
            .filter(|root| root.pin.starts_with(&asked_hex));
        match (found.next(), found.next()) {
            (Some(root), None) => Ok(root),
            (Some(_), Some(_)) => Err(RootError::Ambiguous(asked.to_owned())),
            (None, _) => Err(RootError::Unknown {
                asked: asked.to_owned(),
                there: self.roots.iter().map(|root| short(&root.pin)).collect(),
            }),
        }
    }

    /// One more, trusted but not signing.
    ///
    /// # Errors
    /// It is there already, or there are too many.
    pub fn add(&self, root: Root) -> Result<Self, RootError> {
        if self.get(&root.pin).is_some() {
            return Err(RootError::Known(short(&root.pin)));
        }
        self.has_room()?;
        let mut next = self.changed();
        next.retired.retain(|pin| *pin != root.pin);
        next.roots.push(Root {
            phase: Phase::Adding,
            ..root
        });
        Ok(next)
    }

    /// Whether one more may be added: asked before anything is made, and recorded, for it.
    ///
    /// # Errors
    /// There are too many.
    pub fn has_room(&self) -> Result<(), RootError> {
        match self.roots.len() < ROOTS_MAX {
            true => Ok(()),
            false => Err(RootError::TooMany),
        }
    }

    /// Lets `pin` sign, once nobody is `behind`: a sidecar that does not know it would refuse its peers.
    ///
    /// # Errors
    /// It is not on its way in, or some sidecars do not know it yet.
    pub fn activate(
        &self,
        pin: &str,
        behind: usize,
        now: OffsetDateTime,
    ) -> Result<Self, RootError> {
        let root = self.find(pin)?;
        if root.phase != Phase::Adding {
            let (pin, phase) = (short(&root.pin), root.phase);
            return Err(RootError::NotAdding { pin, phase });
        }
        if behind > 0 {
            return Err(RootError::InUse(format!(
                "{behind} of the connected sidecars and control planes do not know the root {} yet: wait for them, see \
                 `usher ca status`",
                short(&root.pin)
            )));
        }
        let pin = root.pin.clone();
        let mut next = self.changed();
        for root in &mut next.roots {
            let phase = match root.phase {
                Phase::Active => Phase::Retiring,
                Phase::Adding if root.pin == pin => Phase::Active,
                phase => phase,
            };
            if phase != root.phase {
                (root.phase, root.since) = (phase, now);
            }
        }
        Ok(next)
    }

    /// When nothing that a root signed can hold any more: all control planes have stopped signing under it by `left`.
    pub fn over_at(root: &Root, left: Option<OffsetDateTime>) -> OffsetDateTime {
        let stopped = left.map_or(root.since, |left| left.max(root.since));
        let longest = stopped + SVID_LIFETIME + CLOCK_SKEW;
        certificate::facts(&root.certificate).map_or(longest, |facts| longest.min(facts.not_after))
    }

    /// Takes a root out for good.
    ///
    /// # Errors
    /// It signs; or what it signed may be needed by somebody whom `force` does not give up.
    pub fn retire(
        &self,
        pin: &str,
        used: Use,
        (now, force): (OffsetDateTime, Force),
    ) -> Result<Self, RootError> {
        let root = self.find(pin)?;
        let name = short(&root.pin);
        let reason = match root.phase {
            Phase::Active => return Err(RootError::Active(name)),
            _ if used.sidecars > 0 && force < Force::Everybody => Some(format!(
                "{} connected sidecars have an SVID under the root {name}: each takes one under the active root within a \
                 minute of the change, see `usher ca status` and those sidecars' logs (--compromised cuts them off: the key \
                 is in wrong hands)",
                used.sidecars
            )),
            Phase::Retiring if force == Force::Nobody && used.control_planes > 0 => Some(format!(
                "{} control planes still hold an intermediate under the root {name}: if they are gone for good, --force",
                used.control_planes
            )),
            Phase::Retiring if force == Force::Nobody && now < Self::over_at(root, used.left) => {
                Some(format!(
                    "a sidecar that is not connected now may hold an SVID under the root {name} until {}: wait until then, or \
                 cut such a sidecar off (it has to join again) with --force",
                    when(Self::over_at(root, used.left))
                ))
            }
            Phase::Retiring | Phase::Adding => None,
        };
        if let Some(reason) = reason {
            return Err(RootError::InUse(reason));
        }
        let pin = root.pin.clone();
        let mut next = self.changed();
        next.roots.retain(|root| root.pin != pin);
        next.retired.push(pin);
        Ok(next)
    }

    fn changed(&self) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next
    }

    /// What sidecars verify each other with: the active root first, by which each knows whether its own is the one that
    /// signs.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> TrustBundle {
        let is_active = |root: &&Root| root.phase == Phase::Active;
        let active = self.roots.iter().filter(is_active);
        let others = self.roots.iter().filter(|root| !is_active(root));
        TrustBundle {
            trust_domain: trust_domain.clone(),
            version: self.version,
            roots: active
                .chain(others)
                .map(|root| root.certificate.clone())
                .collect(),
        }
    }

    /// What is shown behind a chain under the root `pin`, for whoever knows only an older one.
    pub fn crosses_of(&self, pin: &str) -> Vec<Vec<u8>> {
        let others = || self.roots.iter().filter(|root| root.pin != pin);
        let leads_somewhere = |cross: &&Vec<u8>| {
            others().any(|root| certificate::is_signed_by(cross, &root.certificate))
        };
        let crosses = self.get(pin).map(|root| root.crosses.as_slice());
        let crosses = crosses.unwrap_or_default().iter();
        crosses.filter(leads_somewhere).cloned().collect()
    }
}

/// As much of a pin as people need.
pub fn short(pin: &str) -> String {
    pin.chars().take(12).collect()
}

fn when(time: OffsetDateTime) -> String {
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    seconds
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}

/// DER, as text.
pub(super) mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::ca) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::ca) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// Several of them.
pub(super) mod base64_list {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::ca) fn serialize<S: Serializer>(
        list: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|bytes| STANDARD.encode(bytes)))
    }

    pub(in crate::ca) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let decode = |text: String| STANDARD.decode(text).map_err(D::Error::custom);
        texts.into_iter().map(decode).collect()
    }
}

#[cfg(test)]
mod tests;
