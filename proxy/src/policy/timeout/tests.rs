//! Deadlines shrink and never grow.
