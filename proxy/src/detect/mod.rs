//! First bytes → protocol: a pure [`parser`], one [`reader`], and for those who wait for the other side [`server`].

pub mod parser;
pub mod reader;
pub mod server;
