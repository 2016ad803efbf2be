//! Sockets → connections.
