//! Questions about names.

use prometheus::IntCounterVec;

use super::Table;

/// How a question about a name ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsOutcome {
    /// With records of the mesh.
    Answered,
    /// The mesh has the name, but no such record.
    NoData,
    /// The mesh has no such name.
    NoName,
    /// With what others said.
    Forwarded,
    /// Not ours, and nobody to ask; nothing that anybody is told; or asked by a stranger.
    Refused,
    /// No question.
    Malformed,
    /// Others did not answer.
    Unanswered,
    /// Too many others were under way, or connections open: the asker's share, or all.
    Overloaded,
}

/// What happens on the DNS port.
#[derive(Debug)]
pub struct DnsMetrics(IntCounterVec);

impl DnsMetrics {
    pub(super) fn new(table: &Table<'_>) -> Result<Self, prometheus::Error> {
        let queries = table.counters(
            "usher_dns_queries_total",
            "How do questions about names end?",
            &["outcome"],
        )?;
        Ok(Self(queries))
    }

    /// Counts one question.
    pub fn count(&self, outcome: DnsOutcome) {
        let outcome = match outcome {
            DnsOutcome::Answered => "answered",
            DnsOutcome::NoData => "no_data",
            DnsOutcome::NoName => "no_name",
            DnsOutcome::Forwarded => "forwarded",
            DnsOutcome::Refused => "refused",
            DnsOutcome::Malformed => "malformed",
            DnsOutcome::Unanswered => "unanswered",
            DnsOutcome::Overloaded => "overloaded",
        };
        self.0.with_label_values(&[outcome]).inc();
    }
}
