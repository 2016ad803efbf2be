//! One moment of the bank as text: the whole screen, or lines for a log. Pure.

use super::{
    arrange::arrange,
    blocks::{blocks, is_closed, shares},
    line::Line,
    paint::Paint,
    processes::table,
    tries,
    view::View,
};

/// Room for everything: a log has no width.
const LOG_WIDTH: usize = 400;

/// The terminal, in characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The whole screen: never wider or higher than the terminal.
pub(super) fn screen(view: &View, size: Size, paint: Paint) -> Vec<String> {
    let lines = arrange(&blocks(view, size.width), size.height);
    lines.iter().map(|line| line.render(paint)).collect()
}

/// For a log, once: who runs where, what to try, where to look.
pub(super) fn introduction(view: &View) -> Vec<String> {
    let root = view.root.display();
    let mut lines = table(view, LOG_WIDTH);
    lines.push(Line::default());
    lines.extend(tries::all(view, LOG_WIDTH));
    let mut text: Vec<_> = lines
        .iter()
        .map(|line| line.render(Paint::new(false)).trim_end().to_owned())
        .collect();
    text.push(format!("logs       {root}/logs"));
    let kept = if view.is_temporary {
        "and deletes all of this"
    } else {
        "and keeps its directory"
    };
    text.push(format!(
        "end        Ctrl-C, or kill {}: closes the bank {kept}",
        std::process::id()
    ));
    text
}

/// One line for a log.
pub(super) fn status_line(view: &View) -> String {
    let total = &view.total;
    let mut line = format!(
        "{:>4} s  {:.1} payments/s  {} ok  {} declined  {} failed  p50 {} ms  p99 {} ms  rules {} %",
        view.uptime.as_secs(),
        view.rates.ok + view.rates.declined,
        total.ok + total.pending,
        total.declined,
        total.failed,
        total.p50_us / 1000,
        total.p99_us / 1000,
        shares(view.rates.by_model, view.rates.by_rules).1,
    );
    let open = view
        .breakers
        .iter()
        .filter(|(_, breaker)| !is_closed(&breaker.state));
    for (caller, breaker) in open {
        line.push_str(&format!(
            "  breaker {caller} → {} {}",
            breaker.service, breaker.state
        ));
    }
    for row in view.rows.iter().filter(|row| row.lacks.is_some()) {
        line.push_str(&format!(
            "  {}: {}",
            row.name,
            row.lacks.unwrap_or_default()
        ));
    }
    let rejected = view.troubles.iter().filter(|one| one.is_rejected).count();
    if rejected > 0 {
        line.push_str(&format!("  rejected: {rejected}"));
    }
    line
}

#[cfg(test)]
mod tests;
