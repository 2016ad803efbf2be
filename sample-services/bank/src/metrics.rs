//! Prometheus' text format, as far as the launcher needs it: sums over samples chosen by label.

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

    /// Sum over all samples of `name` whose `label` contains `part`.
    pub(crate) fn sum_containing(&self, name: &str, label: &str, part: &str) -> f64 {
        let has = |sample: &&Sample| {
            sample
                .labels
                .iter()
                .any(|(have, is)| have == label && is.contains(part))
        };
        self.0
            .iter()
            .filter(|sample| sample.name == name)
            .filter(has)
            .map(|sample| sample.value)
            .sum()
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
