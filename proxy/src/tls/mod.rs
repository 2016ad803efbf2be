//! Handshakes and the verification of peers.
