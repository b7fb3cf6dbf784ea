//! What a model that has nothing else to do says of a series: the truth that the engine's rows are compared with.

use std::sync::{Arc, LazyLock};

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::model::{Model, Scores};
use htm_core::params::{ModelParams, ValueRange};
use htmengine::learned_range::{MAX_RANGE_ROWS, learned_range, outgrown};
use htmengine::repository::metric_data::MetricRow;

static TEMPLATES: LazyLock<Templates> = LazyLock::new(Templates::new);

/// What a model says of one record, as its row keeps it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoneScores {
    /// Share of active columns that were not predicted.
    pub raw_anomaly_score: f64,
    /// htmengine's anomaly score.
    pub anomaly_score: f64,
    /// The fused score.
    pub detection_score: f64,
    /// The fused score where it peaks, else 0.
    pub alert_score: f64,
}

impl From<&Scores> for LoneScores {
    fn from(scores: &Scores) -> Self {
        Self {
            raw_anomaly_score: f64::from(scores.raw_anomaly_score),
            anomaly_score: scores.anomaly_score,
            detection_score: scores.detection.score,
            alert_score: scores.detection.alert_score,
        }
    }
}

/// The columns of a row that have them.
const SCORE_COLUMNS: [&str; 4] = ["raw_anomaly_score", "anomaly_score", "detection_score", "alert_score"];

impl LoneScores {
    /// Whether `row` has all of them, bit for bit.
    pub fn are_of(&self, row: &MetricRow) -> bool {
        stored_bits(row) == self.bits()
    }

    fn bits(&self) -> [Option<u64>; SCORE_COLUMNS.len()] {
        [self.raw_anomaly_score, self.anomaly_score, self.detection_score, self.alert_score]
            .map(|score| Some(score.to_bits()))
    }
}

fn stored_bits(row: &MetricRow) -> [Option<u64>; SCORE_COLUMNS.len()] {
    let (score, alert) = (row.detection.map(|it| it.score), row.detection.map(|it| it.alert_score));
    [row.raw_anomaly_score, row.anomaly_score, score, alert].map(|score| score.map(f64::to_bits))
}

/// The range over all values of `samples`, widened as NAB widens it; to be declared.
///
/// # Panics
/// If a value is not finite.
pub fn padded_range(samples: &[Record]) -> ValueRange {
    let least = samples.iter().map(|record| record.value).fold(f64::INFINITY, f64::min);
    let greatest = samples.iter().map(|record| record.value).fold(f64::NEG_INFINITY, f64::max);
    ValueRange::padded(least, greatest).expect("finite values")
}

/// The scores of `samples` by a new model over `range`.
///
/// # Panics
/// If the model refuses a sample.
pub fn scores(samples: &[Record], range: ValueRange) -> Vec<LoneScores> {
    steps(samples, range).iter().map(LoneScores::from).collect()
}

fn steps(samples: &[Record], range: ValueRange) -> Vec<Scores> {
    let params = ModelParams::single_metric(range.resolution(None)).expect("a usable range");
    let mut model = Model::new(Arc::new(params), &TEMPLATES);
    let mut workspace = Workspace::new();
    (1..)
        .zip(samples)
        .map(|(row_id, &record)| model.step(&mut workspace, RowId(row_id), record).expect("a usable sample"))
        .collect()
}

/// The scores of `samples` by models whose range nobody declared: learned from the first `learned_rows`, and learned anew
/// by a next model over all samples so far with each sample that outgrows it. Also how many models that took.
///
/// # Panics
/// If a model refuses a sample.
pub fn learned_scores(samples: &[Record], learned_rows: usize) -> (Vec<LoneScores>, usize) {
    let (steps, lives) = learned_steps(samples, learned_rows);
    (steps.iter().map(LoneScores::from).collect(), lives)
}

/// The same with everything that the models say.
///
/// # Panics
/// If a model refuses a sample.
pub fn learned_steps(samples: &[Record], learned_rows: usize) -> (Vec<Scores>, usize) {
    let values: Vec<f64> = samples.iter().map(|record| record.value).collect();
    let recent = |end: usize| &values[end.saturating_sub(MAX_RANGE_ROWS)..end];
    let mut range = learned_range(recent(learned_rows)).expect("finite values").expect("some");
    let (mut scored, mut lives) = (Vec::new(), 0);
    let mut learned_up_to = learned_rows;
    while scored.len() < samples.len() {
        lives += 1;
        let wider = (learned_up_to..samples.len()).find_map(|at| {
            let is_outside = !range.contains(values[at]);
            let wider = is_outside.then(|| outgrown(range, recent(at + 1)).expect("finite values")).flatten();
            wider.map(|wider| (at + 1, wider))
        });
        let end = wider.map_or(samples.len(), |(end, _)| end);
        let of_life = steps(&samples[..end], range);
        scored.extend(of_life.into_iter().skip(scored.len()));
        if let Some((end, wider)) = wider {
            (learned_up_to, range) = (end, wider);
        }
    }
    (scored, lives)
}

/// Whether `rows` are exactly `samples`, in order from row 1.
///
/// # Panics
/// At the first difference.
#[track_caller]
pub fn assert_stored(context: &str, rows: &[MetricRow], samples: &[Record]) {
    for ((row_id, row), sample) in (1..).zip(rows).zip(samples) {
        assert_eq!(row.row_id, RowId(row_id), "{context}: row ids are consecutive");
        assert_eq!(row.timestamp, sample.timestamp, "{context}: time of row {row_id}");
        assert_eq!(row.value.to_bits(), sample.value.to_bits(), "{context}: value of row {row_id}");
    }
    assert_eq!(rows.len(), samples.len(), "{context}: number of rows");
}

/// Whether `rows` carry exactly `expected`, bit for bit.
///
/// # Panics
/// At the first difference.
#[track_caller]
pub fn assert_scored(context: &str, rows: &[MetricRow], expected: &[LoneScores]) {
    assert_columns(context, rows, expected, SCORE_COLUMNS.len());
}

/// As [`assert_scored`], of rows that were scored before there was a detection score or that lie in a database without its
/// columns.
///
/// # Panics
/// At the first difference.
#[track_caller]
pub fn assert_scored_of_old(context: &str, rows: &[MetricRow], expected: &[LoneScores]) {
    assert_columns(context, rows, expected, 2);
    assert!(rows.iter().all(|row| row.detection.is_none()), "{context}: nobody knew a detection score");
}

#[track_caller]
fn assert_columns(context: &str, rows: &[MetricRow], expected: &[LoneScores], columns: usize) {
    for (row, scores) in rows.iter().zip(expected) {
        let row_id = row.row_id;
        let (found, expected) = (stored_bits(row), scores.bits());
        for (column, name) in SCORE_COLUMNS.iter().enumerate().take(columns) {
            assert_eq!(found[column], expected[column], "{context}: {name} of row {row_id}, as bits");
        }
        assert!(row.display_value.is_some(), "{context}: display value of row {row_id}");
    }
    assert_eq!(rows.len(), expected.len(), "{context}: number of rows");
}

/// Whether `rows` are `samples`, scored as a lone model over `range` scores them.
///
/// # Panics
/// At the first difference.
#[track_caller]
pub fn assert_equal(context: &str, rows: &[MetricRow], samples: &[Record], range: ValueRange) {
    assert_stored(context, rows, samples);
    assert_scored(context, rows, &scores(samples, range));
}
