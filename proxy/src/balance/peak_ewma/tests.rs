//! Slow is believed at once, fast only gradually.
