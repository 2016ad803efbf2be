//! What makes a message undecodable, said so that a NACK explains itself.

/// A field of a received resource that this version cannot hold.
///
/// Decoding refuses a resource as a whole; the receiver keeps the last good one and answers with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {field}: found {found:?}, allowed: {allowed}")]
pub struct DecodeError {
    /// The message, `Service` for example.
    pub resource: &'static str,
    /// Path of the field inside it, `routes[2].match.path` for example.
    pub field: String,
    /// What was there, cut to 80 characters.
    pub found: String,
    /// What would have been accepted.
    pub allowed: &'static str,
}

impl DecodeError {
    /// An error at one field of a message whose name the caller adds with [`DecodeError::within`].
    pub(crate) fn at(field: &str, found: impl ToString, allowed: &'static str) -> Self {
        let found = found.to_string().chars().take(80).collect();
        Self {
            resource: "",
            field: field.to_owned(),
            found,
            allowed,
        }
    }

    /// The same error, one level further out.
    pub(crate) fn under(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }

    /// The same error, inside element `index` of the list `parent`.
    pub(crate) fn under_index(self, parent: &str, index: usize) -> Self {
        self.under(&format!("{parent}[{index}]"))
    }

    /// The same error, in the named resource.
    pub(crate) fn within(mut self, resource: &'static str) -> Self {
        self.resource = resource;
        self
    }
}
