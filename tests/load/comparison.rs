//! What was measured of each peer, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use crate::statistics::{median, spread_percent};

/// A column: what it is, in which unit, and with how many digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) digits: usize,
    pub(crate) better: Better,
}

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

impl Figure {
    pub(crate) const fn less(name: &'static str, digits: usize) -> Self {
        Self {
            name,
            digits,
            better: Better::Less,
        }
    }

    pub(crate) const fn more(name: &'static str, digits: usize) -> Self {
        Self {
            name,
            digits,
            better: Better::More,
        }
    }
}

/// What one turn of one peer gave.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) values: Vec<(Figure, f64)>,
    /// Requests that were not answered as they should.
    pub(crate) errors: u64,
}

/// Peers in one run under one load.
#[derive(Debug)]
pub(crate) struct Comparison {
    title: String,
    conditions: String,
    /// The first one is what peers are compared by.
    figures: Vec<Figure>,
    rows: Vec<Row>,
    /// Peers that are not here, and why.
    left_out: Vec<(String, String)>,
}

/// One peer.
#[derive(Debug)]
struct Row {
    peer: String,
    values: BTreeMap<&'static str, Vec<f64>>,
    errors: u64,
}

impl Row {
    fn values(&self, figure: Figure) -> &[f64] {
        self.values.get(figure.name).map_or(&[], Vec::as_slice)
    }

    fn median(&self, figure: Figure) -> Option<f64> {
        median(self.values(figure))
    }
}

