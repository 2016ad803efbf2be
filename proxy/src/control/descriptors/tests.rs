//! The limit of this test's own process, which nextest starts for it alone.

use super::*;

#[test]
fn as_much_is_allowed_as_could_be() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 256.min(hard), hard).unwrap();
    raise(1);
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    assert_eq!(wanted(2), 2 * 2 * 8_192 + 256);
}

#[test]
fn a_limit_that_few_ever_reach_worries_nobody() {
    for (allowed, is_enough) in [
        (1_024, false),
        (4_096, false),
        (20_000, true),
        (1 << 20, true),
    ] {
        assert_eq!(enough(allowed, wanted(2)), is_enough, "{allowed}");
    }
}
