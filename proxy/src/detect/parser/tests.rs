//! The first byte that decides, decides.
