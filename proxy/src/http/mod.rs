//! HTTP serving shared by all stories.
