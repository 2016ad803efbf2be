//! `bank`: everything is in the library, which is compiled while the crates below it still are.

use std::process::ExitCode;

fn main() -> ExitCode {
    bank::main()
}
