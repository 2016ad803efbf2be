//! Reads the first bytes of a connection and gives them back to whoever serves it.
