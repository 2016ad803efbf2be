//! `usher-proxy intercept`: makes the kernel hand the application's connections to its sidecar.
//!
//! Rules live in one table of their own (one more for each control group that is intercepted alone), loaded as one transaction, so that installing twice is installing once and
//! nobody else's rules are touched. What the rules say is [`ruleset`], pure; [`nft`] only carries it to the kernel.

mod cgroup;
mod command;
mod enter;
mod nft;
pub mod ruleset;
mod set;
mod settings;

pub use cgroup::Cgroup;
pub use command::{NAME, main_with};
pub use set::{AddressSet, PortSet};
pub use settings::{Calls, Inbound, Settings, Side};
