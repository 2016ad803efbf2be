//! Lines are JSON, bounded, and lost only with a count.
