//! Whether our own application is well.
