//! What a scheduler has done and holds, in numbers.

use serde::{Deserialize, Serialize};

/// Figures since the start, and of this moment. Rows and models are counted one by one, memory in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SchedulerFigures {
    /// Models in memory.
    pub resident_models: usize,
    /// Their memory.
    pub resident_bytes: usize,
    /// The most that models were ever granted, room to grow during a share included.
    pub peak_reserved_bytes: usize,
    /// What they may take.
    pub memory_budget_bytes: usize,
    /// How many may be in memory.
    pub max_resident_models: usize,
    /// Models stepped since the start and not given up.
    pub known_models: usize,
    /// All their files together, roughly, in bytes.
    pub model_file_bytes: u64,
    /// Whether these are so many that they go past the page cache.
    pub is_direct: bool,
    /// Stepped rows kept in memory for the next swap-in.
    pub remembered_rows: usize,
    /// Models opened.
    pub swaps_in: u64,
    /// Models that left memory.
    pub swaps_out: u64,
    /// Rows stepped for the first time.
    pub stepped_rows: u64,
    /// Rows stepped again after a swap-in.
    pub replayed_rows: u64,
    /// Model files written.
    pub checkpoints: u64,
    /// Model files that could not be written.
    pub failed_checkpoints: u64,
    /// Models that left memory without being saved, to be stepped again from their file.
    pub dropped: u64,
    /// Model files put aside because they could not be used.
    pub quarantined: u64,
    /// Models with a fresh hint.
    pub fresh_models: usize,
    /// Models with a backlog.
    pub backlog_models: usize,
    /// Models that wait to be saved.
    pub settling_models: usize,
    /// Why a model in memory could not be saved, the latest first, until all of them are saved or have left.
    pub checkpoint_trouble: Option<String>,
}
