//! The temporal memory of a model: one of those that the parameters can name.
//!
//! Both step over the same active columns and say which columns they expect next; all else is their own.

use std::sync::Arc;

use super::plain_memory::PlainMemory;
use super::temporal_memory::TemporalMemory;
use super::workspace::Workspace;
use crate::params::{MemoryParams, ModelParams};

/// A temporal memory and what it has learned.
#[derive(Debug, Clone)]
pub enum Memory {
    /// `cpp` in the reference.
    Backtracking(Box<TemporalMemory>),
    /// `tm_cpp` in the reference.
    Plain(Box<PlainMemory>),
}

impl Memory {
    /// A memory that has seen nothing.
    pub fn new(params: &ModelParams) -> Self {
        match params.memory() {
            MemoryParams::Backtracking(memory) => Self::Backtracking(Box::new(TemporalMemory::with_codes(
                *memory,
                params.permanence_codes().map(Arc::clone),
            ))),
            MemoryParams::Plain(memory) => Self::Plain(Box::new(PlainMemory::new(*memory))),
        }
    }

    /// The backtracking memory, if it is one.
    pub fn backtracking(&self) -> Option<&TemporalMemory> {
        match self {
            Self::Backtracking(memory) => Some(memory),
            Self::Plain(_) => None,
        }
    }

    /// The plain memory, if it is one.
    pub fn plain(&self) -> Option<&PlainMemory> {
        match self {
            Self::Backtracking(_) => None,
            Self::Plain(memory) => Some(memory),
        }
    }

    /// Bit set of the columns that the next step is expected to activate.
    pub fn predicted_columns(&self) -> &[u64] {
        match self {
            Self::Backtracking(memory) => memory.predicted_columns(),
            Self::Plain(memory) => memory.predicted_columns(),
        }
    }

    /// Bytes of memory that are no section of a file.
    pub fn own_bytes(&self) -> usize {
        match self {
            Self::Backtracking(memory) => memory.own_bytes(),
            Self::Plain(memory) => memory.own_bytes(),
        }
    }

    /// Steps over the workspace's active columns, learning.
    pub(super) fn step(&mut self, workspace: &mut Workspace) {
        match self {
            Self::Backtracking(memory) => memory.step(workspace),
            Self::Plain(memory) => memory.step(workspace),
        }
    }

    /// The active cells of each of `columns`, which are all that have some: one bit a cell.
    pub(super) fn list_active_cells(&self, columns: &[u16], cells: &mut Vec<u32>) {
        let active = match self {
            Self::Backtracking(memory) => memory.infer_active(),
            Self::Plain(memory) => memory.active_cells(),
        };
        cells.clear();
        cells.extend(columns.iter().map(|&column| active[usize::from(column)]));
    }
}
