//! JSON Schema for editors, generated from the kinds.
