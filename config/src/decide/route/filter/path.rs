//! Other paths for the same query.

use std::borrow::Cow;

use crate::model::PathEdit;
use http::{Uri, uri::PathAndQuery};

use super::super::path::{PathError, PathReading, normalize};

/// The changed path with the request's query, normal again.
pub(super) fn edited(edit: &PathEdit, uri: &Uri) -> Result<PathAndQuery, PathError> {
    let changed = changed(edit, uri.path());
    // Replacements are normal by configuration and the rest by the request; this is what keeps it so.
    // Empty segments and parameters that are still there are meant.
    let mut target = normalize(&changed, PathReading::LENIENT)?.into_owned();
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::try_from(target).map_err(|_| PathError::Malformed)
}

/// Whole elements only: with `/foo` → `/bar`, `/foo/x` becomes `/bar/x`. A slash at the end of prefix or replacement
/// means nothing; an empty replacement takes the prefix away. Parameters stay with the element that has them, and go
/// with it.
fn changed<'a>(edit: &'a PathEdit, path: &'a str) -> Cow<'a, str> {
    match edit {
        PathEdit::Full(full) => Cow::Borrowed(full),
        PathEdit::Prefix {
            matched,
            replacement,
        } => {
            // `*` (of OPTIONS) has no prefix; nor has what another rewrite has made of what the route matched.
            let rest = path.strip_prefix(matched.trim_end_matches('/'));
            let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with(['/', ';']))
            else {
                return Cow::Borrowed(path);
            };
            let stem = replacement.trim_end_matches('/');
            if stem.is_empty() && !rest.starts_with('/') {
                return Cow::Borrowed("/");
            }
            let mut whole = String::with_capacity(stem.len() + rest.len());
            whole.push_str(stem);
            whole.push_str(rest);
            Cow::Owned(whole)
        }
    }
}
