//! Pool: one dial for all who wait.