impl Comparison {
    pub(crate) fn new(title: impl Into<String>, conditions: String, figures: &[Figure]) -> Self {
        Self {
            title: title.into(),
            conditions,
            figures: figures.to_vec(),
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// A peer that is not measured.
    pub(crate) fn leave_out(&mut self, peer: &str, why: &str) {
        self.left_out.push((peer.to_owned(), why.to_owned()));
    }

    /// Peers appear in the order of their first record.
    pub(crate) fn record(&mut self, peer: &str, turn: Turn) {
        let index = self.rows.iter().position(|row| row.peer == peer);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row {
                peer: peer.to_owned(),
                values: BTreeMap::new(),
                errors: 0,
            });
            self.rows.len() - 1
        });
        let Some(row) = self.rows.get_mut(index) else {
            return;
        };
        row.errors += turn.errors;
        for (figure, value) in turn.values {
            row.values.entry(figure.name).or_default().push(value);
        }
    }

    /// Adds a figure: what each peer has of another one above the `reference`, round by round.
    pub(crate) fn add_difference(&mut self, figure: Figure, of: Figure, reference: &str) {
        let base = self.rows.iter().find(|row| row.peer == reference);
        let base = base.map_or(Vec::new(), |row| row.values(of).to_vec());
        for row in self.rows.iter_mut().filter(|row| row.peer != reference) {
            let rounds = row.values(of).iter().zip(&base);
            let above = rounds.map(|(value, base)| value - base).collect();
            row.values.insert(figure.name, above);
        }
    }

    /// What its chart is called.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// What peers are compared by, and each peer's median of it; peers without one are left out.
    pub(crate) fn bars(&self) -> Option<(Figure, Vec<(&str, f64)>)> {
        let figure = *self.figures.first()?;
        let bar = |row: &'_ Row| row.median(figure);
        let bars = self.rows.iter();
        let bars = bars.filter_map(|row| Some((row.peer.as_str(), bar(row)?)));
        Some((figure, bars.collect()))
    }

    /// Medians; of the first figure also its spread, and each peer's share of the first peer's.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}: {}\n", self.title, self.conditions);
        let _ = write!(text, "{:<18}", "");
        for figure in &self.figures {
            let _ = write!(text, " {:>16}", figure.name);
        }
        let _ = writeln!(text, " {:>6} {:>8} {:>8}", "±", "x usher", "errors");
        for row in &self.rows {
            text.push_str(&self.line(row));
        }
        for (peer, why) in &self.left_out {
            let _ = writeln!(text, "{peer:<18} left out: {why}");
        }
        text
    }

    fn line(&self, row: &Row) -> String {
        let mut text = format!("{:<18}", row.peer);
        for figure in &self.figures {
            let value = row.median(*figure);
            let value = value.map_or("–".to_owned(), |v| format!("{v:.*}", figure.digits));
            let _ = write!(text, " {value:>16}");
        }
        let first = self.figures.first().copied();
        let of_row = |row: &Row| first.and_then(|figure| row.median(figure));
        let spread = first.and_then(|figure| spread_percent(row.values(figure)));
        let spread = spread.map_or(String::new(), |spread| format!("{spread:.0}%"));
        let ours = self.rows.first().and_then(of_row);
        // A share of nothing, or of what noise made less than nothing, says nothing.
        let ratio = of_row(row).zip(ours).filter(|(_, ours)| *ours > 0.0);
        let ratio = ratio.map(|(theirs, ours)| theirs / ours);
        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(text, " {spread:>6} {ratio:>8} {:>8}", row.errors);
        text
    }

    /// All of it, each turn's value too.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let figures = self.figures.iter().filter_map(|figure| {
                let values = row.values(*figure);
                let all = json!({
                    "median": median(values)?,
                    "spread_percent": spread_percent(values),
                    "turns": values,
                });
                Some((figure.name.to_owned(), all))
            });
            let figures: serde_json::Map<String, Value> = figures.collect();
            json!({ "peer": row.peer, "figures": figures, "errors": row.errors })
        });
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|(peer, why)| json!({ "peer": peer, "why": why }));
        json!({
            "title": self.title,
            "conditions": self.conditions,
            "peers": rows.collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Figure, Turn};

    const CPU: Figure = Figure::less("CPU µs/req", 1);
    const RATE: Figure = Figure::more("req/s", 0);

    fn turn(cpu: f64, rate: f64) -> Turn {
        Turn {
            values: vec![(CPU, cpu), (RATE, rate)],
            errors: 1,
        }
    }

    fn compared() -> Comparison {
        let mut comparison = Comparison::new("pair", "2 turns".into(), &[CPU, RATE]);
        for (ours, theirs) in [(40.0, 90.0), (60.0, 110.0)] {
            comparison.record("usher", turn(ours, 1000.0));
            comparison.record("envoy", turn(theirs, 500.0));
        }
        let direct = Turn {
            values: vec![(RATE, 9000.0)],
            errors: 0,
        };
        comparison.record("direct", direct);
        comparison.leave_out("nginx", "no --nginx");
        comparison
    }

    #[test]
    fn the_table_has_medians_and_shares_of_the_first_peer() {
        let table = compared().table();
        let words = |start: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(
            words("usher"),
            ["usher", "50.0", "1000", "20%", "1.00", "2"]
        );
        assert_eq!(
            words("envoy"),
            ["envoy", "100.0", "500", "10%", "2.00", "2"]
        );
        assert_eq!(words("direct"), ["direct", "–", "9000", "0"]);
        assert!(table.contains("left out: no --nginx"), "{table}");
    }

    #[test]
    fn json_keeps_each_turn() {
        let json = compared().json();
        let turns = &json["peers"][1]["figures"]["CPU µs/req"]["turns"];
        assert_eq!(*turns, serde_json::json!([90.0, 110.0]));
        assert_eq!(json["left_out"][0]["peer"], "nginx");
    }

    #[test]
    fn a_difference_is_taken_round_by_round() {
        const ABOVE: Figure = Figure::less("above", 0);
        let mut comparison = compared();
        comparison.figures.insert(0, ABOVE);
        comparison.add_difference(ABOVE, CPU, "usher");
        let (_, bars) = comparison.bars().unwrap();
        assert_eq!(bars, vec![("envoy", 50.0)], "the reference has none");
    }

    #[test]
    fn a_peer_without_the_figure_has_no_bar() {
        let comparison = compared();
        let (figure, bars) = comparison.bars().unwrap();
        assert_eq!(
            (figure, bars),
            (CPU, vec![("usher", 50.0), ("envoy", 100.0)])
        );
    }
}
