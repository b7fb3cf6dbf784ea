//! What a simulated database holds: committed rows, in memory.

use std::collections::BTreeMap;

use htm_core::ids::{ModelId, RowId};
use htmengine::model_params::ModelStart;
use htmengine::reject::RejectReason;
use htmengine::repository::metric::Metric;
use htmengine::repository::metric_data::MetricRow;
use htmengine::repository::reject::RejectEntry;

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) metrics: BTreeMap<ModelId, MetricTable>,
    pub(super) rejects: BTreeMap<RejectReason, RejectEntry>,
    /// Announced changes; the first has number 1.
    pub(super) changes: Vec<ModelId>,
}

/// A metric with its rows.
#[derive(Debug, Clone)]
pub(super) struct MetricTable {
    pub(super) metric: Metric,
    pub(super) rows: Vec<MetricRow>,
    /// The last row before the first without scores.
    pub(super) scored_up_to: RowId,
    /// Rows up to this one were deleted for their age.
    pub(super) purged_up_to: RowId,
    /// The first row that the present life of its model could step.
    pub(super) life_begins_at: RowId,
    /// The same of every life, by generation.
    pub(super) lives: BTreeMap<String, RowId>,
}

impl Tables {
    pub(super) fn id_of(&self, name: &str) -> Option<&ModelId> {
        self.metrics.iter().find(|(_, table)| table.metric.name == name).map(|(id, _)| id)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&MetricTable> {
        self.id_of(name).and_then(|id| self.metrics.get(id))
    }

    pub(super) fn reject_count(&self, reason: RejectReason) -> u64 {
        self.rejects.get(&reason).map_or(0, |entry| entry.count)
    }
}

impl MetricTable {
    pub(super) fn new(metric: Metric) -> Self {
        let (zero, one) = (RowId(0), RowId(1));
        let (rows, lives) = (Vec::new(), BTreeMap::new());
        Self { metric, rows, scored_up_to: zero, purged_up_to: zero, life_begins_at: one, lives }
    }

    /// The generation that the present life was announced by: one over a learned range that was widened goes by the first.
    pub(super) fn announced_generation(&self) -> Option<String> {
        let start = ModelStart::from_json(self.metric.model_params.as_deref()?).ok()?;
        let widened = start.continues_after.and_then(|_| self.lives.keys().next().cloned());
        Some(widened.unwrap_or(start.generation))
    }

    pub(super) fn row_mut(&mut self, row_id: RowId) -> Option<&mut MetricRow> {
        let at = self.rows.binary_search_by_key(&row_id, |row| row.row_id).ok()?;
        self.rows.get_mut(at)
    }

    /// The rows from `first` to `last`.
    pub(super) fn between(&self, first: RowId, last: RowId) -> &[MetricRow] {
        let start = self.rows.partition_point(|row| row.row_id < first);
        let end = self.rows.partition_point(|row| row.row_id <= last);
        self.rows.get(start..end).unwrap_or_default()
    }

    /// To be called when rows were scored or deleted.
    pub(super) fn advance_progress(&mut self) {
        let next = self.rows.partition_point(|row| row.row_id <= self.scored_up_to);
        for row in &self.rows[next..] {
            if row.raw_anomaly_score.is_none() {
                break;
            }
            self.scored_up_to = row.row_id;
        }
    }

    pub(super) fn clear_scores(&mut self) {
        for row in &mut self.rows {
            row.raw_anomaly_score = None;
            row.anomaly_score = None;
            row.display_value = None;
            row.best_predictions = None;
            row.detection = None;
        }
        self.scored_up_to = RowId(0);
    }
}
