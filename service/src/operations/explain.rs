//! Why one row was odd, in numbers and in sentences: what its model had predicted, which parts of the detection score
//! fired, what is usual at this time of day, and when it last looked like this.
//!
//! All of it follows from stored rows; nothing is asked of the model, which has long moved on.
//!
//! Source: ours. The usual range is that of the detection score's time-of-day part in spirit (the same time of day, within
//! half an hour), but over the rows of [`USUAL_DAYS`]; the similar moment is the nearest neighbour of the last
//! [`SHAPE_ROWS`] values among the [`SEARCH_ROWS`] before, each window with its own mean and deviation (the distance of a
//! matrix profile).

use htm_core::ids::RowId;
use serde::Serialize;

use super::{OperationError, Operations};
use crate::model_params::ModelStart;
use crate::repository::metric::Metric;
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::row_detection::RowDetection;

/// Days before the row that its usual range is taken from.
pub const USUAL_DAYS: i64 = 28;
/// How far from the row's time of day a value may be, in seconds.
pub const USUAL_WINDOW_S: i64 = 1_800;
/// Values that make a usual range.
const MIN_USUAL_VALUES: usize = 8;
/// Values of a shape: two hours of 5-minute samples.
pub const SHAPE_ROWS: usize = 24;
/// Rows before the row that a similar shape is looked for in.
pub const SEARCH_ROWS: usize = 10_000;
/// Parts of a detection score below this are not worth a sentence.
const FIRED: f64 = 0.1;
const DAY_S: i64 = 86_400;

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The row.
    pub rowid: RowId,
    /// Its time, unix seconds.
    pub timestamp: i64,
    /// Its value.
    pub value: f64,
    /// Raw anomaly score.
    pub raw_anomaly_score: Option<f64>,
    /// htmengine's anomaly score.
    pub anomaly_score: Option<f64>,
    /// The detection score with its parts.
    pub detection: Option<RowDetection>,
    /// Columns that become active with each record.
    pub active_columns: Option<usize>,
    /// Of these, columns that were not predicted.
    pub unpredicted_columns: Option<usize>,
    /// Columns that were predicted.
    pub open_predictions: Option<u32>,
    /// What is usual at this time of day.
    pub usual_range: Option<UsualRange>,
    /// When it last looked like this.
    pub similar: Option<Similar>,
    /// Parts of the detection score that fired, the strongest first.
    pub fired: Vec<Fired>,
    /// The same as sentences.
    pub text: Vec<String>,
}

/// Values at this time of day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UsualRange {
    /// One of twenty lies below.
    pub low: f64,
    /// The middle.
    pub median: f64,
    /// One of twenty lies above.
    pub high: f64,
    /// So many values.
    pub samples: usize,
}

/// An earlier run of values with the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Similar {
    /// Its last row.
    pub rowid: RowId,
    /// Time of its first row.
    pub from: i64,
    /// Time of its last row.
    pub until: i64,
    /// How unlike: 0 for the same shape, 1 for shapes that have nothing to do with one another.
    pub distance: f64,
}

/// One part of a detection score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fired {
    /// Its name.
    pub component: &'static str,
    /// 0..=1.
    pub value: f64,
    /// What it means.
    pub text: &'static str,
}

impl Operations {
    /// Why a row was odd.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`] if there is no such row, or from the database.
    pub fn explain(&self, metric: &Metric, row_id: RowId) -> Result<Explanation, OperationError> {
        let search = i64::try_from(SEARCH_ROWS).unwrap_or(i64::MAX);
        let query = DataQuery {
            first_row: Some(RowId(row_id.0.saturating_sub(search))),
            last_row: Some(row_id),
            ..DataQuery::default()
        };
        let rows = self.repository().data(&metric.uid, &query)?;
        let Some(row) = rows.last().filter(|row| row.row_id == row_id) else {
            let reason = format!(
                "metric `{}` has no row {row_id}; it has rows up to {}",
                metric.name, metric.last_rowid
            );
            return Err(OperationError::ObjectNotFound { reason });
        };
        let start = metric.model_params.as_deref().and_then(|text| ModelStart::from_json(text).ok());
        let params = start.and_then(|start| start.params().ok());
        let active_columns = params.map(|params| params.spatial_pooler().active_columns);
        let unpredicted_columns =
            active_columns.zip(row.raw_anomaly_score).map(|(active, score)| share_of(active, score));
        let mut explanation = Explanation {
            rowid: row.row_id,
            timestamp: row.timestamp,
            value: row.value,
            raw_anomaly_score: row.raw_anomaly_score,
            anomaly_score: row.anomaly_score,
            detection: row.detection,
            active_columns,
            unpredicted_columns,
            open_predictions: row.detection.and_then(|detection| detection.open_predictions),
            usual_range: usual_range(&rows, row.timestamp),
            similar: similar(&rows),
            fired: fired(row.detection.as_ref()),
            text: Vec::new(),
        };
        explanation.text = sentences(&explanation);
        Ok(explanation)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few dozen columns, and a share of them"
)]
fn share_of(active: usize, score: f64) -> usize {
    (active as f64 * score.clamp(0.0, 1.0)).round() as usize
}

