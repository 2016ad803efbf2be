//! The checked-in protobuf code is what `proto/` says. `UPDATE=1 cargo test -p usher-config --test generated` rewrites it.

#![allow(clippy::expect_used, reason = "a test: a panic is its way to fail")]

use std::path::{Path, PathBuf};

const PROTOS: [&str; 3] = [
    "envoy/service/discovery/v3/discovery.proto",
    "usher/v1/model.proto",
    "usher/v1/mesh.proto",
];

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors = protox::compile(PROTOS, [&root]).expect("protos compile");
    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".usher.v1.StaticResponse.body")
        // In one order, whatever the process: versions are hashes of what is encoded.
        .btree_map(".usher.v1.StaticResponse.headers")
        .compile_fds(descriptors)
        .expect("code generation");
}

#[test]
fn generated_code_matches_the_protos() {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/generated");
    let fresh = tempfile::tempdir().expect("temporary directory");
    generate(fresh.path());
    for entry in std::fs::read_dir(fresh.path()).expect("generated files") {
        let path: PathBuf = entry.expect("entry").path();
        let name = path.file_name().expect("file name");
        let text = std::fs::read_to_string(&path).expect("generated file");
        let text =
            format!("// Generated from `config/proto`; see `config/tests/generated.rs`.\n\n{text}");
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
