//! Connection → response: dialling an endpoint, and one exchange over HTTP/2 ([`hop`]) or HTTP/1.1.

mod attempt;
pub mod call;
pub mod connect;
pub mod dial;
mod judge;
mod hop;
mod http1;
pub mod mirror;
mod upload;

pub use hop::{Hop, HopBody, handshake as handshake_hop};
pub use http1::{Http1, Http1Body, SwitchedBody, handshake as handshake_http1};

#[cfg(test)]
mod tests;
