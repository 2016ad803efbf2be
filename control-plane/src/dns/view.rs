//! What the living mesh knows that bears on a question.

use crate::state::{Lookup, Wanted};

use super::{Asked, View, What};

/// Instances in one answer; more are told in turns. A message has 64 KiB, and who resolves a service by SRV has enough
/// with this many.
const INSTANCES_MAX: usize = 100;

/// Names of one address. A machine with more instances has no name that says anything, and these fit a datagram.
const NAMES_MAX: usize = 4;

/// What is known about `asked`. `turn`: with which of many instances to begin.
pub(super) fn view(mesh: &Lookup, asked: &Asked, turn: usize) -> View {
    let what = match asked {
        Asked::Elsewhere => return View::default(),
        Asked::Address(_) | Asked::Addresses { .. } => {
            return View {
                revision: mesh.revision(),
                named: match asked {
                    Asked::Address(address) => mesh.named(*address, NAMES_MAX),
                    _ => Vec::new(),
                },
                virtual_block: Some(mesh.virtual_block()),
                ..View::default()
            };
        }
        Asked::Here { what, .. } => what,
    };
    let wanted = match what {
        What::Instance(name) => Wanted::One(&name.instance),
        What::Port { .. } => Wanted::Healthy {
            turn,
            most: INSTANCES_MAX,
        },
        What::Apex | What::Namespace(_) | What::Service(_) | What::Ports(_) | What::Nothing => {
            Wanted::Nobody
        }
    };
    View {
        revision: mesh.revision(),
        has_namespace: match what {
            What::Namespace(namespace) => mesh.has_namespace(namespace),
            _ => false,
        },
        service: asked.service().and_then(|name| mesh.service(name, wanted)),
        ..View::default()
    }
}
