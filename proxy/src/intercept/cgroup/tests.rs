//! Paths of control groups: one form whatever the spelling, never one that ends nft's quotes, a table for each.

use proptest::prelude::*;

use super::*;

#[test]
fn a_path_is_taken_however_it_is_written() {
    for text in [
        "system.slice/web.service",
        "/system.slice/web.service/",
        "/sys/fs/cgroup/system.slice/web.service",
    ] {
        let cgroup: Cgroup = text.parse().unwrap();
        assert_eq!(cgroup.to_string(), "system.slice/web.service");
        assert_eq!(cgroup.level(), 2);
        assert!(
            cgroup.table().starts_with("usher-intercept-web.service-"),
            "{}",
            cgroup.table()
        );
    }
    for text in [
        "",
        "/",
        "/sys/fs/cgroup",
        "a//b",
        "a/../b",
        ".",
        "a\"b",
        "a\nb",
    ] {
        assert!(text.parse::<Cgroup>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_taken_fits_into_a_rule_and_names_a_table(text in "[ -~äλ/]{0,400}") {
        if let Ok(cgroup) = text.parse::<Cgroup>() {
            let path = cgroup.to_string();
            prop_assert!(!path.contains('"') && !path.starts_with('/') && !path.ends_with('/'));
            prop_assert_eq!(path.parse::<Cgroup>().unwrap(), cgroup.clone());
            let table = cgroup.table();
            prop_assert!(table.len() < 255, "{}", table.len());
            prop_assert!(table.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)), "{}", table);
        }
    }

    #[test]
    fn no_two_groups_share_a_table(one in "[a-c./@]{1,12}", other in "[a-c./@]{1,12}") {
        if let (Ok(one), Ok(other)) = (one.parse::<Cgroup>(), other.parse::<Cgroup>()) {
            prop_assert_eq!(one == other, one.table() == other.table());
        }
    }
}
