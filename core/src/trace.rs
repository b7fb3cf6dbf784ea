//! Every stage of one record as short hashes, so that two implementations can find the first stage in which
//! they differ.
//!
//! A hash is FNV-1a of 64 bits over the little-endian bytes of a sequence of `u32`, printed as 16 hexadecimal
//! digits; floating-point numbers enter as their bits.
//!
//! Source: the layout of our golden recordings of NuPIC 1.0.5.

use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE};
use htm_kernels::word::{self, Ones};

use crate::anomaly::likelihood::log_likelihood;
use crate::float_text::repr;
use crate::model::memory::Memory;
use crate::model::plain_memory::PlainMemory;
use crate::model::temporal_memory::TemporalMemory;
use crate::model::workspace::Workspace;
use crate::model::{Model, Scores};

/// A running hash.
#[derive(Debug, Clone, Copy)]
pub struct Fnv(u64);

impl Fnv {
    /// The hash of nothing.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in one number.
    pub fn push(&mut self, value: u32) {
        for byte in value.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The hash of a sequence.
    pub fn of(values: impl IntoIterator<Item = u32>) -> Self {
        let mut hash = Self::new();
        values.into_iter().for_each(|value| hash.push(value));
        hash
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for Fnv {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// The cells of a set, ascending, numbered `column * cells_per_column + cell` as the reference does.
pub fn cells<'a>(params: &BacktrackingTmParams, words: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    cells_of(params.cells_per_column, words)
}

fn cells_of(cells_per_column: usize, words: &[u32]) -> impl Iterator<Item = u32> {
    let cells_per_column = u32::try_from(cells_per_column).expect("at most 32");
    words.iter().zip((0..).step_by(cells_per_column as usize)).flat_map(|(&word, first)| {
        Ones(u64::from(word)).map(move |cell| first + u32::try_from(cell).expect("below 32"))
    })
}

/// `(column, bits of its confidence)` for every column with one.
pub fn confidences(confidence: &[f32]) -> impl Iterator<Item = u32> + '_ {
    let columns = (0u32..).zip(confidence).filter(|(_, confidence)| **confidence > 0.0);
    columns.flat_map(|(column, confidence)| [column, confidence.to_bits()])
}

/// The stages of the record stepped last.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// Active bits of the encoded record.
    pub encoded: Fnv,
    /// Active columns.
    pub active_columns: Fnv,
    /// Cells active in inference.
    pub active_cells: Fnv,
    /// Cells predicted in inference.
    pub predicted_cells: Fnv,
    /// Columns the next raw anomaly score is compared with.
    pub predicted_columns: Fnv,
    /// Learning cells.
    pub learn_cells: Fnv,
    /// Predicted learning cells.
    pub learn_predicted_cells: Fnv,
    /// Column confidences; the workspace must have been asked for them.
    pub confidence: Fnv,
}

impl Stages {
    /// Looks at `model` and `workspace` right after a step.
    pub fn of(model: &Model, workspace: &Workspace) -> Self {
        match model.memory() {
            Memory::Backtracking(memory) => Self::of_backtracking(memory, workspace),
            Memory::Plain(memory) => Self::of_plain(memory, workspace),
        }
    }

    fn of_backtracking(memory: &TemporalMemory, workspace: &Workspace) -> Self {
        let params = memory.params();
        let as_u32 = |index: &u16| u32::from(*index);
        let predicted = word::ones(memory.predicted_columns());
        Self {
            encoded: Fnv::of(workspace.active_inputs().iter().map(as_u32)),
            active_columns: Fnv::of(workspace.active_columns().iter().map(as_u32)),
            active_cells: Fnv::of(cells(params, memory.infer_active())),
            predicted_cells: Fnv::of(cells(params, memory.infer_predicted())),
            predicted_columns: Fnv::of(predicted.map(|column| u32::try_from(column).expect("below 2048"))),
            learn_cells: Fnv::of(cells(params, memory.learn_active())),
            learn_predicted_cells: Fnv::of(cells(params, memory.learn_predicted())),
            confidence: Fnv::of(confidences(workspace.confidence())),
        }
    }
}

impl Stages {
    /// The recordings of the plain memory have winner cells in the place of learning cells, and hash the numbers of
    /// active and of matching segments in that of predicted learning cells. There is no confidence.
    fn of_plain(memory: &PlainMemory, workspace: &Workspace) -> Self {
        let cells_per_column = memory.params().cells_per_column;
        let as_u32 = |index: &u16| u32::from(*index);
        let stride = u16::try_from(CELL_STRIDE).expect("32");
        let cells_in_column = u32::try_from(cells_per_column).expect("at most 32");
        let outside = |cell: u16| u32::from(cell / stride) * cells_in_column + u32::from(cell % stride);
        let predicted = word::ones(memory.predicted_columns());
        let matches = memory.matches().iter();
        let active: u32 = matches.clone().map(|segment| u32::from(segment.is_active)).sum();
        let matching: u32 = matches.map(|segment| u32::from(segment.is_matching)).sum();
        Self {
            encoded: Fnv::of(workspace.active_inputs().iter().map(as_u32)),
            active_columns: Fnv::of(workspace.active_columns().iter().map(as_u32)),
            active_cells: Fnv::of(cells_of(cells_per_column, memory.active_cells())),
            predicted_cells: Fnv::of(memory.predictive_cells().map(outside)),
            predicted_columns: Fnv::of(predicted.map(|column| u32::try_from(column).expect("below 2048"))),
            learn_cells: Fnv::of(cells_of(cells_per_column, memory.winner_cells())),
            learn_predicted_cells: Fnv::of([active, matching]),
            confidence: Fnv::new(),
        }
    }
}

/// Heading of the rows that [`stage_row`] prints.
pub const STAGE_HEADING: &str =
    "i,timestamp,value,bucket,enc,sp,active,pred,predcols,learn,lpred,colconf,anomaly,likelihood,log";

/// Everything about record `index` in one row, as our recordings have it. `timestamp` is printed as it is.
pub fn stage_row(
    index: usize,
    timestamp: &str,
    value: f64,
    scores: &Scores,
    likelihood: f64,
    stages: &Stages,
) -> String {
    let Stages { encoded, active_columns, active_cells, predicted_cells, .. } = stages;
    let Stages { predicted_columns, learn_cells, learn_predicted_cells, confidence, .. } = stages;
    let (value, bucket) = (repr(value), scores.bucket);
    let anomaly = repr(f64::from(scores.raw_anomaly_score));
    let (log, likelihood) = (repr(log_likelihood(likelihood)), repr(likelihood));
    format!(
        "{index},{timestamp},{value},{bucket},{encoded},{active_columns},{active_cells},{predicted_cells},\
         {predicted_columns},{learn_cells},{learn_predicted_cells},{confidence},{anomaly},{likelihood},{log}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_the_recordings() {
        assert_eq!(Fnv::new().to_string(), "cbf29ce484222325");
        // FNV-1a of the bytes 01 00 00 00.
        assert_eq!(Fnv::of([1]).to_string(), "ad2aca7747985764");
    }
}
