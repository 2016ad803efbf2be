//! A fallback answers only where that cannot do the work twice.
