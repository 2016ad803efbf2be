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
