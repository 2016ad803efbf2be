//! A trace is kept if it is well-formed, else a new one begins.
