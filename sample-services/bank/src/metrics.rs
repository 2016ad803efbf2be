//! Prometheus' text format, as far as the launcher needs it: sums over samples chosen by label.

use std::collections::BTreeMap;

/// All samples of one scrape.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Metrics(Vec<Sample>);

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads what it understands; comments and malformed lines are left out.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(sample)
                .collect(),
        )
    }

    /// Sum over all samples of `name` that carry these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample, (label, value): &(&str, &str)| {
            sample
                .labels
                .iter()
                .any(|(have, is)| have == label && is == value)
        };
        let chosen = self.0.iter().filter(|sample| sample.name == name);
        chosen
            .filter(|sample| labels.iter().all(|label| has(sample, label)))
            .map(|sample| sample.value)
            .sum()
    }

    /// The samples of `name` whose `label` contains `part`, each as `name{label=value,…}` without empty labels.
    pub(crate) fn series(&self, name: &str, label: &str, part: &str) -> BTreeMap<String, f64> {
        let has = |sample: &&Sample| {
            let mut labels = sample.labels.iter();
            labels.any(|(have, is)| have == label && is.contains(part))
        };
        let chosen = self.0.iter().filter(|sample| sample.name == name);
        chosen
            .filter(has)
            .map(|sample| (sample.text(), sample.value))
            .collect()
    }
}

impl Sample {
    fn text(&self) -> String {
        let told = self.labels.iter().filter(|(_, value)| !value.is_empty());
        let told: Vec<_> = told
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        format!("{}{{{}}}", self.name, told.join(","))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

type Labels = Vec<(String, String)>;

/// `a="b",c="d"} rest`; in values, `\\`, `\"` and `\n` are escapes.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next()? {
                (end, '"') => {
                    rest = quoted.get(end + 1..)?;
                    break;
                }
                (_, '\\') => value.push(match characters.next()? {
                    (_, 'n') => '\n',
                    (_, other) => other,
                }),
                (_, other) => value.push(other),
            }
        }
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests;
