//! Lines keep to their width, and commands stay commands.

use super::*;

fn text(line: &Line) -> String {
    line.render(Paint::new(false))
}

#[test]
fn a_cut_line_says_so_and_colour_takes_no_room() {
    let line = Line::of(Tone::Bad, "0123456789").and(Tone::Good, "abc");
    assert_eq!(text(&line.clone().cut(13)), "0123456789abc");
    assert_eq!(text(&line.clone().cut(12)), "0123456789a…");
    assert_eq!(text(&line.clone().cut(5)), "0123…");
    assert_eq!(text(&line.clone().cut(0)), "");
    let coloured = line.cut(5).render(Paint::new(true));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), "0123…");
}

#[test]
fn last_words_of_the_dead_cannot_move_the_cursor() {
    let line = Line::plain("a\x1b[2J\tb\r");
    assert_eq!(text(&line), "a [2J b ");
}

#[test]
fn the_most_telling_form_that_fits_is_taken() {
    let forms = || ["long form", "short", "s"].map(Line::plain);
    assert_eq!(text(&fitting(forms(), 9)), "long form");
    assert_eq!(text(&fitting(forms(), 8)), "short");
    assert_eq!(text(&fitting(forms(), 0)), "");
}

#[test]
fn a_folded_command_is_the_same_command_to_a_shell() {
    let words = [
        "curl",
        "-x",
        "http://127.0.0.1:20001",
        "http://reporting.bank/v1/totals",
    ];
    for width in [50, 60, 74, 200] {
        let lines: Vec<_> = command("", &words, width).iter().map(text).collect();
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{lines:#?}"
        );
        let joined = lines.join("\n").replace("\\\n", " ");
        let read: Vec<_> = joined.split_whitespace().collect();
        assert_eq!(read, words, "{width}");
    }
}
