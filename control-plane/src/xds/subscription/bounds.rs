//! What one proxy may make us keep.

use tonic::Status;

/// How many names one proxy may subscribe to, over all topics. An application that really dials more services
/// than this does not exist; a proxy gone wrong must not fill our memory.
pub const NAMES_MAX: usize = 20_000;

/// How many resources of a topic one proxy may say that it brings along: as many as a large mesh has endpoints.
pub const RESUMED_MAX: usize = 100_000;

/// How many names may be kept because of what one proxy did not take, or may still get: as many as there are resources,
/// each refused and on the way once. A proxy that answers nothing, or refuses all, would fill our memory.
pub(super) const UNSETTLED_MAX: usize = 2 * RESUMED_MAX;

/// Longer than any version of ours, hence none of ours.
pub(super) const VERSION_LENGTH_MAX: usize = 64;

/// Namespace, service and instance are 63 characters each, with two separators.
pub(super) const NAME_LENGTH_MAX: usize = 191;

/// The proxy asks for more than anybody needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// See [`NAMES_MAX`].
    #[error("more than {NAMES_MAX} names subscribed; drop those that are not used")]
    TooMany,
    /// See [`RESUMED_MAX`].
    #[error("more than {RESUMED_MAX} resources resumed; subscribe without their versions")]
    TooManyResumed,
    /// See [`UNSETTLED_MAX`].
    #[error(
        "more than {UNSETTLED_MAX} resources refused, or dropped and not answered; open the stream anew"
    )]
    TooManyUnsettled,
    /// No resource has such a name.
    #[error("a name is at most {NAME_LENGTH_MAX} characters")]
    NameTooLong,
}

impl From<SubscribeError> for Status {
    fn from(error: SubscribeError) -> Self {
        Self::resource_exhausted(error.to_string())
    }
}
