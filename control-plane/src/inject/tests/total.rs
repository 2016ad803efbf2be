//! Whatever the text, there is an answer.

use proptest::prelude::*;

use super::*;

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: &l {app: web}}
spec:
  containers:
  - name: app # the application
    image: \"a:1\"
    env: [{name: A, value: 'x'}]
    args: [*l, !!str 1, |
      text
      ]
    readinessProbe: {httpGet: {port: 80}}
  volumes: []
";

/// Pieces of YAML in an order that nobody would write.
fn pieces() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = POD.lines().collect();
    let piece = prop_oneof![
        6 => proptest::sample::select(lines).prop_map(|line| format!("{line}\n")),
        1 => "[-:{}\\[\\]&*!|>'\"%@`#,? a\t\n\r]{0,12}",
        1 => Just("---\n".to_owned()),
        1 => Just("<<: *l\n".to_owned()),
        1 => "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_has_an_answer(text in prop_oneof![pieces(), "\\PC{0,200}", ".{0,100}"]) {
        for settings in [settings(), ordered()] {
            let changed = change(&text, Wish::Inject(&settings));
            if changed.complaints.is_empty() {
                let again = change(&changed.text, Wish::Inject(&settings));
                prop_assert_eq!(again.text, changed.text);
            }
        }
        change(&text, Wish::Uninject);
    }

    #[test]
    fn a_pod_with_any_bytes_put_in_has_an_answer(at in 0..POD.len(), put in "[-:{}\\[\\]&*!|>'\"#,? a\n]{0,4}", cut in 0..9_usize) {
        let end = (at + cut).min(POD.len());
        let text = format!("{}{put}{}", &POD[..at], &POD[end..]);
        let changed = change(&text, Wish::Inject(&settings()));
        if changed.complaints.is_empty() {
            let again = change(&changed.text, Wish::Inject(&settings()));
            prop_assert_eq!(again.text, changed.text);
        }
    }
}

#[test]
fn aliases_that_would_be_gigabytes_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let many = format!("*a{before}, ").repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{many}]\n"));
    }
    let found = complaints(&text, &settings());
    assert!(
        found[0].contains("aliases that stand for more than"),
        "{found:?}"
    );
}

#[test]
fn nesting_is_bounded() {
    let text = "[".repeat(100_000);
    let found = complaints(&text, &settings());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        complaints(
            &format!("{}{}", "[".repeat(150), "]".repeat(150)),
            &settings()
        )
        .is_empty()
    );
}

#[test]
fn a_large_document_without_pods_costs_its_reading_only() {
    let entries: String = (0..100_000)
        .map(|index| format!("  k{index}: v\n"))
        .collect();
    let text = format!("apiVersion: v1\nkind: ConfigMap\ndata:\n{entries}");
    assert_eq!(injected(&text, &settings()), text);
}
