//! The command line as a user meets it: the real binary, its words, its exit codes.

mod cli {
    mod bench;
    mod offline;
    mod run;
    mod serve;
}
