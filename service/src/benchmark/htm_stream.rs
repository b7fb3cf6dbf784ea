//! The HTM model of one series, fed record by record.
//!
//! Until the range is known there is no model; the records wait. With the record that makes the range known the model
//! is made and steps all of them, as the engine does with the stored rows of a metric. So raw scores come late for the
//! first records, and never early.

use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::{ModelParams, ValueRange};

use super::BenchmarkError;
use super::observation::Observation;
use super::value_range::learned_range;

/// The model of one series, or the records that wait for it.
pub struct HtmStream<'a> {
    templates: &'a Templates,
    workspace: &'a mut Workspace,
    model: Option<Model>,
    last_row_id: i64,
    waiting: Vec<Record>,
    observed: Vec<Observation>,
}

impl<'a> HtmStream<'a> {
    /// A stream whose model has this range, or learns one.
    ///
    /// # Errors
    /// If no model can have the range.
    pub fn new(
        range: Option<ValueRange>,
        templates: &'a Templates,
        workspace: &'a mut Workspace,
    ) -> Result<Self, BenchmarkError> {
        let model = range.map(|range| model_of(range, templates)).transpose()?;
        Ok(Self { templates, workspace, model, last_row_id: 0, waiting: Vec::new(), observed: Vec::new() })
    }

    /// Gives the next record; returns the records that now have raw scores, in order: none while there is no model,
    /// all that waited when there is one, and from then on each as it comes.
    ///
    /// # Errors
    /// If the model refuses the record, or none can have the range that was learned.
    pub fn push(&mut self, record: Record) -> Result<&[Observation], BenchmarkError> {
        self.observed.clear();
        self.waiting.push(record);
        if self.model.is_none() {
            let range = learned_range(&self.waiting).map_err(in_words)?;
            let Some(range) = range else { return Ok(&[]) };
            self.model = Some(model_of(range, self.templates)?);
        }
        let Some(model) = &mut self.model else { return Ok(&[]) };
        for record in self.waiting.drain(..) {
            self.last_row_id += 1;
            let scores = model.step(self.workspace, RowId(self.last_row_id), record).map_err(in_words)?;
            self.observed.push(Observation {
                timestamp: record.timestamp,
                value: record.value,
                raw_score: scores.raw_anomaly_score,
            });
        }
        Ok(&self.observed)
    }
}

fn model_of(range: ValueRange, templates: &Templates) -> Result<Model, BenchmarkError> {
    let params = ModelParams::single_metric(range.resolution(None)).map_err(in_words)?;
    Ok(Model::new(Arc::new(params), templates))
}

fn in_words(error: impl std::error::Error) -> BenchmarkError {
    BenchmarkError::new(error.to_string())
}
