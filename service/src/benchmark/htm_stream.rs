//! The HTM model of one series, fed record by record.
//!
//! Until the range is known there is no model; the records wait. With the record that makes the range known the model
//! is made and steps all of them, as the engine does with the stored rows of a metric. So raw scores come late for the
//! first records, and never early. A model whose learned range is outgrown gives way to one over a wider range, which
//! steps all records again; scores that were given stay.

use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::{ModelParams, ValueRange};

use super::BenchmarkError;
use super::observation::Observation;
use super::value_range::{learned_range, outgrown};

/// The model of one series, or the records that wait for it.
pub struct HtmStream<'a> {
    templates: &'a Templates,
    workspace: &'a mut Workspace,
    model: Option<Model>,
    /// The model's range, if it was learned.
    learned: Option<ValueRange>,
    seen: Vec<Record>,
    observed: Vec<Observation>,
}

/// What a record brings about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pushed<'a> {
    /// The records that now have raw scores, in order: none while there is no model, all that waited when there is one,
    /// and from then on each as it comes.
    pub observed: &'a [Observation],
    /// Whether the record has outgrown the learned range: then [`HtmStream::start_over`] is to be called.
    pub is_outgrown: bool,
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
        Ok(Self { templates, workspace, model, learned: None, seen: Vec::new(), observed: Vec::new() })
    }

    /// Gives the next record.
    ///
    /// # Errors
    /// If the model refuses the record, or none can have the range that was learned.
    pub fn push(&mut self, record: Record) -> Result<Pushed<'_>, BenchmarkError> {
        self.seen.push(record);
        let mut first = self.seen.len() - 1;
        if self.model.is_none() {
            self.learned = learned_range(&self.seen).map_err(in_words)?;
            let Some(range) = self.learned else { return Ok(Pushed { observed: &[], is_outgrown: false }) };
            self.model = Some(model_of(range, self.templates)?);
            first = 0;
        }
        self.step_from(first)?;
        let is_outgrown = match self.learned {
            Some(range) => outgrown(range, &self.seen).map_err(in_words)?.is_some(),
            None => false,
        };
        Ok(Pushed { observed: &self.observed, is_outgrown })
    }

    /// Makes a model over the range that all records so far need, which steps all of them; returns what it says of them,
    /// from the first on. It is what later records are observed with.
    ///
    /// # Errors
    /// If none can have that range.
    pub fn start_over(&mut self) -> Result<&[Observation], BenchmarkError> {
        if let Some(range) = self.learned {
            let wider = outgrown(range, &self.seen).map_err(in_words)?.unwrap_or(range);
            self.learned = Some(wider);
            self.model = Some(model_of(wider, self.templates)?);
            self.step_from(0)?;
        }
        Ok(&self.observed)
    }

    fn step_from(&mut self, first: usize) -> Result<(), BenchmarkError> {
        self.observed.clear();
        let Some(model) = &mut self.model else { return Ok(()) };
        for (row_id, record) in (1..).zip(&self.seen).skip(first) {
            let scores = model.step(self.workspace, RowId(row_id), *record).map_err(in_words)?;
            self.observed.push(Observation {
                timestamp: record.timestamp,
                value: record.value,
                raw_score: scores.raw_anomaly_score,
            });
        }
        Ok(())
    }
}

fn model_of(range: ValueRange, templates: &Templates) -> Result<Model, BenchmarkError> {
    let params = ModelParams::single_metric(range.resolution(None)).map_err(in_words)?;
    Ok(Model::new(Arc::new(params), templates))
}

fn in_words(error: impl std::error::Error) -> BenchmarkError {
    BenchmarkError::new(error.to_string())
}
