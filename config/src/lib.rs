//! What a mesh can be told, how it is checked, and how it travels.
//!
//! Four representations, each with one reason to exist, and what the third means for a request:
//!
//! | module    | what it is                                             | who uses it                    |
//! |-----------|--------------------------------------------------------|--------------------------------|
//! | [`kind`]  | objects as people write them (Gateway API and ours)    | parse, control plane's compile |
//! | [`parse`] | text → kinds, all mistakes of all files in one pass    | control plane, `usher validate`|
//! | [`model`] | what is running: resolved, no names left to look up    | proxy, control plane           |
//! | [`decide`]| model + request → route, backend, leave; pure          | proxy, `usher route test`      |
//! | [`wire`]  | the model as protobuf; decoding is total               | proxy, control plane           |
//!
//! [`value`] holds the types under all of them, each unable to hold an invalid value. `kind` and `model`
//! never import each other: only the control plane's `compile` knows both.

pub mod value;
pub mod kind;
pub mod parse;
pub mod model;
pub mod decide;
pub mod wire;
pub mod schema;
