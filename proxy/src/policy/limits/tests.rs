//! A limit is never exceeded and every place comes back.
