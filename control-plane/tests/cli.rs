//! The command line as a user meets it: the real binary, its words, its exit codes.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod cli {
    mod apply;
    mod bench;
    mod fake_sidecar;
    mod offline;
    mod questions;
    mod run;
    mod serve;
    mod shadowed;
    mod start;
}
