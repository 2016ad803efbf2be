//! Cells → `prometheus`'s families, at a scrape.

use std::sync::Arc;

use prometheus::{
    core::Desc,
    proto::{self, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{
    BOUNDS_US, FAMILIES, Family, Kind, Row,
    cells::{HistogramCell, Series},
    registry::Registry,
};
use crate::{clock, error::Flag};

/// The one collector of a proxy.
pub(super) struct Collector {
    registry: Arc<Registry>,
    descriptions: Vec<Desc>,
}

impl Collector {
    pub(super) fn new(registry: Arc<Registry>) -> Result<Self, prometheus::Error> {
        let describe = |(_, family): &(Row, Family)| {
            let labels = family
                .labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect();
            Desc::new(
                family.name.into(),
                family.help.into(),
                labels,
                Default::default(),
            )
        };
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self {
            registry,
            descriptions,
        })
    }
}

impl prometheus::core::Collector for Collector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.registry.sweep(clock::now());
        let mut families: Vec<MetricFamily> = Vec::new();
        for (row, series) in self.registry.by_family() {
            let family = row.family();
            let metrics: Vec<Metric> = series
                .iter()
                .flat_map(|(labels, series)| metrics(family, labels, series))
                .collect();
            // A family whose outcomes have not begun has no lines; the encoder refuses empty ones.
            if !metrics.is_empty() {
                families.push(assemble(family, metrics));
            }
        }
        let refused = counter(Vec::new(), self.registry.budget().refused());
        families.push(assemble(Row::SeriesOverflow.family(), vec![refused]));
        families
    }
}

fn assemble(family: &Family, metrics: Vec<Metric>) -> MetricFamily {
    let mut assembled = MetricFamily::default();
    assembled.set_name(family.name.into());
    assembled.set_help(family.help.into());
    assembled.set_field_type(match family.kind {
        Kind::Counter | Kind::Outcomes | Kind::Requests => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Seconds => MetricType::HISTOGRAM,
    });
    assembled.set_metric(metrics);
    assembled
}

fn metrics(family: &Family, labels: &[Box<str>], series: &Series) -> Vec<Metric> {
    let with = |more: &[&str]| {
        pairs(
            family,
            labels.iter().map(AsRef::as_ref).chain(more.iter().copied()),
        )
    };
    match series {
        Series::Counter(cell) => vec![counter(with(&[]), cell.value())],
        Series::Gauge(cell) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(cell.value() as f64);
            let mut metric = Metric::from_label(with(&[]));
            metric.set_gauge(gauge);
            vec![metric]
        }
        Series::Outcomes(cell) => cell
            .values()
            .map(|(outcome, count)| counter(with(&[outcome]), count))
            .collect(),
        Series::Requests(cell) => cell
            .values()
            .map(|(pair, count)| match pair {
                Some((code, flag)) => counter(
                    with(&[&code.to_string(), flag.map_or("", Flag::as_str)]),
                    count,
                ),
                None => counter(with(&["overflow", "overflow"]), count),
            })
            .collect(),
        Series::Histogram(cell) => vec![histogram(with(&[]), cell)],
    }
}

fn pairs<'l>(family: &Family, values: impl Iterator<Item = &'l str>) -> Vec<LabelPair> {
    let pair = |(name, value): (&&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    family.labels.iter().zip(values).map(pair).collect()
}

fn counter(labels: Vec<LabelPair>, count: u64) -> Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn histogram(labels: Vec<LabelPair>, cell: &HistogramCell) -> Metric {
    let (counts, sum) = cell.values();
    let mut total = 0;
    let buckets = BOUNDS_US.iter().zip(counts).map(|(bound, count)| {
        total += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e6);
        bucket.set_cumulative_count(total);
        bucket
    });
    let buckets = buckets.collect();
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}
