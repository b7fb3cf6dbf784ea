//! One model: a record goes in, scores come out, and the model has learned.
//!
//! Flow of [`Model::step`]: encoder, spatial pooler, raw anomaly score against what the temporal memory predicted
//! last time, temporal memory, likelihood, fused detection score, and a classifier if the parameters have one. All
//! state between two records is in the [`Model`]; a [`Workspace`] is scratch memory that one thread uses for all its
//! models.
//!
//! Invariants: same parameters and same records give the same scores, whatever was saved and restored in
//! between; a refused record changes nothing.
//!
//! Source: the order of `HTMPredictionModel.run` and of htmengine's model runner.

pub mod memory;
pub mod plain_memory;
pub mod spatial_pooler;
pub mod template;
pub mod temporal_memory;
pub mod workspace;

use std::fmt;
use std::sync::Arc;

use self::memory::Memory;
use self::spatial_pooler::SpatialPooler;
use self::template::Templates;
use self::workspace::Workspace;
use crate::anomaly::htmengine_likelihood::{HtmengineLikelihood, ScoredRow};
use crate::anomaly::raw_score::raw_anomaly_score;
use crate::classifier::{Classifier, Predictions, Sighting};
use crate::detection::{Detection, Detector};
use crate::encoder::{EncodeError, MultiEncoder, Record};
use crate::ids::RowId;
use crate::params::ModelParams;

/// A model and everything it has learned.
#[derive(Debug, Clone)]
pub struct Model {
    params: Arc<ModelParams>,
    encoder: MultiEncoder,
    spatial_pooler: SpatialPooler,
    memory: Memory,
    likelihood: HtmengineLikelihood,
    detector: Detector,
    classifier: Option<Box<Classifier>>,
    last_stepped_row_id: RowId,
    /// Memory of the image that some arrays are still part of; 0 for a model that did not come from a file.
    image_bytes: usize,
}

/// What a model says of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Bucket of the value encoder.
    pub bucket: usize,
    /// Share of active columns that were not predicted.
    pub raw_anomaly_score: f32,
    /// Columns that were predicted for this record, active or not.
    pub open_predictions: u32,
    /// htmengine's anomaly score: 1 - likelihood of the tail; 0 for the first 99 rows.
    pub anomaly_score: f64,
    /// The fused score, whether it is an alert, and what it is made of.
    pub detection: Detection,
    /// What the classifier expects; empty without one, which costs nothing.
    pub best_predictions: Predictions,
}

/// Why a record was refused. The model is unchanged.
#[derive(Debug, Clone, PartialEq)]
pub enum StepError {
    /// NaN or infinite.
    NotFinite {
        /// The value found.
        value: f64,
    },
    /// Outside the years the calendar knows.
    Timestamp {
        /// The timestamp found.
        timestamp: i64,
    },
    /// The encoder cannot represent the value.
    Encode(EncodeError),
    /// Not the row after the last one.
    OutOfOrder {
        /// The row found.
        row_id: RowId,
        /// The last row stepped.
        last_stepped: RowId,
    },
}

impl fmt::Display for StepError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { value } => {
                write!(formatter, "the value is {value}; a model takes finite numbers")
            }
            Self::Timestamp { timestamp } => {
                write!(
                    formatter,
                    "the timestamp is {timestamp}; a model takes unix seconds of the years 0 to 9999"
                )
            }
            Self::Encode(error) => error.fmt(formatter),
            Self::OutOfOrder { row_id, last_stepped } => {
                write!(formatter, "row {row_id} was given after row {last_stepped}; rows must come in order")
            }
        }
    }
}

impl std::error::Error for StepError {}

