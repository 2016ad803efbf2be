//! Checks across objects: what one object can only be wrong about together with others.

mod check;
mod index;
mod rivals;
mod unguarded;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    kind::{Kind, Object, ObjectKey, PolicyKind, TargetKind, TargetRef},
    value::Name,
};

use self::{check::Check, index::Index};
use super::{Located, Mistake, Parsed, Rejected, Related, Severity};

/// Adds the mistakes between objects to `parsed`. Of duplicates and of several meshes the first stays.
pub(super) fn check(parsed: &mut Parsed) {
    drop_duplicates(parsed);
    drop_second_mesh(parsed);
    let index = Index::new(parsed);
    let mut mistakes = Vec::new();
    for located in &parsed.objects {
        Check {
            located,
            index: &index,
            mistakes: &mut mistakes,
        }
        .object();
    }
    for located in &parsed.broken {
        let mut further = Vec::new();
        Check {
            located,
            index: &index,
            mistakes: &mut further,
        }
        .object();
        further.retain(|mistake| is_certain(mistake, located, &parsed.mistakes));
        mistakes.append(&mut further);
    }
    conflicts(&parsed.objects, &mut mistakes);
    addresses(&parsed.objects, &mut mistakes);
    rivals::rivals(&parsed.objects, &index, &mut mistakes);
    unguarded::unguarded(parsed, &index, &mut mistakes);
    drop(index);
    parsed.broken.clear();
    parsed.mistakes.append(&mut mistakes);
}

/// The mistakes between objects that are in force together, wherever each came from: of some the text is known, of some only
/// that they are in force. `closed`: policies that close what they were meant for, for they never were valid.
///
/// Mistakes of what stands in no known text have no position: its line is 0.
pub fn mistakes_between(objects: Vec<Arc<Located>>, closed: Vec<Rejected>) -> Vec<Mistake> {
    let mut together = Parsed {
        objects,
        rejected: closed,
        ..Parsed::default()
    };
    check(&mut together);
    together.mistakes
}

/// Whether a broken object's reference is as written: what could not be read is missing from its list, and moves the rest.
fn is_certain(mistake: &Mistake, located: &Located, known: &[Mistake]) -> bool {
    let list = |path: &str| path.split('[').next().unwrap_or_default().to_owned();
    let key = located.object.key();
    mistake.severity == Severity::Error
        && known.iter().all(|other| {
            other.key.as_ref() != Some(&key)
                || other.file != mistake.file
                || list(&other.field) != list(&mistake.field)
        })
}

fn mistake(
    located: &Located,
    severity: Severity,
    field: &str,
    (found, allowed): (String, String),
) -> Mistake {
    let position = located.positions.of(field);
    let mut mistake = Mistake::new(
        located.file.to_path_buf(),
        position,
        field.to_owned(),
        found,
        allowed,
    );
    mistake.severity = severity;
    mistake.set_object(&located.object.key());
    mistake
}

fn drop_duplicates(parsed: &mut Parsed) {
    let mut first: HashMap<ObjectKey, Related> = HashMap::new();
    for rejected in &parsed.rejected {
        let position = super::Position {
            line: rejected.line,
            column: 1,
            length: 1,
        };
        let label = "first defined here".to_owned();
        first.insert(
            rejected.key.clone(),
            Related {
                file: rejected.file.clone(),
                position,
                label,
            },
        );
    }
    drop_second(parsed, |located| {
        let key = located.object.key();
        if let Some(earlier) = first.get(&key) {
            return Some((
                earlier.clone(),
                format!("{key} for the second time"),
                "each object once",
            ));
        }
        first.insert(key, related(located, "", "first defined here"));
        None
    });
}

