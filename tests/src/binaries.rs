//! Where the programs under test are.

use std::path::PathBuf;

/// The built program of that name, in the running program's own `target/<profile>`.
///
/// # Panics
/// If it was not built: the message says how.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("path of the test");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --workspace --bins",
        path.display()
    );
    path
}
