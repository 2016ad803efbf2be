//! First bytes → protocol (pure).
