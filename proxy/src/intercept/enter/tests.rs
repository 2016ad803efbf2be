//! Without rules a connection to ourselves arrives: nothing is started on that.

use super::*;

#[test]
fn a_connection_that_arrives_is_not_handed_over() {
    assert!(!is_handed_over().unwrap());
}

#[test]
fn a_group_that_is_not_there_starts_nothing() {
    let cgroup: Cgroup = "no-such-group/of-usher".parse().unwrap();
    let error = enter(&cgroup, &["true".into()]).unwrap_err();
    assert!(
        matches!(
            error,
            InterceptError::NoCgroup { .. } | InterceptError::NoCgroups
        ),
        "{error}"
    );
}
