//! Simple things that can be wrong with a metric and need no model to see: each has a name, a state, and a rule that a
//! person can check on the chart.
//!
//! | signal | on while |
//! |---|---|
//! | `no_data` | the newest sample is older than [`LATE_INTERVALS`] of the metric's usual intervals, a minute at least |
//! | `flat_line` | the last [`FLAT_ROWS`] values and more are equal, over twice as many as ever in a row among the last [`RECENT_ROWS`] |
//! | `out_of_range` | the newest value lies outside the range of the model, declared or learned |
//! | `saturated_encoder` | the newest value lies beyond the last bucket of the model's encoder: it cannot be told from others there |
//!
//! A signal is computed when somebody asks, from the newest rows alone; the engine keeps no state for it. It is unknown
//! while there is too little to tell.
//!
//! Source: ours. The original had none of them: a metric that stopped coming, or stood still, scored well.

use htm_core::encoder::FieldParams;
use htm_core::encoder::random_distributed_scalar::{
    MAX_BUCKETS, MIDDLE_BUCKET, RandomDistributedScalarParams,
};
use htm_core::ids::RowId;
use htm_core::params::{ModelParams, ValueRange};
use serde::{Serialize, Serializer};

use crate::model_params::ModelStart;
use crate::repository::metric::Metric;
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::{Repository, RepositoryError};

/// Rows that are looked at.
pub const RECENT_ROWS: usize = 1_000;
/// Usual intervals without a sample that are no reason to worry.
pub const LATE_INTERVALS: i64 = 3;
/// Shortest time without a sample that is one, in seconds.
const MIN_LATE_S: i64 = 60;
/// Equal values in a row that may be chance: three hours of 5-minute samples.
pub const FLAT_ROWS: usize = 36;
/// Rows from which on usual intervals and runs are known.
const MIN_ROWS: usize = 2 * FLAT_ROWS;

/// Which signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalName {
    /// Samples have stopped coming.
    NoData,
    /// The value does not move any more.
    FlatLine,
    /// The value left the range of the model.
    OutOfRange,
    /// The encoder cannot tell the value from others.
    SaturatedEncoder,
}

impl SignalName {
    /// Its word, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::FlatLine => "flat_line",
            Self::OutOfRange => "out_of_range",
            Self::SaturatedEncoder => "saturated_encoder",
        }
    }
}

impl Serialize for SignalName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SignalState {
    /// Nothing is wrong.
    Off,
    /// Something is.
    On {
        /// Since this time, unix seconds.
        since: i64,
    },
    /// There is too little to tell: few rows, or no model.
    Unknown,
}

/// One signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// Which.
    pub name: SignalName,
    /// What it says.
    #[serde(flatten)]
    pub state: SignalState,
}

/// What signals are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The newest rows, oldest first, up to [`RECENT_ROWS`].
    pub rows: &'a [MetricRow],
    /// Unix seconds.
    pub now: i64,
    /// Of the model, if it has one.
    pub range: Option<ValueRange>,
    /// Where the model's encoder ends, if it does.
    pub encoder: Option<ValueRange>,
}

/// All signals of a metric.
pub fn signals(subject: Subject<'_>) -> [Signal; 4] {
    let Subject { rows, now, range, encoder } = subject;
    [
        Signal { name: SignalName::NoData, state: no_data(rows, now) },
        Signal { name: SignalName::FlatLine, state: flat_line(rows) },
        Signal { name: SignalName::OutOfRange, state: outside(rows, range) },
        Signal { name: SignalName::SaturatedEncoder, state: outside(rows, encoder) },
    ]
}

/// A metric's newest rows, oldest first, and its signals at `now`.
///
/// # Errors
/// [`RepositoryError`] from the database.
pub fn of_metric(
    repository: &dyn Repository,
    metric: &Metric,
    now: i64,
) -> Result<(Vec<MetricRow>, [Signal; 4]), RepositoryError> {
    let newest = DataQuery { limit: Some(RECENT_ROWS), ..DataQuery::default() };
    let rows = repository.data(&metric.uid, &newest)?;
    let start = metric.model_params.as_deref().and_then(|text| ModelStart::from_json(text).ok());
    let params = start.as_ref().and_then(|start| start.params().ok());
    let encoder = match params {
        Some(params) => {
            let oldest = DataQuery { limit: Some(1), keep_oldest: true, ..DataQuery::default() };
            let first = repository.data(&metric.uid, &oldest)?.pop().filter(|row| row.row_id == RowId(1));
            encoder_ends(&params, first.map(|row| row.value))
        }
        None => None,
    };
    let range = start.and_then(|start| start.range);
    let signals = signals(Subject { rows: &rows, now, range, encoder });
    Ok((rows, signals))
}

/// The values that a model's encoder tells apart; `first` is the first value it ever saw. `None` of an encoder without
/// ends, or if they are not known.
pub fn encoder_ends(params: &ModelParams, first: Option<f64>) -> Option<ValueRange> {
    let RandomDistributedScalarParams { resolution, offset, .. } =
        params.encoder().fields().iter().find_map(|(_, field)| match field {
            FieldParams::RandomDistributedScalar(params) => Some(*params),
            FieldParams::Date(_) | FieldParams::Scalar(_) | FieldParams::Unknown(_) => None,
        })?;
    let middle = offset.or(first)?;
    let buckets = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    // A value counts to the bucket whose middle is nearest.
    let below = (buckets(MIDDLE_BUCKET) - 0.5) * resolution;
    let above = (buckets(MAX_BUCKETS - 1 - MIDDLE_BUCKET) - 0.5) * resolution;
    ValueRange::new(middle - below, middle + above).ok()
}

