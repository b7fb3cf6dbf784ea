//! What readers of results were told, of every row of every metric, and whether that is what the database has.

use std::collections::BTreeMap;

use htmengine::repository::Repository;
use htmengine::repository::metric_data::MetricRow;
use serde_json::Value;

use crate::load::Load;
use crate::stored::rows;

/// What a result says of a row: time, value, raw and anomaly score, detection and alert score, as bits.
type PublishedRow = [u64; 6];

/// Rows of each metric, from row 1 on and without a gap: a row that comes for the first time is the one after all that came
/// before.
#[derive(Debug, Default)]
pub struct Published {
    metrics: BTreeMap<String, Vec<PublishedRow>>,
}

impl Published {
    /// Notes one message. Published again after a crash or not: a row never differs, and none comes before the one before it.
    ///
    /// # Panics
    /// If so, or if it is no message with rows and their detection scores.
    #[track_caller]
    pub fn note(&mut self, body: &Value) {
        let name = body["metric"]["name"].as_str().expect("a name");
        let rows = self.metrics.entry(name.to_owned()).or_default();
        for row in body["results"].as_array().expect("rows") {
            let detection = &row["detection"];
            let numbers = [
                &row["ts"],
                &row["value"],
                &row["rawAnomaly"],
                &row["anomaly"],
                &detection["score"],
                &detection["alertScore"],
            ];
            let noted = numbers.map(|number| number.as_f64().expect("a number").to_bits());
            let row_id = row["rowid"].as_u64().and_then(|id| usize::try_from(id).ok()).expect("a row id");
            let at = row_id.checked_sub(1).expect("row ids begin with 1");
            if let Some(earlier) = rows.get(at) {
                assert_eq!(*earlier, noted, "{name}: row {row_id} was another before");
            } else {
                assert_eq!(at, rows.len(), "{name}: row {row_id} came before row {}", rows.len() + 1);
                rows.push(noted);
            }
        }
    }

    /// Whether every row of the whole load came.
    pub fn is_complete(&self, load: &Load) -> bool {
        let has_all = |name: &String| self.metrics.get(name).is_some_and(|rows| rows.len() == load.rows());
        load.names().iter().all(has_all)
    }

    /// Whether all came as the database has them.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check(&self, load: &Load, repository: &dyn Repository) {
        for name in load.names() {
            let stored: Vec<_> = rows(repository, name).iter().map(expected).collect();
            assert_eq!(self.metrics[name], stored, "{name}");
        }
    }
}

/// What must have been published of a stored row.
#[track_caller]
fn expected(row: &MetricRow) -> PublishedRow {
    #[expect(clippy::cast_precision_loss, reason = "unix seconds are exact in an f64")]
    let time = row.timestamp as f64;
    let detection = row.detection.expect("scored");
    let scores = [row.raw_anomaly_score, row.anomaly_score].map(|score| score.expect("scored"));
    [time, row.value, scores[0], scores[1], detection.score, detection.alert_score].map(f64::to_bits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(row_id: i64) -> Value {
        let detection = json!({"score": 0.75, "alertScore": 0.0, "components": null});
        json!({
            "rowid": row_id, "ts": 300.0, "value": 7.0, "rawAnomaly": 0.5, "anomaly": 0.25, "detection": detection
        })
    }

    fn note_row(published: &mut Published, row: &Value) {
        published.note(&json!({"metric": {"name": "cpu"}, "results": [row]}));
    }

    fn noted(row_ids: &[i64]) -> usize {
        let mut published = Published::default();
        for row_id in row_ids {
            note_row(&mut published, &row(*row_id));
        }
        published.metrics["cpu"].len()
    }

    #[test]
    fn every_number_of_a_row_counts() {
        for place in ["/ts", "/value", "/rawAnomaly", "/anomaly", "/detection/score", "/detection/alertScore"]
        {
            let mut published = Published::default();
            let mut changed = row(1);
            *changed.pointer_mut(place).expect("there") = 0.125.into();
            note_row(&mut published, &row(1));
            let again = std::panic::catch_unwind(move || note_row(&mut published, &changed));
            assert!(again.is_err(), "{place}");
        }
    }

    #[test]
    fn rows_may_come_again_in_any_place() {
        assert_eq!(noted(&[1, 2, 3, 2, 3, 4, 1, 5]), 5);
    }

    #[test]
    #[should_panic(expected = "row 3 came before row 2")]
    fn a_row_that_skips_ahead_is_found() {
        noted(&[1, 3, 2, 3]);
    }
}
