//! A retry budget is a share of requests, and never negative.
