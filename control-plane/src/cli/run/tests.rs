//! Defaults of `usher run`, and what it finds.
