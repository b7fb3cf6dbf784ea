//! A write transaction of the simulated database: copies of the metrics it touches, put in place by the commit.

use std::collections::BTreeMap;

use htm_core::ids::{ModelId, RowId};
use htmengine::model_params::ModelStart;
use htmengine::repository::alert::{AlertCursor, AlertDelivery, AlertEpisode, AlertWrites};
use htmengine::repository::column_limit::{
    check_finite_scores, check_finite_value, check_length, check_metric,
};
use htmengine::repository::metric::{MAX_SERVER_CHARS, Metric, MetricStatus};
use htmengine::repository::metric_data::{MetricRow, RowUpdate, StoredSample};
use htmengine::repository::{RepositoryError, Transaction};
use htmengine::row_detection::RowDetection;
use htmengine::timestamp::format_seconds;

use super::canary::Canary;
use super::lone_model::is_same_detection;
use super::stage::Stage;
use super::tables::{MetricTable, Tables};
use super::verdict::Violation;

/// One run of a transaction's work.
pub(super) struct SimulatedTransaction<'a> {
    stage: &'a Stage,
    tables: &'a mut Tables,
    /// `None` for deleted ones.
    touched: BTreeMap<ModelId, Option<MetricTable>>,
    announced: Vec<ModelId>,
    has_scores: bool,
}

impl<'a> SimulatedTransaction<'a> {
    pub(super) fn new(stage: &'a Stage, tables: &'a mut Tables) -> Self {
        Self { stage, tables, touched: BTreeMap::new(), announced: Vec::new(), has_scores: false }
    }

    /// Whether it completes rows.
    pub(super) fn has_scores(&self) -> bool {
        self.has_scores
    }

    pub(super) fn commit(self) {
        for (id, table) in self.touched {
            match table {
                Some(table) => drop(self.tables.metrics.insert(id, table)),
                None => drop(self.tables.metrics.remove(&id)),
            }
        }
        self.tables.changes.extend(self.announced);
    }

    fn table(&self, id: &ModelId) -> Option<&MetricTable> {
        match self.touched.get(id) {
            Some(touched) => touched.as_ref(),
            None => self.tables.metrics.get(id),
        }
    }

    fn table_mut(&mut self, id: &ModelId) -> Option<&mut MetricTable> {
        let committed = &self.tables.metrics;
        self.touched.entry(id.clone()).or_insert_with(|| committed.get(id).cloned()).as_mut()
    }

    fn ids(&self) -> impl Iterator<Item = &ModelId> {
        let untouched = self.tables.metrics.keys().filter(|id| !self.touched.contains_key(*id));
        untouched.chain(self.touched.iter().filter(|(_, table)| table.is_some()).map(|(id, _)| id))
    }

    fn named(&self, name: &str) -> Option<&MetricTable> {
        self.ids().filter_map(|id| self.table(id)).find(|table| table.metric.name == name)
    }
}

fn rejected<T>(reason: String) -> Result<T, RepositoryError> {
    Err(RepositoryError::Rejected { reason })
}