fn drop_second_mesh(parsed: &mut Parsed) {
    let mut first: Option<Related> = None;
    drop_second(parsed, |located| {
        if located.object.kind() != Kind::Mesh {
            return None;
        }
        match &first {
            Some(earlier) => Some((
                earlier.clone(),
                "a second Mesh".to_owned(),
                "at most one Mesh",
            )),
            None => {
                first = Some(related(located, "", "the first Mesh"));
                None
            }
        }
    });
}

/// Moves objects for which `earlier` names a rival to the rejected ones.
fn drop_second(
    parsed: &mut Parsed,
    mut earlier: impl FnMut(&Located) -> Option<(Related, String, &'static str)>,
) {
    let (mistakes, rejected) = (&mut parsed.mistakes, &mut parsed.rejected);
    parsed.objects.retain(|located| {
        let Some((other, found, allowed)) = earlier(located) else {
            return true;
        };
        let mut mistake = mistake(
            located,
            Severity::Error,
            "metadata.name",
            (found, allowed.to_owned()),
        );
        mistake.related = Some(other);
        mistakes.push(mistake);
        rejected.push(Rejected {
            key: located.object.key(),
            file: located.file.to_path_buf(),
            line: located.line,
            named: true,
            targets: located.object.targets().to_vec(),
        });
        false
    });
}

fn related(located: &Located, field: &str, label: &str) -> Related {
    let position = located.positions.of(if field.is_empty() {
        "metadata.name"
    } else {
        field
    });
    Related {
        file: located.file.to_path_buf(),
        position,
        label: label.to_owned(),
    }
}

/// One policy of a kind per exact target. Both stay: which one holds depends on which was accepted first.
fn conflicts(objects: &[Arc<Located>], mistakes: &mut Vec<Mistake>) {
    type Target<'a> = (PolicyKind, Option<&'a Name>, &'a TargetRef);
    let mut first: BTreeMap<Target<'_>, (&Located, String)> = BTreeMap::new();
    for located in objects {
        let kind = match located.object.kind() {
            Kind::TrafficPolicy => PolicyKind::Traffic,
            Kind::BackendTlsPolicy => PolicyKind::BackendTls,
            Kind::AccessPolicy => PolicyKind::Access,
            Kind::AuthenticationPolicy => PolicyKind::Authentication,
            Kind::FaultPolicy => PolicyKind::Fault,
            Kind::RateLimitPolicy => PolicyKind::RateLimit,
            _ => continue,
        };
        for (target, at) in located.object.targets().iter().zip(0..) {
            let field = format!("spec.targetRefs[{at}]");
            let namespace = Some(&located.object.metadata().namespace);
            let key = (
                kind,
                namespace.filter(|_| target.kind != TargetKind::Mesh),
                target,
            );
            if let Some((earlier, field_there)) = first.get(&key) {
                let found = format!(
                    "{} `{}`, which {} targets already",
                    target.kind,
                    target.name,
                    earlier.object.key()
                );
                let allowed = format!("one {kind} per target: merge them, or narrow one");
                let mut mistake = mistake(located, Severity::Error, &field, (found, allowed));
                mistake.related = Some(related(earlier, field_there, "the other policy"));
                mistakes.push(mistake);
            } else {
                first.insert(key, (located, field));
            }
        }
    }
}

/// One service per address.
fn addresses(objects: &[Arc<Located>], mistakes: &mut Vec<Mistake>) {
    let mut first = HashMap::new();
    for located in objects {
        let Object::Service(service) = &located.object else {
            continue;
        };
        let Some(address) = service.spec.cluster_ip else {
            continue;
        };
        let earlier: &mut &Located = first.entry(address).or_insert(located);
        if !std::ptr::eq::<Located>(*earlier, &**located) {
            let found = format!("`{address}`, which {} has already", earlier.object.key());
            let words = (found, "an address of its own".to_owned());
            let mut mistake = mistake(located, Severity::Error, "spec.clusterIP", words);
            mistake.related = Some(related(earlier, "spec.clusterIP", "the other service"));
            mistakes.push(mistake);
        }
    }
}
