//! Hop.
