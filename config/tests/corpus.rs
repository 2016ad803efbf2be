//! Everything the fuzzers ever found interesting, replayed without a fuzzer.

use std::{fs, path::Path};

#[path = "../fuzz/checks/jwks.rs"]
mod jwks;
#[path = "../fuzz/checks/wire.rs"]
mod wire;
#[path = "../fuzz/checks/yaml.rs"]
mod yaml;

#[test]
fn no_configuration_in_the_corpus_breaks_parsing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["fuzz/corpus/yaml", "examples", "examples/quickstart"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of the repository") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                yaml::check(&fs::read(path).expect("readable"));
                count += 1;
            }
        }
    }
    assert!(count > 20, "only {count} files");
}

#[test]
fn no_message_in_the_corpus_breaks_decoding() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/wire");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        wire::check(&fs::read(entry.expect("readable").path()).expect("readable"));
        count += 1;
    }
    assert!(count >= 6, "only {count} files");
}

#[test]
fn no_key_set_in_the_corpus_breaks_reading() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/jwks");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let bytes = fs::read(entry.expect("readable").path()).expect("readable");
        for end in 0..=bytes.len() {
            jwks::check(&bytes[..end]);
        }
        count += 1;
    }
    assert!(count >= 4, "only {count} files");
}
