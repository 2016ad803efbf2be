//! May it, how long, how often (pure rules).
