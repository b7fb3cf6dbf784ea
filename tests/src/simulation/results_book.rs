//! What was published of each metric, checked as it comes: every row, in row order, with the scores that are stored.
//!
//! A life of a model begins with the message that it was made. Within one, rows may come again, with equal scores, but none
//! may come before its predecessor did.
//!
//! With the bus in the process, whoever reads results is cut off when the process ends, and reads the rows of the database
//! instead: what is scored there by then need not come any more. Rows that were deleted for their age do not come any more
//! either. What becomes of scores that a broker forgot is in `lost_scores.rs`.

use std::collections::{BTreeMap, BTreeSet};

use htm_core::ids::ModelId;
use htmengine::best_predictions::BestPredictions;
use htmengine::bus::message::{CommandMethod, ModelOutput, ResultMessage, ResultRow};
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;
use htmengine::row_detection::RowDetection;

use super::lost_scores::{LostScores, committed_rows, is_committed};
use super::queue::Lost;
use super::tables::{MetricTable, Tables};
use super::verdict::Violation;

/// The book of all metrics, by id.
#[derive(Debug, Default)]
pub(super) struct ResultsBook {
    pages: BTreeMap<String, Page>,
    row_count: u64,
    lost: LostScores,
}

#[derive(Debug, Default)]
struct Page {
    generation: String,
    /// The last row such that it and all before it have come, or need not come.
    reached: i64,
    /// Rows up to this one need not come any more.
    excused: i64,
    /// Single rows that need not come any more.
    excused_rows: BTreeSet<i64>,
    rows: BTreeMap<i64, Published>,
}

/// A row as it was published; scores to the bit.
#[derive(Debug, Clone, PartialEq)]
struct Published {
    value: u64,
    timestamp: u64,
    raw_anomaly: Option<u64>,
    anomaly: Option<u64>,
    /// Score and alert score.
    detection_bits: Option<(u64, u64)>,
    detection: Option<RowDetection>,
    best_predictions: Option<BestPredictions>,
}

impl Published {
    fn new(row: &ResultRow) -> Self {
        Self {
            value: row.value.to_bits(),
            timestamp: row.ts.to_bits(),
            raw_anomaly: Some(row.raw_anomaly.to_bits()),
            anomaly: Some(row.anomaly.to_bits()),
            detection_bits: detection_bits(row.detection),
            detection: row.detection,
            best_predictions: row.multi_step_best_predictions.clone(),
        }
    }

    /// What must be published of a stored row.
    fn expected(row: &MetricRow) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "unix seconds are exact in an f64")]
        let timestamp = row.timestamp as f64;
        Self {
            value: row.value.to_bits(),
            timestamp: timestamp.to_bits(),
            raw_anomaly: row.raw_anomaly_score.map(f64::to_bits),
            anomaly: row.anomaly_score.map(f64::to_bits),
            detection_bits: detection_bits(row.detection),
            detection: row.detection,
            best_predictions: row.best_predictions.clone(),
        }
    }
}

fn detection_bits(detection: Option<RowDetection>) -> Option<(u64, u64)> {
    detection.map(|detection| (detection.score.to_bits(), detection.alert_score.to_bits()))
}

impl ResultsBook {
    /// Rows published, with repetitions.
    pub(super) fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Takes note of what was published.
    pub(super) fn add(&mut self, messages: &[ResultMessage], tables: &Tables) -> Vec<Violation> {
        messages.iter().filter_map(|message| self.add_one(message, tables)).collect()
    }

    fn add_one(&mut self, message: &ResultMessage, tables: &Tables) -> Option<Violation> {
        match message {
            ResultMessage::Command(command) => {
                let result = &command.result;
                if result.method == CommandMethod::DefineModel && result.status == 0 {
                    let page = self.pages.entry(result.model_id.to_string()).or_default();
                    page.begin(&result.command_id, tables.metrics.get(&result.model_id));
                }
                None
            }
            ResultMessage::Inference(results) => {
                let page = self.pages.entry(results.metric.uid.clone()).or_default();
                let table = ModelId::new(&results.metric.uid).and_then(|id| tables.metrics.get(&id));
                page.excuse(table.map_or(0, |table| table.purged_up_to.0));
                let late = self.lost.late_rows(&results.metric.uid, &page.generation);
                for row in &results.results {
                    self.row_count += 1;
                    if let Some(what) = page.add(row.rowid, &Published::new(row), late) {
                        return Some(Violation::Results { metric: results.metric.name.clone(), what });
                    }
                }
                None
            }
        }
    }

    /// Readers are gone with their process, and read what is stored.
    pub(super) fn excuse(&mut self, tables: &Tables) {
        for (id, table) in &tables.metrics {
            let Some(generation) = table.announced_generation() else { continue };
            let page = self.pages.entry(id.to_string()).or_default();
            if table.metric.status == MetricStatus::Active {
                page.begin(&generation, Some(table));
            }
            page.excuse(table.scored_up_to.0);
        }
    }

    /// The broker forgot these scores.
    pub(super) fn forget(&mut self, lost: Vec<Lost<ModelOutput>>, tables: &Tables) {
        for Lost { message, was_held } in lost {
            if let Some(table) = tables.metrics.get(message.model_id()) {
                self.lost.expect_late(&message, table);
            }
            if was_held {
                self.lost.take_into_hands(message);
            } else {
                self.excuse_committed(&message, tables);
            }
        }
    }

