//! What control planes say of themselves, and what follows from it. Pure.

use time::OffsetDateTime;

use super::Own;
use crate::ca::{
    roots::{Root, RootError, RootSet, Use, short},
    trust::{Shared, Signer},
};

/// What a control plane said.
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) signer: Signer,
    /// It has said something lately.
    pub(super) lives: bool,
}

/// Everybody's word, and our own as it is now.
pub(super) fn signers(shared: Shared, own: &Own, (id, signer): (&str, Signer)) -> Vec<Heard> {
    let mut signers = shared.signers;
    signers.insert(id.to_owned(), signer);
    let heard = |(id, signer): (String, Signer)| Heard {
        lives: own.lives(&id)
            || own
                .said
                .as_ref()
                .is_some_and(|said| said.said_at == signer.said_at),
        id,
        signer,
    };
    signers.into_iter().map(heard).collect()
}

/// Connected sidecars that do not know these roots, and control planes that do not.
pub(super) fn behind(signers: &[Heard], roots: &RootSet) -> usize {
    let living = signers.iter().filter(|one| one.lives);
    living
        .map(|one| one.signer.census.behind + usize::from(one.signer.version < roots.version))
        .sum()
}

/// Whether somebody could sign under it.
pub(super) fn has_key(signers: &[Heard], root: &Root) -> Result<(), RootError> {
    let mut living = signers.iter().filter(|one| one.lives);
    let can =
        |one: &Heard| one.signer.keys.contains(&root.pin) || one.signer.given.contains(&root.pin);
    if living.any(can) {
        return Ok(());
    }
    Err(RootError::InUse(format!(
        "no control plane that lives can sign under the root {0}: start the one that has its key, or take it out again with \
         `usher ca retire {0}`",
        short(&root.pin)
    )))
}

/// What still leads to the root `pin`.
pub(super) fn used(signers: &[Heard], pin: &str, now: OffsetDateTime) -> Use {
    let living = signers.iter().filter(|one| one.lives);
    let sidecars = living.map(|one| one.signer.census.by_root.get(pin).copied().unwrap_or(0));
    let holds = |one: &&Heard| {
        let mut issuer = one.signer.issuer.iter();
        issuer.any(|issuer| issuer.root == pin && issuer.not_after > now)
    };
    let left = signers.iter().filter_map(|one| one.signer.left.get(pin));
    Use {
        sidecars: sidecars.sum(),
        control_planes: signers.iter().filter(holds).count(),
        left: left.max().map(|left| left.0),
    }
}
