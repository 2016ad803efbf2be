//! Who is let in and how often: what the two stories that take requests from others have in common.

mod limits;

pub use limits::{Arrived, within_limits};
