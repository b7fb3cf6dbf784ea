//! What was odd in a window, the oddest first: rows with elevated detection scores, gathered into episodes, and those by
//! metric or by a tag.
//!
//! An episode is a run of such rows of one metric with at most [`EPISODE_GAP_ROWS`] rows between two of them.
//!
//! Source: ours; the traffic tutorial's `anomalyAbove` ranked routes by how many scores lay above a threshold.

use std::collections::{BTreeMap, HashMap};

use htm_core::ids::{ModelId, RowId};
use serde::Serialize;

use super::metric_filter::{MetricFilter, tags_of};
use super::{OperationError, Operations};
use crate::repository::elevated::{ElevatedQuery, ElevatedRow, MAX_ELEVATED_ROWS};
use crate::repository::metric::Metric;
use crate::repository::metric_data::DataQuery;

/// Rows between two elevated ones of an episode: an hour of 5-minute samples.
pub const EPISODE_GAP_ROWS: i64 = 12;
/// Entries of one answer.
pub const MAX_ANOMALIES: usize = 1_000;

/// What an entry stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// Every episode by itself.
    Episode,
    /// All episodes of a metric.
    Metric,
    /// All episodes of the metrics with the same value of this tag; those without the tag are left out.
    Tag(String),
}

/// Which anomalies.
#[derive(Debug, Clone, PartialEq)]
pub struct AnomalyQuery {
    /// Not before this time, unix seconds.
    pub since: i64,
    /// Not after this time.
    pub until: i64,
    /// At least this detection score; see [`crate::repository::elevated::ELEVATED_SCORE`].
    pub min_score: f64,
    /// Of these metrics.
    pub filter: MetricFilter,
    /// What an entry stands for.
    pub grouping: Grouping,
    /// At most so many entries, up to [`MAX_ANOMALIES`].
    pub limit: usize,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Anomaly {
    /// Value of the tag, if entries stand for those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Name of the metric; of a group, of the one with the largest score.
    pub metric: String,
    /// Its id.
    pub uid: ModelId,
    /// Largest detection score.
    pub max_score: f64,
    /// Episodes.
    pub episodes: usize,
    /// Elevated rows.
    pub rows: usize,
    /// Time of the first of them.
    pub first: i64,
    /// Time of the last of them.
    pub last: i64,
    /// Time of the largest score.
    pub peak_at: i64,
    /// Row of the largest score.
    pub peak_rowid: RowId,
    /// Value of that row.
    pub peak_value: Option<f64>,
}

/// The ranked list.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The oddest first.
    pub anomalies: Vec<Anomaly>,
    /// Whether older rows of the window were left out, being too many.
    pub is_truncated: bool,
}

/// Consecutive elevated rows of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// Time of its first row.
    pub from: i64,
    /// Time of its last row.
    pub until: i64,
    /// Elevated rows.
    pub rows: usize,
    /// Largest detection score.
    pub max_score: f64,
    /// Time of it.
    pub peak_at: i64,
    /// Row of it.
    pub peak: RowId,
}

impl Episode {
    fn of(row_id: RowId, timestamp: i64, score: f64) -> Self {
        Self {
            from: timestamp,
            until: timestamp,
            rows: 1,
            max_score: score,
            peak_at: timestamp,
            peak: row_id,
        }
    }

    fn add(&mut self, row_id: RowId, timestamp: i64, score: f64) {
        self.until = timestamp;
        self.rows += 1;
        if score > self.max_score {
            (self.max_score, self.peak_at, self.peak) = (score, timestamp, row_id);
        }
    }
}

/// The episodes of one metric's elevated rows (row, time, detection score), given in row order.
pub fn episodes(rows: impl IntoIterator<Item = (RowId, i64, f64)>) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    let mut last_row = None;
    for (row_id, timestamp, score) in rows {
        let is_near = last_row.is_some_and(|last: RowId| row_id.0 - last.0 <= EPISODE_GAP_ROWS + 1);
        match episodes.last_mut() {
            Some(episode) if is_near => episode.add(row_id, timestamp, score),
            _ => episodes.push(Episode::of(row_id, timestamp, score)),
        }
        last_row = Some(row_id);
    }
    episodes
}

