//! What holds for any text: it never panics, and no planted mistake is missed.

use proptest::prelude::*;

use super::*;

/// Lines of a valid policy: path of the field, the line, and the same line broken.
const LINES: [(&str, &str, &str); 10] = [
    (
        "spec.timeouts.request",
        "  timeouts: {request: 15s}",
        "  timeouts: {request: 15}",
    ),
    (
        "spec.retry.attempts",
        "  retry: {attempts: 2}",
        "  retry: {attempts: two}",
    ),
    (
        "spec.limits.maxConnection",
        "  limits: {maxConnections: 9}",
        "  limits: {maxConnection: 9}",
    ),
    (
        "spec.ejection.maxEjectionPercent",
        "  ejection: {maxEjectionPercent: 9}",
        "  ejection: {maxEjectionPercent: 101}",
    ),
    (
        "spec.breaker.scope",
        "  breaker: {scope: Route}",
        "  breaker: {scope: Rout}",
    ),
    (
        "spec.fallback",
        "  fallback: {response: {}}",
        "  fallback: {when: [Open]}",
    ),
    (
        "spec.loadBalancer.algorithm",
        "  loadBalancer: {algorithm: RoundRobin}",
        "  loadBalancer: {algorithm: [a]}",
    ),
    (
        "metadata.name",
        "metadata: {name: a, namespace: usher-system}",
        "metadata: {name: A, namespace: usher-system}",
    ),
    ("kind", "kind: TrafficPolicy", "kind: [TrafficPolicy]"),
    (
        "apiVersion",
        "apiVersion: usher.dev/v1alpha1",
        "apiVersion: usher.dev/v1",
    ),
];

fn document(broken: &[bool]) -> String {
    let line = |at: usize| if broken[at] { LINES[at].2 } else { LINES[at].1 };
    let head = format!("{}\n{}\n{}\n", line(9), line(8), line(7));
    let spec: String = (0..7).map(|at| format!("{}\n", line(at))).collect();
    format!("{head}spec:\n  targetRefs: [{{kind: Mesh, name: mesh}}]\n{spec}")
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn any_text_of_yaml_letters_is_answered(text in "[-a:{}\\[\\],#&*!|>'\"%@ \n\t?~<.0]{0,80}") {
        let parsed = parse(&text);
        for mistake in &parsed.mistakes {
            let _ = parsed.render(mistake, Colours::Plain);
        }
    }

    #[test]
    fn every_planted_mistake_is_found_at_its_line(broken in proptest::collection::vec(any::<bool>(), 9)) {
        // A broken kind hides its spec's mistakes, so it is not planted here (index 8).
        let mut planted = broken;
        planted.insert(8, false);
        let text = document(&planted);
        let lines: Vec<&str> = text.lines().collect();
        let parsed = parse(&text);
        let count = planted.iter().filter(|broken| **broken).count();
        prop_assert_eq!(parsed.mistakes.len(), count, "{:?}", said(&parsed));
        for at in (0..10).filter(|at| planted[*at]) {
            let (field, _, line) = LINES[at];
            let found = parsed.mistakes.iter().find(|mistake| mistake.field == field);
            prop_assert!(found.is_some(), "{} in {:?}", field, said(&parsed));
            let position = found.expect("just checked").position;
            prop_assert_eq!(lines[position.line as usize - 1], line);
        }
    }

    #[test]
    fn an_example_with_a_hole_in_it_is_answered(at in 0_usize..2000, length in 0_usize..40, text in "[-:{}\\[ \n*&a]{0,8}") {
        let example = include_str!("../../../examples/timeouts.yaml");
        let (start, end) = (at.min(example.len()), (at + length).min(example.len()));
        if example.is_char_boundary(start) && example.is_char_boundary(end) {
            let _ = parse(&format!("{}{text}{}", &example[..start], &example[end..]));
        }
    }
}
