//! What holds for any configuration text, whoever wrote it. Run by the fuzzer and, over its corpus, by a test.

use usher_config::parse::{Colours, Parsed, parse_files};

/// Parses, shows every mistake, and reads back every object that was accepted.
///
/// # Panics
/// Where parsing does, or where an accepted object does not survive being written and read.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let parsed = parse(text);
    // As parsed: line ends are made alike. A text that ends too early is wrong one line below its last.
    let lines = parsed
        .sources
        .values()
        .map(|text| text.lines().count())
        .sum::<usize>()
        + 1;
    let lines = u32::try_from(lines).unwrap_or(u32::MAX);
    for mistake in &parsed.mistakes {
        assert!(
            (1..=lines).contains(&mistake.position.line),
            "{mistake} in a text of {lines} lines"
        );
        let _ = (mistake.to_string(), parsed.render(mistake, Colours::Plain));
    }
    let complete = parsed.rejected.is_empty() && parsed.unreadable.is_empty();
    assert!(
        complete || parsed.has_errors(),
        "something was left out in silence"
    );
    for mistake in &parsed.mistakes {
        assert!(
            mistake.found != "an object that cannot be read",
            "{mistake}"
        );
    }
    for located in &parsed.objects {
        let written = located.object.to_yaml().unwrap_or_default();
        let again = parse(&written);
        let object = again.objects.first().map(|located| &located.object);
        assert_eq!(object, Some(&located.object), "written as:\n{written}");
    }
}

fn parse(text: &str) -> Parsed {
    parse_files(&[("fuzz.yaml".into(), text.to_owned())])
}
