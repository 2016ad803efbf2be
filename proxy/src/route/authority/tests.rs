//! Every spelling of a service is understood, nothing else is.
