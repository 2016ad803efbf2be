//! One normal form, and no path that two readers could read differently.

use proptest::prelude::*;

use super::*;

const STRICT: PathReading = PathReading {
    empty_segments: EmptySegments::Merge,
    parameters: PathParameters::Refuse,
};

const PARAMETERS: PathReading = PathReading {
    empty_segments: EmptySegments::Merge,
    parameters: PathParameters::Keep,
};

#[test]
fn a_normal_path_is_left_alone_without_a_copy() {
    for path in [
        "/",
        "/a",
        "/a/b/",
        "/v1/payments/17",
        "/.hidden",
        "/a..b",
        "/...",
        "/%20",
        "*",
    ] {
        assert!(
            matches!(normalize(path, STRICT), Ok(Cow::Borrowed(same)) if same == path)
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
        assert_eq!(normalize(path, STRICT).as_deref(), Ok(normal), "{path}");
    }
}

#[test]
fn slashes_that_follow_each_other_are_one_unless_the_mesh_keeps_them() {
    for (path, merged) in [
        ("//orders", "/orders"),
        ("/a//b///c", "/a/b/c"),
        ("/a//", "/a/"),
        ("///", "/"),
        ("//..", "/"),
        ("/a//%2e%2e//b", "/a/b"),
    ] {
        let normal = normalize(path, STRICT);
        assert_eq!(normal.as_deref(), Ok(merged), "{path}");
    }
    for path in ["//orders", "/bucket//key", "/a//"] {
        let kept = normalize(path, PathReading::LENIENT);
        assert!(
            matches!(kept, Ok(Cow::Borrowed(same)) if same == path),
            "{path}"
        );
    }
}

#[test]
fn parameters_are_refused_unless_the_mesh_says_that_its_applications_mean_them() {
    for path in [
        "/orders;x",
        "/orders;",
        "/orders/17;v=1;w",
        "/a/../orders;x",
        "/orders%3Bx",
        "/orders/17%3bv=1",
        "//orders;x",
    ] {
        let refused = normalize(path, STRICT);
        assert_eq!(refused, Err(PathError::Parameters), "{path}");
    }
    for (path, normal, ruled) in [
        ("/orders;x", "/orders;x", "/orders"),
        ("/orders;", "/orders;", "/orders"),
        ("/a//b;v=1;w", "/a/b;v=1;w", "/a/b"),
        ("/a/../orders;x=..", "/orders;x=..", "/orders"),
        ("/orders%3bx", "/orders%3Bx", "/orders%3Bx"),
        ("/orders;x%3By", "/orders;x%3By", "/orders"),
        ("/orders", "/orders", "/orders"),
        ("*", "*", "*"),
    ] {
        let kept = normalize(path, PARAMETERS);
        assert_eq!(kept.as_deref(), Ok(normal), "{path}");
        assert_eq!(without_parameters(normal), ruled, "{path}");
    }
    for path in [
        "/orders;x/y",
        "/a/;x",
        "/..;",
        "/a/..;/orders",
        "/orders;x/..;",
    ] {
        let refused = normalize(path, PARAMETERS);
        assert_eq!(refused, Err(PathError::Ambiguous), "{path}");
        // Some proxies decode it on the way.
        for encoded in [path.replacen(';', "%3B", 1), path.replace(';', "%3b")] {
            let refused = normalize(&encoded, PARAMETERS);
            assert_eq!(refused, Err(PathError::Ambiguous), "{encoded}");
        }
    }
}

/// As a servlet container does it: parameters of every segment are taken away, then dots resolved and slashes merged.
/// Containers that merge before they resolve read `//..` otherwise; they never see it, as what is sent on has neither.
fn servlet(path: &str) -> Result<String, PathError> {
    let bare = |segment: &str| segment.split(';').next().unwrap_or("").to_owned();
    let segments: Vec<String> = path.split('/').map(bare).collect();
    Ok(merge_slashes(&resolve_dots(&segments.join("/"))?))
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
        ("/public/..%3B/admin", PathError::Ambiguous),
        ("/public/%2e.%3b", PathError::Ambiguous),
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
        assert_eq!(normalize(path, STRICT), Err(error), "{path:?}");
    }
}

#[test]
fn configuration_names_paths_as_they_are_sent() {
    for path in ["/", "/a/b", "/caf%C3%A9", "/.hidden", "/a/"] {
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
        ("/a;v=1", None),
        ("/a%3Bv", None),
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
        if let Ok(normal) = normalize(&path, STRICT) {
            let again = normalize(&normal, STRICT);
            prop_assert_eq!(again.as_deref(), Ok(&*normal));
            prop_assert!(normal.starts_with('/'));
            prop_assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(!normal.contains("//"));
        }
    }

    /// Whoever takes parameters away and whoever does not read the same path, or rules read what the first one does.
    #[test]
    fn rules_look_at_what_a_servlet_container_would(path in "/([a-b./;]|%3B|\\.\\.){0,12}") {
        if let Ok(normal) = normalize(&path, STRICT) {
            prop_assert!(!normal.contains(';') && !normal.contains("%3B"));
        }
        if let Ok(normal) = normalize(&path, PARAMETERS) {
            let ruled = without_parameters(&normal);
            prop_assert_eq!(servlet(&normal), Ok(ruled.to_owned()));
            prop_assert_eq!(servlet(&path), Ok(ruled.to_owned()));
            // Behind a proxy that decodes it, it may lead nowhere but below where rules look.
            let decoded = servlet(&normal.replace("%3B", ";"));
            prop_assert!(decoded.is_ok_and(|decoded| ruled.starts_with(&decoded)));
        }
    }

    #[test]
    fn any_text_is_survived(path in any::<String>()) {
        let _ = normalize(&path, STRICT);
    }
}