fn no_data(rows: &[MetricRow], now: i64) -> SignalState {
    let Some(since) = no_data_since(rows) else { return SignalState::Unknown };
    state_of(now > since, since)
}

/// After this time `no_data` is on, unless a row comes; `None` if there are too few rows to tell. `rows` are the newest
/// ones, oldest first.
pub fn no_data_since(rows: &[MetricRow]) -> Option<i64> {
    let newest = rows.last().filter(|_| rows.len() >= MIN_ROWS)?;
    let mut gaps: Vec<i64> = rows.windows(2).map(|pair| pair[1].timestamp - pair[0].timestamp).collect();
    let middle = gaps.len() / 2;
    let interval = *gaps.select_nth_unstable(middle).1;
    let patience = interval.saturating_mul(LATE_INTERVALS).max(MIN_LATE_S);
    Some(newest.timestamp.saturating_add(patience))
}

fn flat_line(rows: &[MetricRow]) -> SignalState {
    let Some(newest) = rows.last().filter(|_| rows.len() >= MIN_ROWS) else { return SignalState::Unknown };
    let runs: Vec<&[MetricRow]> =
        rows.chunk_by(|one, next| one.value.to_bits() == next.value.to_bits()).collect();
    let Some((last, earlier)) = runs.split_last() else { return SignalState::Unknown };
    let longest = earlier.iter().map(|run| run.len()).max().unwrap_or(0);
    // A metric that was never seen to move is constant, not flat.
    let is_on = longest > 0 && last.len() >= FLAT_ROWS && last.len() > 2 * longest;
    state_of(is_on, last.first().map_or(newest.timestamp, |row| row.timestamp))
}

fn outside(rows: &[MetricRow], range: Option<ValueRange>) -> SignalState {
    let (Some(range), Some(newest)) = (range, rows.last()) else { return SignalState::Unknown };
    let outside = rows.iter().rev().take_while(|row| !range.contains(row.value));
    let first = outside.last().map(|row| row.timestamp);
    state_of(first.is_some(), first.unwrap_or(newest.timestamp))
}

fn state_of(is_on: bool, since: i64) -> SignalState {
    if is_on { SignalState::On { since } } else { SignalState::Off }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;

    fn rows(values: impl IntoIterator<Item = f64>) -> Vec<MetricRow> {
        let row = |(row_id, value): (i64, f64)| MetricRow {
            row_id: RowId(row_id),
            timestamp: START + row_id * 300,
            value,
            raw_anomaly_score: None,
            anomaly_score: None,
            display_value: None,
            best_predictions: None,
            detection: None,
        };
        (1..).zip(values).map(row).collect()
    }

    fn wave(count: u32) -> impl Iterator<Item = f64> {
        (0..count).map(|row| f64::from(row % 7))
    }

    fn states(rows: &[MetricRow], now: i64, range: Option<ValueRange>) -> [SignalState; 4] {
        signals(Subject { rows, now, range, encoder: range }).map(|signal| signal.state)
    }

    #[test]
    fn a_metric_that_comes_and_moves_is_well() {
        let rows = rows(wave(100));
        let range = ValueRange::new(0.0, 6.0).ok();
        assert_eq!(states(&rows, rows[99].timestamp + 900, range), [SignalState::Off; 4]);
        assert_eq!(states(&rows, rows[99].timestamp, None)[2..], [SignalState::Unknown; 2]);
        assert_eq!(states(&rows[..71], START, None), [SignalState::Unknown; 4]);
        assert_eq!(states(&[], START, range), [SignalState::Unknown; 4]);
    }

    #[test]
    fn no_data_begins_after_three_usual_intervals() {
        let rows = rows(wave(100));
        let newest = rows[99].timestamp;
        assert_eq!(states(&rows, newest + 901, None)[0], SignalState::On { since: newest + 900 });
    }

    #[test]
    fn a_flat_line_is_one_of_a_metric_that_moved() {
        let flat = |count: usize| rows(wave(100).chain(std::iter::repeat_n(2.5, count)));
        assert_eq!(states(&flat(35), START, None)[1], SignalState::Off);
        let stands = flat(36);
        assert_eq!(states(&stands, START, None)[1], SignalState::On { since: stands[100].timestamp });
        let slow = rows((0..200_u32).map(|row| f64::from(row / 40)));
        assert_eq!(states(&slow, START, None)[1], SignalState::Off, "it has stood as long before");
        assert_eq!(states(&rows([1.0; 100]), START, None)[1], SignalState::Off, "constant");
    }

    #[test]
    fn a_value_is_outside_since_it_left() {
        let rows = rows(wave(100).chain([9.0, 3.0, 8.0, 9.0]));
        let range = ValueRange::new(0.0, 6.0).ok();
        assert_eq!(states(&rows, START, range)[2..], [SignalState::On { since: rows[102].timestamp }; 2]);
    }

    #[test]
    fn an_encoder_ends_500_buckets_from_its_first_value() {
        let params = ModelParams::single_metric(0.5).expect("a model");
        let ends = encoder_ends(&params, Some(10.0)).expect("it has ends");
        assert_eq!(ends, ValueRange { min: 10.0 - 249.75, max: 10.0 + 249.25 });
        assert_eq!(encoder_ends(&params, None), None);
    }

    #[test]
    fn as_json_a_signal_has_name_and_state() {
        let text =
            |state| serde_json::to_string(&Signal { name: SignalName::FlatLine, state }).expect("JSON");
        assert_eq!(text(SignalState::On { since: 7 }), r#"{"name":"flat_line","state":"on","since":7}"#);
        assert_eq!(text(SignalState::Unknown), r#"{"name":"flat_line","state":"unknown"}"#);
    }
}
