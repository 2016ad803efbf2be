//! Why the control plane cannot start.

use std::{io, path::PathBuf};

use crate::registry::StoreError;

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration directory.
    #[error("cannot read the configuration in {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing ran yet, and what cannot be read may close something.
    #[error(
        "what guards something in {path} would not hold, or may be in what cannot be read, and there is no earlier \
         version to go on with:\n  {}\n\
         mend it, or move the file elsewhere if the mesh is to run without what it says", mistakes.join("\n  "), path = path.display()
    )]
    Unread {
        /// The configuration directory.
        path: PathBuf,
        /// Each with its place.
        mistakes: Vec<String>,
    },
    /// The data directory's file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether the configuration is to blame, and not the data directory.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Unread { .. })
    }
}