impl Operations {
    /// What was odd in a window, the oddest first.
    ///
    /// # Errors
    /// From the database.
    pub fn anomalies(&self, query: &AnomalyQuery) -> Result<Ranking, OperationError> {
        let elevated = ElevatedQuery {
            since: query.since,
            until: query.until,
            min_score: query.min_score,
            limit: MAX_ELEVATED_ROWS,
        };
        let rows = self.repository().elevated_rows(&elevated)?;
        let is_truncated = rows.len() == MAX_ELEVATED_ROWS;
        let metrics = self.metrics_of(&rows, &query.filter)?;
        let mut entries: BTreeMap<(String, i64), Anomaly> = BTreeMap::new();
        for (id, rows) in by_metric(rows) {
            let Some(metric) = metrics.get(&id) else { continue };
            for episode in episodes(rows.iter().map(|row| (row.row_id, row.timestamp, row.score))) {
                let key = match &query.grouping {
                    Grouping::Episode => (metric.name.clone(), episode.peak.0),
                    Grouping::Metric => (metric.name.clone(), 0),
                    Grouping::Tag(tag) => match tags_of(&metric.name).remove(tag.as_str()) {
                        Some(value) => (value.to_owned(), 0),
                        None => continue,
                    },
                };
                let entry = anomaly_of(metric, &episode);
                if let Some(known) = entries.get_mut(&key) {
                    merge(known, entry);
                } else {
                    let group = matches!(query.grouping, Grouping::Tag(_)).then(|| key.0.clone());
                    entries.insert(key, Anomaly { group, ..entry });
                }
            }
        }
        let mut anomalies: Vec<Anomaly> = entries.into_values().collect();
        anomalies.sort_by(|one, other| other.max_score.total_cmp(&one.max_score));
        anomalies.truncate(query.limit.min(MAX_ANOMALIES));
        for anomaly in &mut anomalies {
            anomaly.peak_value = self.value_of(&anomaly.uid, anomaly.peak_rowid)?;
        }
        Ok(Ranking { anomalies, is_truncated })
    }

    /// The metrics of these rows that pass the filter, by id.
    fn metrics_of(
        &self,
        rows: &[ElevatedRow],
        filter: &MetricFilter,
    ) -> Result<HashMap<ModelId, Metric>, OperationError> {
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let metrics = self.repository().metrics(&[])?;
        Ok(metrics
            .into_iter()
            .filter(|metric| filter.matches(metric))
            .map(|metric| (metric.uid.clone(), metric))
            .collect())
    }

    fn value_of(&self, id: &ModelId, row_id: RowId) -> Result<Option<f64>, OperationError> {
        let query = DataQuery { first_row: Some(row_id), last_row: Some(row_id), ..DataQuery::default() };
        Ok(self.repository().data(id, &query)?.first().map(|row| row.value))
    }
}

/// Rows of each metric, in row order.
fn by_metric(rows: Vec<ElevatedRow>) -> HashMap<ModelId, Vec<ElevatedRow>> {
    let mut by_metric: HashMap<ModelId, Vec<ElevatedRow>> = HashMap::new();
    for row in rows {
        by_metric.entry(row.metric.clone()).or_default().push(row);
    }
    for rows in by_metric.values_mut() {
        rows.sort_by_key(|row| row.row_id);
    }
    by_metric
}

fn anomaly_of(metric: &Metric, episode: &Episode) -> Anomaly {
    Anomaly {
        group: None,
        metric: metric.name.clone(),
        uid: metric.uid.clone(),
        max_score: episode.max_score,
        episodes: 1,
        rows: episode.rows,
        first: episode.from,
        last: episode.until,
        peak_at: episode.peak_at,
        peak_rowid: episode.peak,
        peak_value: None,
    }
}

fn merge(known: &mut Anomaly, more: Anomaly) {
    known.episodes += more.episodes;
    known.rows += more.rows;
    known.first = known.first.min(more.first);
    known.last = known.last.max(more.last);
    if more.max_score > known.max_score {
        known.max_score = more.max_score;
        (known.peak_at, known.peak_rowid) = (more.peak_at, more.peak_rowid);
        (known.metric, known.uid) = (more.metric, more.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_near_one_another_are_one_episode() {
        let rows = [(1, 0.2), (2, 0.4), (15, 0.3), (29, 0.5), (30, 0.1)];
        let found = episodes(rows.map(|(row, score)| (RowId(row), 300 * row, score)));
        let shown: Vec<_> =
            found.iter().map(|it| (it.from, it.until, it.rows, it.max_score, it.peak.0)).collect();
        assert_eq!(shown, [(300, 4_500, 3, 0.4, 2), (8_700, 9_000, 2, 0.5, 29)]);
    }
}
