//! The checked-in protobuf code is what `proto/` says: nobody needs `protoc` or a build script to build the bank.
//! `UPDATE=1 cargo test -p bank-chassis --test generated` rewrites it.

#![allow(clippy::expect_used, reason = "helpers of a test")]

use std::path::{Path, PathBuf};

const PROTOS: [&str; 3] = [
    "bank/account/v1/account.proto",
    "bank/fraud/v1/fraud.proto",
    "grpc/health/v1/health.proto",
];

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors = protox::compile(PROTOS, [&root]).expect("protos compile");
    tonic_prost_build::configure()
        .out_dir(out)
        .compile_fds(descriptors)
        .expect("code generation");
}

#[test]
fn generated_code_matches_the_protos() {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    let fresh = tempfile::tempdir().expect("temporary directory");
    generate(fresh.path());
    for entry in std::fs::read_dir(fresh.path()).expect("generated files") {
        let path: PathBuf = entry.expect("entry").path();
        let name = path.file_name().expect("file name");
        let text = std::fs::read_to_string(&path).expect("generated file");
        let text = format!(
            "// Generated from `chassis/proto`; see `chassis/tests/generated.rs`.\n\n{text}"
        );
        let target = checked_in.join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&target, &text).expect("write generated file");
        }
        let current = std::fs::read_to_string(&target).unwrap_or_default();
        assert!(
            current == text,
            "{} is stale: run with UPDATE=1",
            target.display()
        );
    }
}
