//! JSON Schema of the kinds, for editors: completion and red lines while typing.
//!
//! Checked in as `schema/usher.json`, generated from the structs that `parse` fills. The schema knows shapes and words;
//! what takes more (references, sums of durations, one of two fields across objects) only `parse` knows.

/// One schema (JSON Schema draft 2020-12, as text) for files that hold any kind, which is how editors are set up: `kind`
/// picks the rest. Each kind's own schema is at `/$defs/KIND`.
pub const COMBINED: &str = include_str!("../schema/usher.json");

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;
