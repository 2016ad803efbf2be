//! Service → endpoint (pure choice over shared endpoint state).
