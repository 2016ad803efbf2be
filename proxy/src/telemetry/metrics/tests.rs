//! Numbers add up over workers, stay bounded, and Prometheus can read them.
