//! A handshake proves an identity, or nothing comes through.
