//! Configuration from the control plane.
