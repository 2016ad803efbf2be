//! A store's address is understood, or refused with what is allowed, and a password in it is not repeated.

use super::members;

#[test]
fn a_store_is_one_or_several_hosts_with_ports() {
    for (url, expected) in [
        ("etcd://127.0.0.1:2379", vec!["127.0.0.1:2379"]),
        ("etcd://a:1,b.example:2/", vec!["a:1", "b.example:2"]),
        ("etcd://[::1]:2379", vec!["[::1]:2379"]),
    ] {
        assert_eq!(members(url).expect(url), expected);
    }
    for url in [
        "etcd://",
        "etcd://host",
        "etcd://host:0",
        "etcd://a:1,,b:2",
        "http://host:2379",
        "redis://host:1",
        "host:2379",
    ] {
        let refused = members(url).expect_err(url);
        assert!(
            refused.contains(url) && refused.contains("etcd://HOST:PORT"),
            "{refused}"
        );
    }
    let refused = members("etcd://root:secret@host:2379").expect_err("a user");
    assert!(!refused.contains("secret"), "{refused}");
}
