//! Where to look for what proves who we are, while we have no identity.

use std::path::PathBuf;

use super::Bootstrap;

/// Where a token is, and where the roots are that it may be shown to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenFiles {
    /// `--token-file`.
    pub token: Option<PathBuf>,
    /// `--root-file`.
    pub roots: Option<PathBuf>,
}

impl Bootstrap {
    /// Where to look for what proves who we are, while we have no identity.
    pub fn token_files(&self) -> TokenFiles {
        TokenFiles {
            token: self.token_file.clone(),
            roots: self.root_file.clone(),
        }
    }
}
