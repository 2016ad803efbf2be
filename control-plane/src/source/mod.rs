//! Where desired state comes from.

pub mod directory;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
