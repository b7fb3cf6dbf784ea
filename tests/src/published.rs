//! What readers of results were told, of every row of every metric, and whether that is what the database has.

use std::collections::BTreeMap;

use htmengine::repository::Repository;
use serde_json::Value;

use crate::load::Load;
use crate::stored::rows;

/// Raw and anomaly score of each row of a metric, as bits, from row 1 on and without a gap: a row that comes for the first time
/// is the one after all that came before.
#[derive(Debug, Default)]
pub struct Published {
    metrics: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Published {
    /// Notes one message. Published again after a crash or not: the scores of a row never differ, and no row comes before the
    /// one before it.
    ///
    /// # Panics
    /// If so, or if it is no message with rows.
    #[track_caller]
    pub fn note(&mut self, body: &Value) {
        let name = body["metric"]["name"].as_str().expect("a name");
        let rows = self.metrics.entry(name.to_owned()).or_default();
        for row in body["results"].as_array().expect("rows") {
            let bits = |key: &str| row[key].as_f64().expect("a number").to_bits();
            let scores = (bits("rawAnomaly"), bits("anomaly"));
            let row_id = row["rowid"].as_u64().and_then(|id| usize::try_from(id).ok()).expect("a row id");
            let at = row_id.checked_sub(1).expect("row ids begin with 1");
            if let Some(earlier) = rows.get(at) {
                assert_eq!(*earlier, scores, "{name}: row {row_id} came with other scores before");
            } else {
                assert_eq!(at, rows.len(), "{name}: row {row_id} came before row {}", rows.len() + 1);
                rows.push(scores);
            }
        }
    }

    /// Whether every row of the whole load came.
    pub fn is_complete(&self, load: &Load) -> bool {
        let has_all = |name: &String| self.metrics.get(name).is_some_and(|rows| rows.len() == load.rows());
        load.names().iter().all(has_all)
    }

    /// Whether all came with the scores that the database has.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check(&self, load: &Load, repository: &dyn Repository) {
        for name in load.names() {
            let bits = |score: Option<f64>| score.expect("scored").to_bits();
            let stored: Vec<_> = rows(repository, name)
                .iter()
                .map(|row| (bits(row.raw_anomaly_score), bits(row.anomaly_score)))
                .collect();
            assert_eq!(self.metrics[name], stored, "{name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn noted(row_ids: &[i64]) -> usize {
        let mut published = Published::default();
        for row_id in row_ids {
            let row = json!({"rowid": row_id, "rawAnomaly": 0.5, "anomaly": 0.25});
            published.note(&json!({"metric": {"name": "cpu"}, "results": [row]}));
        }
        published.metrics["cpu"].len()
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
