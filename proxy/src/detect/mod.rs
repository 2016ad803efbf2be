//! First bytes → protocol: a pure [`parser`] and one [`reader`].

pub mod parser;
pub mod reader;
