//! Connection → response.
