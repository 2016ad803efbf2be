//! Lays out the program of the profile `dist`: what an idle sidecar has called stands together.
//!
//! The kernel maps a program's text by 64 KiB around what is called. With what is called among what is not, that is nearly all
//! of it (ARCHITECTURE.md, "What is called stands together"). Other profiles are linked as they come: their programs are tried,
//! not kept. `USHER_PROXY_UNORDERED=1` leaves it out, for linkers that know no `INSERT` (mold, gold).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Names of functions, with `*` where a build differs from the next one; `ARCHIVE:MEMBER` of what has no section for each function (C
/// and assembler).
const CALLED: &str = "link/called.txt";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={CALLED}");
    println!("cargo::rerun-if-env-changed=USHER_PROXY_UNORDERED");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // Cargo says `release` of every profile that is like it.
    let parts: Vec<_> = out.components().map(|part| part.as_os_str()).collect();
    let is_dist = parts
        .windows(2)
        .any(|two| matches!(two, [profile, build] if *profile == "dist" && *build == "build"));
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if !is_dist || !is_linux || env::var_os("USHER_PROXY_UNORDERED").is_some() {
        return Ok(());
    }
    let (script, map) = (out.join("called.ld"), out.join("usher-proxy.map"));
    fs::write(&script, in_order(&fs::read_to_string(CALLED)?))?;
    link(&["-T", &shown(&script)]);
    // Which `tests/load/called` reads.
    link(&["-Map", &shown(&map)]);
    let is_static = env::var("CARGO_CFG_TARGET_FEATURE")
        .is_ok_and(|all| all.split(',').any(|one| one == "crt-static"));
    // What the machine says of its C library holds for its own.
    let is_own = env::var_os("HOST") == env::var_os("TARGET");
    if is_static && is_own && packs_relocations() {
        // Half a mebibyte less to read at the start.
        link(&["-z", "pack-relative-relocs"]);
    }
    Ok(())
}

fn link(arguments: &[&str]) {
    let arguments = arguments.join(",");
    println!("cargo::rustc-link-arg-bin=usher-proxy=-Wl,{arguments}");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether the C library that is linked in understands them: glibc since 2.36.
fn packs_relocations() -> bool {
    let asked = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    let number = version.trim().strip_prefix("glibc 2.");
    number.is_some_and(|minor| minor.parse::<u32>().is_ok_and(|minor| minor >= 36))
}

/// What the linker is told; what is not named here follows as ever. `unlikely` is what the compiler calls functions that are
/// marked as cold.
fn in_order(called: &str) -> String {
    let names = called.lines().filter(|line| !line.starts_with('#'));
    let sections = names.map(|name| match name.split_once(':') {
        Some(_) => format!("    *{name}(.text .text.*)\n"),
        None => format!("    *(.text.{name} .text.unlikely.{name})\n"),
    });
    let sections: String = sections.collect();
    // Each program runs all of these when it starts.
    let startup = "    *(.text.startup .text.startup.*)\n";
    format!("SECTIONS {{\n  .text.called : {{\n{startup}{sections}  }}\n}}\nINSERT BEFORE .text;\n")
}
