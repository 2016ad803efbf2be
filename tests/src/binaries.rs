//! Where the programs under test are.

use std::path::PathBuf;

/// The built program of that name, in the running program's own `target/<profile>`.
///
/// # Panics
/// If it was not built: the message says how.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("path of this program");
    // `target/<profile>/usher-load`, or `target/<profile>/deps/<test>`.
    let folders = own.ancestors().skip(1).take(2);
    let built = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    built.unwrap_or_else(|| panic!("{name} is not built: cargo build --workspace --bins"))
}
