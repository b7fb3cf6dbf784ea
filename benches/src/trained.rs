//! A model that has seen a whole series, and what passed between its stages in the last rows.

use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;

use crate::series::Series;

/// Rows whose inputs and outputs are kept for replaying one stage.
pub const KEPT_ROWS: usize = 512;

/// A trained model.
#[derive(Debug)]
pub struct Trained {
    /// The model after the last row.
    pub model: Model,
    /// The template it shares.
    pub templates: Templates,
    /// The last [`KEPT_ROWS`] rows, oldest first.
    pub rows: Vec<KeptRow>,
}

/// What passed between the stages at one row.
#[derive(Debug, Clone)]
pub struct KeptRow {
    /// Encoder to spatial pooler: active bits.
    pub active_inputs: Vec<u16>,
    /// Spatial pooler to temporal memory: active columns.
    pub active_columns: Vec<u16>,
    /// Cells active in inference after the step; one word of cells a column.
    pub infer_active: Vec<u32>,
    /// The value.
    pub value: f64,
    /// Its raw anomaly score.
    pub raw_score: f32,
}

impl Trained {
    /// Steps a new model through `series`.
    ///
    /// # Panics
    /// If the series has a row that a model refuses.
    pub fn on(series: &Series) -> Self {
        let templates = Templates::new();
        let mut model = Model::new(series.params.clone(), &templates);
        let mut workspace = Workspace::new();
        let first_kept = series.records.len().saturating_sub(KEPT_ROWS);
        let mut rows = Vec::with_capacity(KEPT_ROWS);
        for (index, (row_id, record)) in (1..).map(RowId).zip(&series.records).enumerate() {
            let scores = model.step(&mut workspace, row_id, *record).expect("bundled rows are valid");
            if index >= first_kept {
                rows.push(KeptRow {
                    active_inputs: workspace.active_inputs().to_vec(),
                    active_columns: workspace.active_columns().to_vec(),
                    infer_active: model
                        .memory()
                        .backtracking()
                        .expect("the standard memory")
                        .infer_active()
                        .to_vec(),
                    value: record.value,
                    raw_score: scores.raw_anomaly_score,
                });
            }
        }
        Self { model, templates, rows }
    }
}