/// 0000-01-01 to 9999-12-31, unix seconds.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Model {
    /// A model that has seen nothing.
    pub fn new(params: Arc<ModelParams>, templates: &Templates) -> Self {
        let template = templates.get(params.spatial_pooler());
        Self {
            encoder: MultiEncoder::new(params.encoder()),
            spatial_pooler: SpatialPooler::new(*params.spatial_pooler(), template),
            memory: Memory::new(&params),
            likelihood: HtmengineLikelihood::default(),
            detector: Detector::new(),
            classifier: params.classifier().map(|classifier| {
                Box::new(Classifier::new(classifier.clone(), params.spatial_pooler().columns))
            }),
            last_stepped_row_id: RowId(0),
            image_bytes: 0,
            params,
        }
    }

    /// Puts a saved model together again; the parts must belong to `params`.
    pub(crate) fn from_parts(params: Arc<ModelParams>, parts: ModelParts) -> Self {
        let ModelParts {
            encoder,
            spatial_pooler,
            memory,
            likelihood,
            detector,
            classifier,
            last_stepped_row_id,
            image_bytes,
        } = parts;
        Self {
            params,
            encoder,
            spatial_pooler,
            memory,
            likelihood,
            detector,
            classifier,
            last_stepped_row_id,
            image_bytes,
        }
    }

    /// Steps the next row: scores it and learns it.
    ///
    /// # Errors
    /// [`StepError`]; the model is unchanged then.
    ///
    /// # Panics
    /// If the state is not one that this code wrote.
    pub fn step(
        &mut self,
        workspace: &mut Workspace,
        row_id: RowId,
        record: Record,
    ) -> Result<Scores, StepError> {
        self.check(row_id, record)?;
        workspace.fit(&self.params);
        let bucket = self.encoder.encode(record, &mut workspace.input).map_err(StepError::Encode)?;
        workspace.list_active_inputs();
        self.spatial_pooler.step(workspace);
        let predicted = self.memory.predicted_columns();
        let open_predictions = predicted.iter().map(|word| word.count_ones()).sum();
        let raw_anomaly_score = raw_anomaly_score(&workspace.active_columns, predicted);
        self.memory.step(workspace);
        let row = ScoredRow { row_id: row_id.0, value: record.value, raw_score: raw_anomaly_score };
        let anomaly_score = self.likelihood.score(row, &mut workspace.averages);
        let detection = self.detector.detect(record, raw_anomaly_score);
        let best_predictions = self.predict(workspace, bucket, record.value);
        self.last_stepped_row_id = row_id;
        Ok(Scores { bucket, raw_anomaly_score, open_predictions, anomaly_score, detection, best_predictions })
    }

    fn predict(&mut self, workspace: &mut Workspace, bucket: usize, value: f64) -> Predictions {
        let Some(classifier) = &mut self.classifier else { return Predictions::default() };
        let Workspace { active_columns, active_cells, votes, .. } = workspace;
        self.memory.list_active_cells(active_columns, active_cells);
        let record = Sighting { columns: active_columns, cells: active_cells, bucket, value };
        classifier.step(record, votes)
    }

    /// Parameters.
    pub fn params(&self) -> &Arc<ModelParams> {
        &self.params
    }

    /// The last row stepped; 0 before the first.
    pub fn last_stepped_row_id(&self) -> RowId {
        self.last_stepped_row_id
    }

    /// The encoder and its buckets.
    pub fn encoder(&self) -> &MultiEncoder {
        &self.encoder
    }

    /// The spatial pooler's memory.
    pub fn spatial_pooler(&self) -> &SpatialPooler {
        &self.spatial_pooler
    }

    /// The temporal memory's memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The classifier, if there is one.
    pub fn classifier(&self) -> Option<&Classifier> {
        self.classifier.as_deref()
    }

    /// The likelihood procedure's state.
    pub fn likelihood(&self) -> &HtmengineLikelihood {
        &self.likelihood
    }

    /// The fused score's state.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Bytes of memory this model holds, without the shared template: its image and every array that has outgrown
    /// it. Pages never touched count too.
    pub fn memory_bytes(&self) -> usize {
        self.image_bytes
            + self.spatial_pooler.own_bytes()
            + self.memory.own_bytes()
            + self.likelihood.window().own_bytes()
            + self.detector.own_bytes()
            + self.classifier.as_ref().map_or(0, |classifier| classifier.own_bytes())
    }

    fn check(&self, row_id: RowId, record: Record) -> Result<(), StepError> {
        if !record.value.is_finite() {
            return Err(StepError::NotFinite { value: record.value });
        }
        if !TIMESTAMPS.contains(&record.timestamp) {
            return Err(StepError::Timestamp { timestamp: record.timestamp });
        }
        if row_id <= self.last_stepped_row_id {
            return Err(StepError::OutOfOrder { row_id, last_stepped: self.last_stepped_row_id });
        }
        Ok(())
    }
}

/// The parts of a model, as a checkpoint reads them.
#[derive(Debug)]
pub(crate) struct ModelParts {
    pub(crate) encoder: MultiEncoder,
    pub(crate) spatial_pooler: SpatialPooler,
    pub(crate) memory: Memory,
    pub(crate) likelihood: HtmengineLikelihood,
    pub(crate) detector: Detector,
    pub(crate) classifier: Option<Box<Classifier>>,
    pub(crate) last_stepped_row_id: RowId,
    pub(crate) image_bytes: usize,
}

/// A vector of zeros that costs no memory until it is written.
fn zeroed<T: zerocopy::FromZeros>(len: usize) -> Vec<T> {
    T::new_vec_zeroed(len).expect("memory for scratch")
}
