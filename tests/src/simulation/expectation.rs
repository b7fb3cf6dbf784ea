//! Which rows and which counts of refused lines must be there, by folding the accepted messages in their order.
//!
//! A metric's sample is stored if it is newer than all before it. So a message that comes twice adds nothing the second time.

use std::collections::{BTreeMap, BTreeSet};

use htmengine::bus::message::DataMessage;
use htmengine::reject::RejectReason;
use htmengine::repository::metric_data::StoredSample;

use super::clients::{Meaning, Meanings};
use super::tables::{MetricTable, Tables};

/// What was accepted so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectation {
    samples: BTreeMap<String, Vec<StoredSample>>,
    rejects: BTreeMap<RejectReason, u64>,
    /// Samples that a clock may have refused or not, in their order.
    uncertain: BTreeMap<String, Vec<StoredSample>>,
    /// How often each line was accepted.
    lines: BTreeMap<Vec<u8>, u64>,
}

impl Expectation {
    /// Adds a message; an error is a line that nobody sent.
    pub(super) fn fold(&mut self, message: &DataMessage, meanings: &Meanings) -> Result<(), String> {
        for line in &message.lines {
            let meaning = meanings.get(line);
            let meaning =
                meaning.ok_or_else(|| format!("`{}` was accepted and never sent", line.escape_ascii()))?;
            *self.lines.entry(line.clone()).or_default() += 1;
            let refused = match meaning {
                Meaning::Refused(reason) => Some(*reason),
                Meaning::Uncertain(name, sample) => {
                    self.uncertain.entry(name.clone()).or_default().push(*sample);
                    None
                }
                Meaning::Sample(name, sample) => {
                    let rows = self.samples.entry(name.clone()).or_default();
                    match rows.last() {
                        Some(last) if sample.timestamp < last.timestamp => Some(RejectReason::LateSample),
                        Some(last) if sample.timestamp == last.timestamp => {
                            Some(RejectReason::DuplicateSample)
                        }
                        _ => {
                            rows.push(*sample);
                            None
                        }
                    }
                }
            };
            if let Some(reason) = refused {
                *self.rejects.entry(reason).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Counts of refused lines, each delivered once: what a clock did not refuse is stored. Such a sample that was accepted
    /// twice was refused by the clock once at least, if it is not stored.
    pub(super) fn rejects(&self, tables: &Tables) -> BTreeMap<RejectReason, u64> {
        let mut rejects = self.rejects.clone();
        for (name, samples) in &self.uncertain {
            let stored = tables.by_name(name).map_or(0, |table| table.metric.last_rowid.0);
            let times: BTreeSet<i64> = samples.iter().map(|sample| sample.timestamp).collect();
            let refused = (times.len() as u64).saturating_sub(u64::try_from(stored).unwrap_or(0));
            *rejects.entry(RejectReason::FutureTimestamp).or_default() += refused;
        }
        rejects
    }

    /// How often each line was accepted.
    pub(super) fn lines(&self) -> &BTreeMap<Vec<u8>, u64> {
        &self.lines
    }

    /// All samples that must be stored.
    pub(super) fn sample_count(&self) -> usize {
        self.samples.values().map(Vec::len).sum()
    }

    /// The samples of a metric, in the order of their rows.
    pub(super) fn samples(&self, name: &str) -> &[StoredSample] {
        self.samples.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The first difference between what must be stored and what is, with its metric.
    pub(super) fn difference(&self, tables: &Tables) -> Option<(String, String)> {
        for table in tables.metrics.values() {
            let name = &table.metric.name;
            let what = match self.uncertain.get(name) {
                Some(samples) => difference_of_some(samples, table),
                None => difference_of_rows(self.samples(name), table),
            };
            if let Some(what) = what {
                return Some((name.clone(), what));
            }
        }
        let missing = self.samples.iter().find(|(name, _)| tables.by_name(name).is_none());
        missing.map(|(name, samples)| (name.clone(), format!("all {} rows are missing", samples.len())))
    }
}

/// Every row is one of the samples, in their order; none is old enough to be deleted.
fn difference_of_some(samples: &[StoredSample], table: &MetricTable) -> Option<String> {
    let mut left = samples.iter();
    (1..).zip(&table.rows).find_map(|(row_id, row)| {
        let is_same = |sample: &StoredSample| {
            row.timestamp == sample.timestamp && row.value.to_bits() == sample.value.to_bits()
        };
        let is_found = row.row_id.0 == row_id && left.any(is_same);
        (!is_found).then(|| {
            format!("row {} at {} is none of the accepted, or not the next", row.row_id, row.timestamp)
        })
    })
}

/// Rows that were deleted for their age are missing, and no others.
fn difference_of_rows(samples: &[StoredSample], table: &MetricTable) -> Option<String> {
    let purged = usize::try_from(table.purged_up_to.0).unwrap_or(0);
    let left = samples.get(purged..).unwrap_or_default();
    for ((row_id, row), sample) in (table.purged_up_to.0 + 1..).zip(&table.rows).zip(left) {
        if row.row_id.0 != row_id {
            return Some(format!("row {row_id} has number {}", row.row_id));
        }
        let is_same = row.timestamp == sample.timestamp && row.value.to_bits() == sample.value.to_bits();
        if !is_same {
            return Some(format!(
                "row {row_id} is {} at {}, accepted was {} at {}",
                row.value, row.timestamp, sample.value, sample.timestamp
            ));
        }
    }
    let (found, expected) = (table.rows.len() + purged, samples.len());
    (found != expected).then(|| format!("{found} rows were stored, {expected} accepted"))
}
