//! What a pod needs of its sidecar's program besides the sidecar: words for hooks (`wait`, `drain`), and for Jobs whose
//! sidecar is an ordinary container, a way to know when all is done (`pod exec`, `--ends-with`).

mod command;
mod door;
mod exec;
mod notes;

pub use command::{is_ours, main_with};
pub use notes::over;
