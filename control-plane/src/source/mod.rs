//! Where desired state comes from.

pub mod directory;
