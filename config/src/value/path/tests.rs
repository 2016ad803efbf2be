//! One normal form, and no path that two readers could read differently.

use proptest::prelude::*;

use super::*;

#[test]
fn a_normal_path_is_left_alone_without_a_copy() {
    for path in [
        "/",
        "/a",
        "/a/b/",
        "/v1/payments/17",
        "/a;v=1",
        "/.hidden",
        "/a..b",
        "/...",
        "/%20",
        "*",
    ] {
        assert!(
            matches!(normalize(path, EmptySegments::Merge), Ok(Cow::Borrowed(same)) if same == path)
                || path == "/%20",
            "{path}"
        );
    }
}

#[test]
fn dots_are_resolved_and_unreserved_characters_decoded() {
    for (path, normal) in [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/%61%2d%7E", "/a-~"),
        ("/a/%2e%2E/b", "/b"),
        ("/%c3%a4", "/%C3%A4"),
        ("/%25", "/%25"),
        ("/%252F", "/%252F"),
        ("/a//../b", "/a/b"),
    ] {
        assert_eq!(
            normalize(path, EmptySegments::Merge).as_deref(),
            Ok(normal),
            "{path}"
        );
    }
}

#[test]
fn slashes_that_follow_each_other_are_one_unless_the_mesh_keeps_them() {
    for (path, merged) in [
        ("//orders", "/orders"),
        ("/a//b///c", "/a/b/c"),
        ("/a//", "/a/"),
        ("///", "/"),
        ("/a//%2e%2e//b", "/a/b"),
        ("/a//b;v=1", "/a/b;v=1"),
    ] {
        let normal = normalize(path, EmptySegments::Merge);
        assert_eq!(normal.as_deref(), Ok(merged), "{path}");
    }
    for path in ["//orders", "/bucket//key", "/a//"] {
        let kept = normalize(path, EmptySegments::Keep);
        assert!(
            matches!(kept, Ok(Cow::Borrowed(same)) if same == path),
            "{path}"
        );
    }
}

#[test]
fn what_readers_could_disagree_on_is_refused() {
    for (path, error) in [
        ("/a%2Fb", PathError::Ambiguous),
        ("/a%2fb", PathError::Ambiguous),
        ("/a%5Cb", PathError::Ambiguous),
        ("/a%00", PathError::Ambiguous),
        ("/a\\b", PathError::Ambiguous),
        ("/public/..;/admin", PathError::Ambiguous),
        ("/public/%2e%2e;/admin", PathError::Ambiguous),
        ("/public/..;", PathError::Ambiguous),
        ("/admin;x/users", PathError::Ambiguous),
        ("/;/admin", PathError::Ambiguous),
        ("/..", PathError::AboveRoot),
        ("/a/../../b", PathError::AboveRoot),
        ("/%", PathError::Malformed),
        ("/%4", PathError::Malformed),
        ("/%zz", PathError::Malformed),
        ("/a b", PathError::Malformed),
        ("/a\u{7f}", PathError::Malformed),
        ("/ä", PathError::Malformed),
        ("", PathError::NotAbsolute),
        ("a", PathError::NotAbsolute),
    ] {
        assert_eq!(
            normalize(path, EmptySegments::Merge),
            Err(error),
            "{path:?}"
        );
    }
}

#[test]
fn configuration_names_paths_as_they_are_sent() {
    for path in ["/", "/a/b", "/caf%C3%A9", "/a;v=1", "/.hidden", "/a/"] {
        assert!(is_normal(path), "{path}");
        assert_eq!(meant(path).as_deref(), Some(path));
    }
    for (path, normal) in [
        ("/caf\u{e9}", Some("/caf%C3%A9")),
        ("/caf%c3%a9", Some("/caf%C3%A9")),
        ("/%41/%7Ea", Some("/A/~a")),
        ("/a b", Some("/a%20b")),
        ("/a/../b", Some("/b")),
        ("/100%", None),
        ("/a\\b", None),
        ("/a%2fb", None),
        ("/a//b", None),
        ("a", None),
        ("*", None),
        ("", None),
    ] {
        assert!(!is_normal(path), "{path}");
        assert_eq!(meant(path).as_deref(), normal, "{path}");
    }
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(path in "/([a-c./;%]|%2[0-9eEfF]|%6[1-3]|%5c|\\.\\.){0,12}") {
        if let Ok(normal) = normalize(&path, EmptySegments::Merge) {
            let again = normalize(&normal, EmptySegments::Merge);
            prop_assert_eq!(again.as_deref(), Ok(&*normal));
            prop_assert!(normal.starts_with('/'));
            prop_assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(!normal.contains("//"));
        }
    }

    #[test]
    fn any_text_is_survived(path in any::<String>()) {
        let _ = normalize(&path, EmptySegments::Merge);
    }
}
