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

/// Raw and anomaly score of one record.
pub type ScorePair = (f64, f64);

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
pub fn scores(samples: &[Record], range: ValueRange) -> Vec<ScorePair> {
    steps(samples, range).iter().map(pair).collect()
}

fn pair(scores: &Scores) -> ScorePair {
    (f64::from(scores.raw_anomaly_score), scores.anomaly_score)
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
pub fn learned_scores(samples: &[Record], learned_rows: usize) -> (Vec<ScorePair>, usize) {
    let (steps, lives) = learned_steps(samples, learned_rows);
    (steps.iter().map(pair).collect(), lives)
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
pub fn assert_scored(context: &str, rows: &[MetricRow], expected: &[ScorePair]) {
    for (row, (raw, anomaly)) in rows.iter().zip(expected) {
        let bits = |score: Option<f64>| score.map(f64::to_bits);
        let row_id = row.row_id;
        assert_eq!(bits(row.raw_anomaly_score), bits(Some(*raw)), "{context}: raw score of row {row_id}");
        assert_eq!(bits(row.anomaly_score), bits(Some(*anomaly)), "{context}: anomaly score of row {row_id}");
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
