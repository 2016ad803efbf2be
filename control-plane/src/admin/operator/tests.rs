//! The operator socket is for its owner, and says why it refuses.

use std::os::unix::fs::PermissionsExt as _;

use usher_config::value::{Name, ServiceName};

use super::{bind, only_account};

#[tokio::test]
async fn the_socket_is_private_and_replaces_a_dead_one() {
    let directory = tempfile::tempdir().expect("writable");
    let path = directory.path().join("operator.sock");
    for _ in 0..2 {
        let _listener = bind(&path).expect("bound");
        assert_eq!(
            path.metadata().expect("exists").permissions().mode() & 0o777,
            0o600
        );
        tokio::net::UnixStream::connect(&path)
            .await
            .expect("answers");
    }
    let left = std::fs::read_dir(directory.path())
        .expect("readable")
        .count();
    assert_eq!(left, 1, "nothing but the socket");
}

#[test]
fn a_service_without_exactly_one_account_needs_one_named() {
    let service: ServiceName = "bank/account".parse().expect("valid");
    let names = |names: &[&str]| -> Vec<Name> {
        names
            .iter()
            .map(|name| name.parse().expect("valid"))
            .collect()
    };
    let only = only_account(&service, names(&["account"]), &[]);
    assert_eq!(only.expect("one").as_str(), "account");
    assert!(
        only_account(&service, vec![], &[])
            .expect_err("none")
            .contains("Workload")
    );
    let several = only_account(&service, names(&["blue", "green"]), &[]).expect_err("several");
    assert!(several.contains("blue, green"), "{several}");
}
