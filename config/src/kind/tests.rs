//! Facts about kinds.
