//! Facts about payments.