impl Transaction for SimulatedTransaction<'_> {
    fn metric(&mut self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        Ok(self.table(id).map(|table| table.metric.clone()))
    }

    fn metric_by_name(&mut self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        Ok(self.named(name).map(|table| table.metric.clone()))
    }

    fn insert_metric(&mut self, metric: &Metric) -> Result<(), RepositoryError> {
        check_metric(metric)?;
        if self.table(&metric.uid).is_some() || self.named(&metric.name).is_some() {
            return rejected(format!("metric {} or its name exists", metric.uid));
        }
        self.touched.insert(metric.uid.clone(), Some(MetricTable::new(metric.clone())));
        Ok(())
    }

    fn set_status(
        &mut self,
        id: &ModelId,
        from: &[MetricStatus],
        to: MetricStatus,
        message: Option<&str>,
    ) -> Result<bool, RepositoryError> {
        let Some(table) = self.table_mut(id) else { return Ok(false) };
        if !from.contains(&table.metric.status) {
            return Ok(false);
        }
        table.metric.status = to;
        table.metric.message = message.map(str::to_owned);
        Ok(true)
    }

    fn set_model(
        &mut self,
        id: &ModelId,
        parameters: Option<&str>,
        model_params: Option<&str>,
    ) -> Result<(), RepositoryError> {
        if let Some(table) = self.table_mut(id) {
            let first = table.purged_up_to.0 + 1;
            table.life_begins_at = RowId(first);
            if let Some(Ok(start)) = model_params.map(ModelStart::from_json) {
                table.lives.insert(start.generation, RowId(first));
            }
            table.metric.parameters = parameters.map(str::to_owned);
            table.metric.model_params = model_params.map(str::to_owned);
        }
        Ok(())
    }

    fn set_server(&mut self, id: &ModelId, server: &str) -> Result<(), RepositoryError> {
        check_length("server", Some(server), MAX_SERVER_CHARS)?;
        if let Some(table) = self.table_mut(id) {
            table.metric.server = Some(server.to_owned());
        }
        Ok(())
    }

    fn tail_timestamp(&mut self, id: &ModelId) -> Result<Option<i64>, RepositoryError> {
        let Some(table) = self.table(id) else { return Ok(None) };
        let skipped = usize::from(self.stage.sings(Canary::StaleTail, 8));
        Ok(table.rows.iter().rev().nth(skipped).map(|row| row.timestamp))
    }

    fn append_rows(&mut self, id: &ModelId, samples: &[StoredSample]) -> Result<RowId, RepositoryError> {
        let Some(table) = self.table_mut(id) else { return rejected(format!("metric {id} does not exist")) };
        for sample in samples {
            check_finite_value(id, sample.value)?;
            if let Err(error) = format_seconds(sample.timestamp) {
                return rejected(format!("a sample of metric {id}: {error}"));
            }
            table.metric.last_rowid.0 += 1;
            table.rows.push(MetricRow {
                row_id: table.metric.last_rowid,
                timestamp: sample.timestamp,
                value: sample.value,
                raw_anomaly_score: None,
                anomaly_score: None,
                display_value: None,
                best_predictions: None,
                detection: None,
            });
        }
        Ok(table.metric.last_rowid)
    }

    fn complete_rows(&mut self, id: &ModelId, updates: &[RowUpdate]) -> Result<usize, RepositoryError> {
        self.has_scores = true;
        let stage = self.stage;
        let Some(table) = self.table_mut(id) else { return Ok(0) };
        let mut completed = 0;
        for update in updates {
            check_finite_scores(id, update)?;
            let Some(row) = table.row_mut(update.row_id) else { continue };
            if !is_same_or_first(row, update) {
                let row_id = update.row_id;
                stage.violate(Violation::ScoreChanged { metric: table.metric.name.clone(), row_id });
                return Ok(completed);
            }
            row.raw_anomaly_score = Some(update.raw_anomaly_score);
            row.anomaly_score = Some(update.anomaly_score);
            row.display_value = Some(update.display_value);
            row.best_predictions.clone_from(&update.best_predictions);
            let alert_score = update.detection.alert_score;
            let is_other = stage.sings(Canary::OtherAlertScore, 20);
            let alert_score = if is_other { (alert_score + 0.5).fract() } else { alert_score };
            row.detection = Some(RowDetection { alert_score, ..update.detection });
            completed += 1;
        }
        table.advance_progress();
        Ok(completed)
    }

    fn rows_between(
        &mut self,
        id: &ModelId,
        first: RowId,
        last: RowId,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        Ok(self.table(id).map_or_else(Vec::new, |table| table.between(first, last).to_vec()))
    }

    fn clear_scores(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        if let Some(table) = self.table_mut(id) {
            table.clear_scores();
        }
        Ok(())
    }

    fn value_range(
        &mut self,
        id: &ModelId,
        up_to: Option<RowId>,
    ) -> Result<Option<(f64, f64)>, RepositoryError> {
        let Some(table) = self.table(id) else { return Ok(None) };
        let rows = table.between(RowId(i64::MIN), up_to.unwrap_or(RowId(i64::MAX)));
        let values = || rows.iter().map(|row| row.value);
        Ok(values().reduce(f64::min).zip(values().reduce(f64::max)))
    }

    fn delete_metric(&mut self, id: &ModelId) -> Result<bool, RepositoryError> {
        let exists = self.table(id).is_some();
        self.touched.insert(id.clone(), None);
        Ok(exists)
    }

    fn announce(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        self.announced.push(id.clone());
        Ok(())
    }
}

/// Whether a row has no scores yet, or everything that the update says.
fn is_same_or_first(row: &MetricRow, update: &RowUpdate) -> bool {
    let is_same = |old: Option<f64>, new: f64| old.is_some_and(|old| old.to_bits() == new.to_bits());
    row.raw_anomaly_score.is_none()
        || is_same(row.raw_anomaly_score, update.raw_anomaly_score)
            && is_same(row.anomaly_score, update.anomaly_score)
            && row.display_value == Some(update.display_value)
            && row.best_predictions == update.best_predictions
            && row.detection.is_some_and(|detection| is_same_detection(&detection, &update.detection))
}

fn no_alerts<T>() -> Result<T, RepositoryError> {
    rejected("this database has no tables of alerts".to_owned())
}

/// As a database that was never migrated: there is nothing to read, and nothing can be written.
impl AlertWrites for SimulatedTransaction<'_> {
    fn put_alert_scope(&mut self, _scope: Option<&str>) -> Result<(), RepositoryError> {
        no_alerts()
    }

    fn put_alert_cursor(&mut self, _cursor: &AlertCursor) -> Result<(), RepositoryError> {
        no_alerts()
    }

    fn alert_episode(&mut self, _key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        Ok(None)
    }

    fn put_alert_episode(&mut self, _episode: &AlertEpisode) -> Result<(), RepositoryError> {
        no_alerts()
    }

    fn add_alert_delivery(&mut self, _delivery: &AlertDelivery) -> Result<(), RepositoryError> {
        no_alerts()
    }

    fn put_alert_delivery(&mut self, _delivery: &AlertDelivery) -> Result<(), RepositoryError> {
        no_alerts()
    }

    fn purge_alerts(&mut self, _before: i64, _kept: usize) -> Result<usize, RepositoryError> {
        Ok(0)
    }
}
