//! What differs between two listings is named, each way.

use super::*;

#[test]
fn a_difference_names_what_is_missing_and_what_is_surplus() {
    let wanted = "table inet a {\n\tflags dormant\n\n\tchain x {\n\t\ttcp dport 1 return\n\t}\n}\n";
    let found = "table inet b {\n\tchain x {\n\t\ttcp dport 2 return\n\t}\n}\n";
    assert_eq!(difference(&lines(wanted), &lines(wanted)), "");
    assert_eq!(
        difference(&lines(wanted), &lines(found)),
        "  missing: tcp dport 1 return\n  not asked for: tcp dport 2 return"
    );
    assert_eq!(
        difference(&["a", "b"], &["b", "a"]),
        "  the same rules in another order"
    );
}

#[test]
fn a_listed_table_says_whose_it_is_while_its_group_is_there() {
    let listed = |group: &str| {
        format!(
            "table inet a {{\n\tchain of-cgroup {{\n\t\tsocket cgroupv2 level 2 {group} goto outbound\n\t}}\n}}\n"
        )
    };
    assert_eq!(cgroup_of(&listed("\"a/b\"")).as_deref(), Some("a/b"));
    assert_eq!(cgroup_of(&listed("120")), None);
    assert_eq!(cgroup_of("table inet a {\n}\n"), None);
}
