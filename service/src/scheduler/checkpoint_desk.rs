//! Where somebody asks a running scheduler to save every model now, and waits for the answer.
//!
//! The asking side is any thread of this process; for other processes `service/src/control.rs` asks in their name.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckpointAnswer {
    /// Models whose file now holds all rows they had stepped when asked.
    pub saved: usize,
    /// Models that could not be saved.
    pub failed: usize,
    /// Why the last of them could not.
    pub reason: Option<String>,
}

/// The desk.
#[derive(Debug, Default)]
pub struct CheckpointDesk {
    state: Mutex<DeskState>,
}

#[derive(Debug, Default)]
struct DeskState {
    last_ticket: u64,
    asked: Vec<u64>,
    answers: BTreeMap<u64, CheckpointAnswer>,
}

/// Answers kept for askers that never came back.
const MAX_ANSWERS: usize = 1024;

impl CheckpointDesk {
    /// Asks; the ticket gets the answer.
    pub fn ask(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        state.asked.push(ticket);
        ticket
    }

    /// The answer, once, if it is there.
    pub fn take_answer(&self, ticket: u64) -> Option<CheckpointAnswer> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answers.remove(&ticket)
    }

    /// The scheduler's side: all tickets that wait.
    pub(super) fn take_requests(&self) -> Vec<u64> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).asked)
    }

    /// The scheduler's side: answers tickets.
    pub(super) fn give_answer(&self, tickets: &[u64], answer: &CheckpointAnswer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for ticket in tickets {
            state.answers.insert(*ticket, answer.clone());
        }
        while state.answers.len() > MAX_ANSWERS {
            state.answers.pop_first();
        }
    }
}
