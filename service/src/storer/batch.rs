//! The lines of one turn: parsed, grouped by metric, cut into transactions.
//!
//! Owns the lines until every one is stored or counted as refused, so that a turn can be repeated for as long
//! as the database is away.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
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
pub struct Batch {
    /// Acknowledge with this when nothing is left.
    pub(super) last_tag: DeliveryTag,
    /// Every line received.
    pub(super) lines: Arc<Vec<Vec<u8>>>,
    /// Up to which line they are whose, ascending.
    sources: Vec<(usize, Option<IpAddr>)>,
    /// One per metric, in order of first appearance.
    pub(super) groups: Vec<Group>,
    /// Runs of groups that are still to be stored, each in a transaction of its own; the last one is next.
    pub(super) todo: Vec<Range<usize>>,
}

impl Batch {
    /// Parses `deliveries`; `None` without any. Calls `refuse` for each line that is no sample. Blank lines are
    /// nothing.
    pub fn parse(
        deliveries: Vec<Delivery<DataMessage>>,
        now_unix_seconds: i64,
        options: &StorerOptions,
        mut refuse: impl FnMut(RejectReason, &[u8]),
    ) -> Option<Self> {
        let last_tag = deliveries.last()?.tag;
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut sources = Vec::new();
        for message in deliveries.into_iter().map(|delivery| delivery.message) {
            let mut up_to = lines.len();
            for run in message.sources {
                up_to += run.line_count;
                sources.push((up_to, Some(run.source)));
            }
            lines.extend(message.lines);
            sources.push((lines.len(), None));
        }
        let mut groups: Vec<Group> = Vec::new();
        // Names lie in the lines; only that of a group is copied.
        let mut group_by_name: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(lines.len() / 2);
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
                groups.push(Group { name: read.name.clone().into_owned(), samples: Vec::new() });
                group_by_name.insert(read.name, groups.len() - 1);
                groups.len() - 1
            });
            groups[group_idx].samples.push(LineSample { sample, line_idx });
        }
        drop(group_by_name);
        Some(Self { last_tag, lines: Arc::new(lines), sources, groups, todo: Vec::new() })
    }

    /// Samples of all metrics.
    pub fn sample_count(&self) -> usize {
        self.groups.iter().map(|group| group.samples.len()).sum()
    }

    /// Lines of the samples in a run of groups.
    pub(super) fn line_idxs(&self, run: Range<usize>) -> impl Iterator<Item = usize> {
        self.groups[run].iter().flat_map(|group| group.samples.iter().map(|sample| sample.line_idx))
    }

    /// Who sent a line, if that is known.
    pub(super) fn source_of(&self, line_idx: usize) -> Option<IpAddr> {
        let at = self.sources.partition_point(|(up_to, _)| *up_to <= line_idx);
        self.sources.get(at)?.1
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
    use crate::bus::message::SourceRun;

    fn deliveries(messages: &[&[&str]]) -> Vec<Delivery<DataMessage>> {
        (1..)
            .zip(messages)
            .map(|(tag, lines)| Delivery {
                tag: DeliveryTag(tag),
                message: DataMessage::new(lines.iter().map(|line| line.as_bytes().to_vec()).collect()),
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
    fn each_line_knows_who_sent_it() {
        let [first, second] =
            ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().expect("an address"));
        let mut received = deliveries(&[&["a 1 1", "b 1 1", "c 1 1"], &["d 1 1"], &["e 1 1"]]);
        let run = |source, line_count| SourceRun { source, line_count };
        received[0].message.sources = vec![run(first, 1), run(second, 1)];
        received[2].message.sources = vec![run(second, 1)];
        let batch = Batch::parse(received, 10, &StorerOptions::default(), |_, _| ()).expect("lines came");
        let sources: Vec<_> = (0..6).map(|line_idx| batch.source_of(line_idx)).collect();
        assert_eq!(sources, [Some(first), Some(second), None, None, Some(second), None]);
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
