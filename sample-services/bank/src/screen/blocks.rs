//! The parts of the screen as lines no wider than the terminal. Pure: what is shown depends on the view alone.

use super::{
    arrange::Block,
    line::{Line, fitting},
    paint::Tone,
    processes, tries,
    view::View,
};

/// All of them in the order they are shown.
pub(super) fn blocks(view: &View, width: usize) -> Vec<Block> {
    let gap = || Block {
        rank: 7,
        forms: vec![vec![], vec![Line::default()]],
    };
    let of = |rank, forms| Block { rank, forms };
    vec![
        of(0, vec![vec![heading(view, width)]]),
        of(0, vec![troubles(view, width)]),
        gap(),
        of(3, payments(view, width)),
        of(4, breakers(view, width)),
        gap(),
        of(1, processes::forms(view, width)),
        gap(),
        of(2, tries::forms(view, width)),
        gap(),
        of(5, events(view, width)),
    ]
}

fn heading(view: &View, width: usize) -> Line {
    let up = view.uptime.as_secs();
    let revision = view
        .control_plane
        .revision
        .map_or("unknown".to_owned(), |revision| revision.to_string());
    let fate = if view.is_temporary {
        "deleted at the end"
    } else {
        "kept"
    };
    let root = view.root.display();
    let form = |title: &str, rest: String| Line::of(Tone::Title, title).and(Tone::Plain, &rest);
    let short = format!("   open {up} s   revision {revision}   Ctrl-C closes it");
    fitting(
        [
            form(
                "the bank on the Usher mesh",
                format!(
                    "   open {up} s   configuration revision {revision}   Ctrl-C closes it   {root} ({fate})"
                ),
            ),
            form("the bank on the Usher mesh", short.clone()),
            form("the bank", short),
        ],
        width,
    )
}

/// What `usher status` complains about: one line, because the rest is one command away.
fn troubles(view: &View, width: usize) -> Vec<Line> {
    let Some(first) = view.troubles.first() else {
        return vec![];
    };
    let (label, tone) = if first.is_rejected {
        ("rejected", Tone::Bad)
    } else {
        ("look at", Tone::Degraded)
    };
    let more = match view.troubles.len() - 1 {
        0 => "  more: look, below".to_owned(),
        more => format!("  +{more} more: look, below"),
    };
    let place = if first.at.is_empty() {
        &first.object
    } else {
        &first.at
    };
    let head = Line::of(tone, &format!("{label:<11}")).and(tone, place);
    let room = width.saturating_sub(head.width() + more.chars().count());
    let message = Line::plain(&format!(" {}", first.message)).cut(room);
    let words = message.render(super::paint::Paint::new(false));
    vec![
        head.and(Tone::Plain, &words)
            .and(Tone::Dim, &more)
            .cut(width),
    ]
}

fn payments(view: &View, width: usize) -> Vec<Vec<Line>> {
    let (rates, total) = (view.rates, &view.total);
    let (p50, p99) = (total.p50_us / 1000, total.p99_us / 1000);
    let failing = if rates.failed > 0.0 {
        Tone::Bad
    } else {
        Tone::Plain
    };
    let rate = |pad: usize, gap: &str, rest: &str| {
        Line::labelled("payments")
            .and(Tone::Plain, &format!("{:>pad$.1}/s ok{gap}", rates.ok))
            .and(
                Tone::Plain,
                &format!("{:>pad$.1}/s declined{gap}", rates.declined),
            )
            .and(failing, &format!("{:>pad$.1}/s failed", rates.failed))
            .and(Tone::Plain, rest)
    };
    let rate = fitting(
        [
            rate(6, " ", &format!("   p50 {p50} ms  p99 {p99} ms")),
            rate(0, "  ", &format!("  p50 {p50} ms  p99 {p99} ms")),
            rate(0, "  ", &format!("  p99 {p99} ms")),
            rate(0, " ", ""),
        ],
        width,
    );
    let (ok, declined, failed) = (total.ok + total.pending, total.declined, total.failed);
    let sum = |text: String| Line::labelled("in all").and(Tone::Plain, &text);
    let sum = fitting(
        [
            sum(format!(
                "{ok:>8} ok {declined:>8} declined {failed:>8} failed"
            )),
            sum(format!("{ok} ok  {declined} declined  {failed} failed")),
        ],
        width,
    );
    let (by_model, by_rules) = shares(rates.by_model, rates.by_rules);
    let ruled = if rates.by_rules > 0 {
        Tone::Degraded
    } else {
        Tone::Plain
    };
    let rules = format!("fraud-rules {by_rules} %");
    let model = format!("fraud-detection {by_model} %  ");
    let decided = Line::labelled("decided by")
        .and(Tone::Plain, &model)
        .and(ruled, &rules)
        .cut(width);
    vec![
        vec![rate.clone(), decided.clone()],
        vec![rate, sum, decided],
    ]
}

/// All in one line, or each on its own.
fn breakers(view: &View, width: usize) -> Vec<Vec<Line>> {
    let state = |line: Line, state: &str| {
        let tone = match state {
            state if is_closed(state) => Tone::Good,
            state if state.eq_ignore_ascii_case("open") => Tone::Bad,
            _ => Tone::Degraded,
        };
        line.and(tone, state)
    };
    let each: Vec<_> = view
        .breakers
        .iter()
        .map(|(caller, breaker)| {
            let who = format!("{caller} → {}: ", breaker.service);
            let line = Line::labelled("breaker").and(Tone::Plain, &who);
            state(line, &breaker.state).cut(width)
        })
        .collect();
    if each.len() < 2 {
        return vec![each];
    }
    let (closed, others): (Vec<_>, Vec<_>) = view
        .breakers
        .iter()
        .partition(|(_, breaker)| is_closed(&breaker.state));
    let mut all = Line::labelled("breakers").and(Tone::Plain, &format!("{} closed", closed.len()));
    for (_, breaker) in others {
        let who = format!("; {}: ", breaker.service);
        all = state(all.and(Tone::Plain, &who), &breaker.state);
    }
    vec![vec![all.cut(width)], each]
}

/// The latest ones, none to all.
fn events(view: &View, width: usize) -> Vec<Vec<Line>> {
    let lines: Vec<_> = view
        .events
        .iter()
        .map(|event| Line::of(Tone::Dim, event).cut(width))
        .collect();
    (0..=lines.len())
        .map(|count| lines.iter().skip(lines.len() - count).cloned().collect())
        .collect()
}

pub(super) fn is_closed(state: &str) -> bool {
    state.eq_ignore_ascii_case("closed")
}

/// Each one's part of both, in whole percent that add up to 100; nothing of nothing is 0.
pub(super) fn shares(one: u64, other: u64) -> (u64, u64) {
    let whole = one + other;
    match (other * 100 + whole / 2).checked_div(whole) {
        Some(rounded) => (100 - rounded, rounded),
        None => (0, 0),
    }
}
