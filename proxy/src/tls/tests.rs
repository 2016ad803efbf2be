//! A certificate authority for tests, and what handshakes must refuse.
