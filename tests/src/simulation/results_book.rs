//! What was published of each metric, checked as it comes: every row, in row order, with the scores that are stored.
//!
//! A life of a model begins with the message that it was made. Within one, rows may come again, with equal scores, but none
//! may come before its predecessor did.
//!
//! With the bus in the process, whoever reads results is cut off when the process ends, and reads the rows of the database
//! instead: what is scored there by then need not come any more. A broker that forgets scores has them made again, and then
//! they come after later ones. Rows that were deleted for their age do not come any more either.

use std::collections::BTreeMap;

use htm_core::ids::ModelId;
use htmengine::bus::message::{CommandMethod, ResultMessage};
use htmengine::model_params::ModelStart;
use htmengine::repository::metric::MetricStatus;

use super::tables::{MetricTable, Tables};
use super::verdict::Violation;

/// The book of all metrics, by id.
#[derive(Debug, Default)]
pub(super) struct ResultsBook {
    pages: BTreeMap<String, Page>,
    row_count: u64,
    is_disordered: bool,
}

#[derive(Debug, Default)]
struct Page {
    generation: String,
    /// The last row such that it and all before it have come, or need not come.
    reached: i64,
    /// Rows up to this one need not come any more.
    excused: i64,
    scores: BTreeMap<i64, Scores>,
}

type Scores = (u64, u64);

fn generation_of(table: &MetricTable) -> Option<String> {
    ModelStart::from_json(table.metric.model_params.as_deref()?).ok().map(|start| start.generation)
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
                for row in &results.results {
                    self.row_count += 1;
                    let scores = (row.raw_anomaly.to_bits(), row.anomaly.to_bits());
                    if let Some(what) = page.add(row.rowid, scores, self.is_disordered) {
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
            let Some(generation) = generation_of(table) else { continue };
            let page = self.pages.entry(id.to_string()).or_default();
            if table.metric.status == MetricStatus::Active {
                page.begin(&generation, Some(table));
            }
            page.excuse(table.scored_up_to.0);
        }
    }

    /// Scores were forgotten on their way: those that are made again come late.
    pub(super) fn allow_disorder(&mut self) {
        self.is_disordered = true;
    }

    /// What is missing in the end, or other than stored.
    pub(super) fn violations(&self, tables: &Tables) -> Vec<Violation> {
        let active = tables.metrics.values().filter(|table| table.metric.status == MetricStatus::Active);
        active.filter_map(|table| self.check(table)).collect()
    }

    fn check(&self, table: &MetricTable) -> Option<Violation> {
        let metric = table.metric.name.clone();
        let Some(page) = self.pages.get(table.metric.uid.as_str()) else {
            return Some(Violation::Results { metric, what: "nothing was published".to_owned() });
        };
        let stored = table.metric.last_rowid.0;
        let is_gone = table.purged_up_to.0 == stored;
        if page.reached < stored && !is_gone {
            let what = format!("rows up to {} of {stored} were published", page.reached);
            return Some(Violation::Results { metric, what });
        }
        for row in &table.rows {
            let Some((raw, anomaly)) = page.scores.get(&row.row_id.0) else { continue };
            let bits = |score: Option<f64>| score.map(f64::to_bits);
            if bits(row.raw_anomaly_score) != Some(*raw) || bits(row.anomaly_score) != Some(*anomaly) {
                let what = format!("row {} was published with other scores than stored", row.row_id);
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

    fn add(&mut self, row_id: i64, scores: Scores, is_disordered: bool) -> Option<String> {
        if row_id > self.reached + 1 && !is_disordered {
            return Some(format!("row {row_id} was published before row {}", self.reached + 1));
        }
        let before = *self.scores.entry(row_id).or_insert(scores);
        self.advance();
        (before != scores).then(|| format!("row {row_id} was published twice with different scores"))
    }

    /// Rows up to this one need not come.
    fn excuse(&mut self, row_id: i64) {
        self.excused = self.excused.max(row_id);
        self.advance();
    }

    fn advance(&mut self) {
        self.reached = self.reached.max(self.excused);
        while self.scores.contains_key(&(self.reached + 1)) {
            self.reached += 1;
        }
    }
}
