//! Metrics, readiness, and the operator's socket.