/// Of the rows before the last one.
fn usual_range(rows: &[MetricRow], now: i64) -> Option<UsualRange> {
    let (_, before) = rows.split_last()?;
    let is_near = |timestamp: i64| {
        let apart = (now - timestamp).rem_euclid(DAY_S);
        now - timestamp <= USUAL_DAYS * DAY_S && apart.min(DAY_S - apart) <= USUAL_WINDOW_S
            // Not what led to this very moment.
            && now - timestamp > DAY_S / 2
    };
    let mut values: Vec<f64> =
        before.iter().filter(|row| is_near(row.timestamp)).map(|row| row.value).collect();
    if values.len() < MIN_USUAL_VALUES {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |twentieth: usize| values[(values.len() - 1) * twentieth / 20];
    Some(UsualRange { low: at(1), median: at(10), high: at(19), samples: values.len() })
}

/// The nearest earlier neighbour of the last values.
fn similar(rows: &[MetricRow]) -> Option<Similar> {
    let shape = |part: &[MetricRow]| normalised(part.iter().map(|row| row.value));
    let start = rows.len().checked_sub(SHAPE_ROWS)?;
    let wanted = shape(&rows[start..])?;
    let mut best: Option<(usize, f64)> = None;
    // Windows that share rows with the last one are no news.
    for at in 0..(start + 1).saturating_sub(SHAPE_ROWS) {
        let Some(found) = shape(&rows[at..at + SHAPE_ROWS]) else { continue };
        let distance: f64 = wanted.iter().zip(found).map(|(one, other)| (one - other).powi(2)).sum();
        if best.is_none_or(|(_, least)| distance < least) {
            best = Some((at, distance));
        }
    }
    let (at, distance) = best?;
    let (first, last) = (&rows[at], &rows[at + SHAPE_ROWS - 1]);
    // The squared distance of two shapes that are not correlated is twice their length.
    let unlike = (distance / (2.0 * SHAPE_LENGTH)).sqrt();
    Some(Similar {
        rowid: last.row_id,
        from: first.timestamp,
        until: last.timestamp,
        distance: unlike.min(1.0),
    })
}

/// [`SHAPE_ROWS`] as a number to divide by.
const SHAPE_LENGTH: f64 = 24.0;

/// With mean 0 and deviation 1; `None` of values that are all the same, which have no shape.
fn normalised(values: impl Iterator<Item = f64>) -> Option<[f64; SHAPE_ROWS]> {
    let mut shape = [0.0; SHAPE_ROWS];
    for (place, value) in shape.iter_mut().zip(values) {
        *place = value;
    }
    // Divided first: the sum of large values need not be finite.
    let mean: f64 = shape.iter().map(|value| value / SHAPE_LENGTH).sum();
    let scale = shape.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
    if scale <= mean.abs() * 1e-12 || !scale.is_finite() {
        return None;
    }
    let variance: f64 =
        shape.iter().map(|value| ((value - mean) / scale).powi(2)).sum::<f64>() / SHAPE_LENGTH;
    let deviation = scale * variance.sqrt();
    Some(shape.map(|value| (value - mean) / deviation))
}

fn fired(detection: Option<&RowDetection>) -> Vec<Fired> {
    let Some(parts) = detection.and_then(|detection| detection.components) else { return Vec::new() };
    let all = [
        (
            "likelihood",
            parts.likelihood,
            "the model has been surprised far more often lately than it used to be",
        ),
        ("timeOfDay", parts.time_of_day, "the value lies beyond all seen at this time of day"),
        ("sustainedElevation", parts.sustained_elevation, "an hour or two lie above all others"),
        ("slowSurprise", parts.slow_surprise, "over many hours the model was surprised more than ever"),
        ("discord", parts.discord, "the shape of the last values is unlike any in the recent past"),
    ];
    let mut fired: Vec<Fired> = all
        .into_iter()
        .filter(|(_, value, _)| *value >= FIRED)
        .map(|(component, value, text)| Fired { component, value, text })
        .collect();
    fired.sort_by(|one, other| other.value.total_cmp(&one.value));
    fired
}

fn sentences(about: &Explanation) -> Vec<String> {
    let mut text = Vec::new();
    if let Some((unpredicted, active)) = about.unpredicted_columns.zip(about.active_columns) {
        let open = about
            .open_predictions
            .map_or_else(String::new, |count| format!("; {count} columns had been predicted"));
        text.push(format!(
            "The model had not predicted {unpredicted} of the {active} columns of this sample{open}."
        ));
    }
    if let Some(UsualRange { low, high, samples, .. }) = about.usual_range {
        let place = match about.value {
            value if value < low => "below",
            value if value > high => "above",
            _ => "within",
        };
        let (value, low, high) = (short(about.value), short(low), short(high));
        text.push(format!(
            "{value} is {place} what is usual at this time of day: {low} to {high} ({samples} values of {USUAL_DAYS} days)."
        ));
    }
    for Fired { text: meaning, value, .. } in &about.fired {
        text.push(format!("{} ({value:.2}).", capitalised(meaning)));
    }
    if about.detection.is_some() && about.fired.is_empty() {
        text.push("No part of the detection score stands out.".to_owned());
    }
    if about.detection.is_none() {
        text.push("There is no detection score for this row: it was stored before the model existed, or waits for it.".to_owned());
    }
    text
}

fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: impl IntoIterator<Item = f64>) -> Vec<MetricRow> {
        (1..)
            .zip(values)
            .map(|(row_id, value)| MetricRow {
                row_id: RowId(row_id),
                timestamp: 300 * row_id,
                value,
                raw_anomaly_score: None,
                anomaly_score: None,
                display_value: None,
                best_predictions: None,
                detection: None,
            })
            .collect()
    }

    /// Days of 288 rows that rise from 0 to 287.
    fn days(count: usize) -> impl Iterator<Item = f64> {
        (0..count).flat_map(|_| (0_u16..288).map(f64::from))
    }

    #[test]
    fn what_is_usual_at_a_time_of_day_comes_from_that_time_alone() {
        let rows = rows(days(5).take(4 * 288 + 145).chain([1e6]));
        let usual = usual_range(&rows, rows.last().expect("rows").timestamp).expect("values");
        // Row 145 of a day, six rows to either side.
        assert_eq!((usual.low, usual.median, usual.high), (139.0, 145.0, 151.0), "{usual:?}");
        assert_eq!(usual.samples, 4 * 13);
        assert_eq!(usual_range(&rows[..20], 6_000), None, "too few");
    }

    #[test]
    fn the_same_shape_is_found_at_another_level() {
        let wave = |at: f64| (at * at * 0.01).sin();
        let before = (0_u16..200).map(|at| wave(f64::from(at)));
        let again = (100_u16..124).map(|at| 500.0 + 3.0 * wave(f64::from(at)));
        let rows = rows(before.chain(again));
        let found = similar(&rows).expect("a neighbour");
        assert_eq!((found.rowid, found.from), (RowId(124), 300 * 101));
        assert!(found.distance < 1e-6, "{found:?}");
        assert_eq!(similar(&rows[..30]), None, "nothing before");
    }

    #[test]
    fn constant_values_have_no_shape() {
        assert_eq!(similar(&rows(std::iter::repeat_n(5.0, 100))), None);
        assert_eq!(normalised([1e308; SHAPE_ROWS].into_iter()), None);
    }
}