    /// The anomaly role has nothing in its hands, and all that it had is published.
    pub(super) fn empty_hands(&mut self) {
        drop(self.lost.empty_hands());
    }

    /// The anomaly role's process is gone, and what it had in its hands with it.
    pub(super) fn lose_hands(&mut self, tables: &Tables) {
        for message in self.lost.empty_hands() {
            self.excuse_committed(&message, tables);
        }
    }

    /// Nobody has this message any more: what is committed of it is not published again.
    fn excuse_committed(&mut self, message: &ModelOutput, tables: &Tables) {
        let Some(table) = tables.metrics.get(message.model_id()) else { return };
        if !is_committed(message, table) {
            return;
        }
        let page = self.pages.entry(message.model_id().to_string()).or_default();
        if let Some(generation) = table.announced_generation()
            && table.metric.status == MetricStatus::Active
        {
            page.begin(&generation, Some(table));
        }
        if let ModelOutput::Scores(scores) = message {
            page.excuse_rows(committed_rows(scores, table));
        }
    }

    /// What is scored and was not published, nor excused.
    pub(super) fn unpublished(&mut self, tables: &Tables) -> Vec<Violation> {
        self.excuse_deleted(tables);
        let active = tables.metrics.values().filter(|table| table.metric.status == MetricStatus::Active);
        let missing = active.filter_map(|table| {
            let page = self.pages.get(table.metric.uid.as_str());
            let page = page.filter(|page| table.announced_generation().as_ref() == Some(&page.generation));
            let (reached, scored) = (page.map_or(0, |page| page.reached), table.scored_up_to.0);
            (reached < scored && table.purged_up_to.0 < scored).then(|| {
                let what = format!("an orderly stop published rows up to {reached} of {scored}");
                Violation::Results { metric: table.metric.name.clone(), what }
            })
        });
        missing.collect()
    }

    /// What is missing in the end, or other than stored.
    pub(super) fn violations(&mut self, tables: &Tables) -> Vec<Violation> {
        self.excuse_deleted(tables);
        let active = tables.metrics.values().filter(|table| table.metric.status == MetricStatus::Active);
        active.filter_map(|table| self.check(table)).collect()
    }

    fn excuse_deleted(&mut self, tables: &Tables) {
        for (id, table) in &tables.metrics {
            if let Some(page) = self.pages.get_mut(id.as_str()) {
                page.excuse(table.purged_up_to.0);
            }
        }
    }

    fn check(&self, table: &MetricTable) -> Option<Violation> {
        let metric = table.metric.name.clone();
        let Some(page) = self.pages.get(table.metric.uid.as_str()) else {
            return Some(Violation::Results { metric, what: "nothing was published".to_owned() });
        };
        let expected = table.announced_generation();
        if expected.as_ref() != Some(&page.generation) {
            let what = format!("the model that was made last is {}, stored is {expected:?}", page.generation);
            return Some(Violation::Results { metric, what });
        }
        let stored = table.metric.last_rowid.0;
        let is_gone = table.purged_up_to.0 == stored;
        if page.reached < stored && !is_gone {
            let what = format!("rows up to {} of {stored} were published", page.reached);
            return Some(Violation::Results { metric, what });
        }
        for row in &table.rows {
            let Some(published) = page.rows.get(&row.row_id.0) else { continue };
            if *published != Published::expected(row) {
                let what = format!("row {} was published as something else than stored", row.row_id);
                return Some(Violation::Results { metric, what });
            }
        }
        None
    }
}

impl Page {
    fn begin(&mut self, generation: &str, table: Option<&MetricTable>) {
        if self.generation == generation {
            return;
        }
        *self = Self { generation: generation.to_owned(), ..Self::default() };
        // Of rows that were deleted before the model was asked for it knows nothing.
        if let Some(first) = table.and_then(|table| table.lives.get(generation)) {
            self.excuse(first.0 - 1);
        }
    }

    /// Adds a row; rows in `late` may come after it.
    fn add(&mut self, row_id: i64, row: &Published, late: &BTreeSet<i64>) -> Option<String> {
        let is_missing = |row: &i64| !self.has(*row) && !late.contains(row);
        if let Some(missing) = (self.reached + 1..row_id).find(is_missing) {
            return Some(format!("row {row_id} was published before row {missing}"));
        }
        let is_same = *self.rows.entry(row_id).or_insert_with(|| row.clone()) == *row;
        self.advance();
        (!is_same).then(|| format!("row {row_id} was published twice with different scores"))
    }

    /// Whether this row has come, or need not come by itself.
    fn has(&self, row_id: i64) -> bool {
        self.rows.contains_key(&row_id) || self.excused_rows.contains(&row_id)
    }

    /// Rows up to this one need not come.
    fn excuse(&mut self, row_id: i64) {
        self.excused = self.excused.max(row_id);
        self.advance();
    }

    /// These rows need not come.
    fn excuse_rows(&mut self, rows: impl Iterator<Item = i64>) {
        self.excused_rows.extend(rows);
        self.advance();
    }

    fn advance(&mut self) {
        self.reached = self.reached.max(self.excused);
        while self.has(self.reached + 1) {
            self.reached += 1;
        }
    }
}
