//! Opaque streams: copy both ways, half-close.
