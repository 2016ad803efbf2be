//! Objects as people write them, one file per kind.
