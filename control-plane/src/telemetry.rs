//! Logs and metrics of the control plane itself.
