//! Only what cannot do harm is repeated.
