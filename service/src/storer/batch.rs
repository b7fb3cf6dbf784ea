//! The lines of one turn: parsed, grouped by metric, cut into transactions.
//!
//! Owns the lines until every one is stored or counted as refused, so that a turn can be repeated for as long
//! as the database is away.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::StorerOptions;
use super::scrub::LineSample;
use crate::bus::message::DataMessage;
use crate::bus::{Delivery, DeliveryTag};
use crate::reject::RejectReason;
use crate::repository::metric_data::StoredSample;
use crate::sample;

/// The samples of one metric in the order they came.
#[derive(Debug)]
pub(super) struct Group {
    /// The metric's name.
    pub(super) name: String,
    /// At least one.
    pub(super) samples: Vec<LineSample>,
}

/// What one turn received and what of it is still to be stored.
#[derive(Debug)]
pub(super) struct Batch {
    /// Acknowledge with this when nothing is left.
    pub(super) last_tag: DeliveryTag,
    /// Every line received.
    pub(super) lines: Arc<Vec<Vec<u8>>>,
    /// One per metric, in order of first appearance.
    pub(super) groups: Vec<Group>,
    /// Runs of groups that are still to be stored, each in a transaction of its own; the last one is next.
    pub(super) todo: Vec<Range<usize>>,
}

impl Batch {
    /// Parses `deliveries`; `None` without any. Calls `refuse` for each line that is no sample. Blank lines are
    /// nothing.
    pub(super) fn parse(
        deliveries: Vec<Delivery<DataMessage>>,
        now_unix_seconds: i64,
        options: &StorerOptions,
        mut refuse: impl FnMut(RejectReason, &[u8]),
    ) -> Option<Self> {
        let last_tag = deliveries.last()?.tag;
        let lines: Vec<Vec<u8>> =
            deliveries.into_iter().flat_map(|delivery| delivery.message.lines).collect();
        let mut groups: Vec<Group> = Vec::new();
        let mut group_by_name: HashMap<String, usize> = HashMap::new();
        for (line_idx, line) in lines.iter().enumerate() {
            let read = match sample::parse_line(line, now_unix_seconds, &options.limits) {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(reason) => {
                    refuse(reason, line);
                    continue;
                }
            };
            let sample = StoredSample { timestamp: read.timestamp, value: read.value };
            let known = group_by_name.get(read.name.as_ref()).copied();
            let group_idx = known.unwrap_or_else(|| {
                let name = read.name.into_owned();
                group_by_name.insert(name.clone(), groups.len());
                groups.push(Group { name, samples: Vec::new() });
                groups.len() - 1
            });
            groups[group_idx].samples.push(LineSample { sample, line_idx });
        }
        Some(Self { last_tag, lines: Arc::new(lines), groups, todo: Vec::new() })
    }

    /// Plans transactions of at most `max_rows` rows (more only where one metric alone has more).
    pub(super) fn plan(&mut self, max_rows: usize) {
        let mut runs = Vec::new();
        let (mut start, mut rows) = (0, 0);
        for (group_idx, group) in self.groups.iter().enumerate() {
            if group_idx > start && rows + group.samples.len() > max_rows {
                runs.push(start..group_idx);
                (start, rows) = (group_idx, 0);
            }
            rows += group.samples.len();
        }
        if start < self.groups.len() {
            runs.push(start..self.groups.len());
        }
        runs.reverse();
        self.todo = runs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries(messages: &[&[&str]]) -> Vec<Delivery<DataMessage>> {
        (1..)
            .zip(messages)
            .map(|(tag, lines)| Delivery {
                tag: DeliveryTag(tag),
                message: DataMessage { lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect() },
            })
            .collect()
    }

    fn parse(messages: &[&[&str]]) -> (Option<Batch>, Vec<RejectReason>) {
        let mut refused = Vec::new();
        let options = StorerOptions::default();
        let batch =
            Batch::parse(deliveries(messages), 1_500_000_000, &options, |reason, _| refused.push(reason));
        (batch, refused)
    }

    #[test]
    fn groups_by_metric_in_order_across_messages() {
        let (batch, refused) = parse(&[&["a 1 10", "b 2 11", "", "a 3 12"], &["a 4 13", "rubbish"]]);
        let batch = batch.expect("lines came");
        let found: Vec<(&str, Vec<usize>)> = batch
            .groups
            .iter()
            .map(|group| (group.name.as_str(), group.samples.iter().map(|sample| sample.line_idx).collect()))
            .collect();
        assert_eq!(found, [("a", vec![0, 3, 4]), ("b", vec![1])]);
        assert_eq!((batch.last_tag, batch.lines.len()), (DeliveryTag(2), 6));
        assert_eq!(refused, [RejectReason::WrongFieldCount]);
        assert_eq!(batch.groups[0].samples[1].sample, StoredSample { timestamp: 12, value: 3.0 });
        assert!(parse(&[]).0.is_none());
    }

    #[test]
    fn transactions_are_bounded_but_for_one_metric() {
        let lines = ["a 1 1", "a 1 2", "a 1 3", "b 1 1", "c 1 1", "d 1 1", "d 1 2"];
        let check = |max_rows: usize, expected: &[Range<usize>]| {
            let mut batch = parse(&[&lines]).0.expect("lines came");
            batch.plan(max_rows);
            batch.todo.reverse();
            assert_eq!(batch.todo, expected, "at most {max_rows} rows");
        };
        check(100, std::slice::from_ref(&(0..4)));
        check(4, &[0..2, 2..4]);
        check(3, &[0..1, 1..3, 3..4]);
        check(1, &[0..1, 1..2, 2..3, 3..4]);
        let mut empty = parse(&[&["rubbish"]]).0.expect("lines came");
        empty.plan(10);
        assert!(empty.todo.is_empty());
    }
}
