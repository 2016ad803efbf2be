//! Header modifiers, in place.

use crate::model::HeaderEdits;
use http::HeaderMap;

/// Removes, then sets, then adds. Nothing but what is added is allocated; names and values are shared.
pub(super) fn edit(headers: &mut HeaderMap, edits: &HeaderEdits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name.clone(), value.clone());
    }
}
