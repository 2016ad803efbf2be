//! Who is let in and how often: what the two stories that take requests from others have in common.

mod limits;
mod tokens;

pub use limits::{Arrived, within_limits, within_limits_after_tokens, within_limits_before_tokens};
pub use tokens::{authenticated, needs_no_token, strip_claims};
