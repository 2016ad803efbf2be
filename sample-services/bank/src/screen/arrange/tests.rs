//! Room goes to what matters, and never more than there is.

use super::*;

fn lines(name: &str, count: usize) -> Vec<Line> {
    (0..count)
        .map(|index| Line::plain(&format!("{name}{index}")))
        .collect()
}

fn blocks() -> [Block; 3] {
    [
        Block {
            rank: 2,
            forms: vec![lines("a", 1), lines("a", 3)],
        },
        Block {
            rank: 3,
            forms: (0..=5).map(|count| lines("b", count)).collect(),
        },
        Block {
            rank: 1,
            forms: vec![lines("c", 2), lines("c", 4)],
        },
    ]
}

fn shown(height: usize) -> String {
    let lines = arrange(&blocks(), height);
    let text = |line: &Line| line.render(crate::screen::paint::Paint::new(false));
    lines.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[test]
fn with_room_for_all_all_is_shown_in_its_place() {
    assert_eq!(shown(12), "a0 a1 a2 b0 b1 b2 b3 b4 c0 c1 c2 c3");
    assert_eq!(shown(12), shown(usize::MAX));
}

#[test]
fn who_ranks_first_grows_first() {
    assert_eq!(shown(5), "a0 c0 c1 c2 c3");
    assert_eq!(shown(6), "a0 b0 c0 c1 c2 c3");
    assert_eq!(shown(7), "a0 a1 a2 c0 c1 c2 c3");
    assert_eq!(shown(8), "a0 a1 a2 b0 c0 c1 c2 c3");
}

#[test]
fn no_height_is_exceeded() {
    for height in 0..15 {
        assert!(arrange(&blocks(), height).len() <= height);
    }
}
