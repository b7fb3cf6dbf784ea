//! Messages of one process on their way to the broker: sent in order, kept until they are known to be there.

use std::collections::VecDeque;

use super::fault::Fault;
use super::stage::Stage;

/// What a process has published and the broker has not confirmed.
#[derive(Debug)]
pub(super) struct Window<T> {
    messages: VecDeque<T>,
    /// So many of them have arrived, without being confirmed.
    arrived: usize,
}

/// What comes out of a window.
pub(super) struct Sent<T> {
    pub(super) messages: Vec<T>,
    /// So many of them have come before.
    pub(super) repeated: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), arrived: 0 }
    }
}

impl<T: Clone> Window<T> {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn push(&mut self, message: T) {
        self.messages.push_back(message);
    }

    /// Sends up to `count` messages. If their confirmation is lost, they are sent once more with those that follow.
    pub(super) fn send(&mut self, stage: &Stage, count: usize) -> Sent<T> {
        let count = count.min(self.messages.len());
        let repeated = self.arrived.min(count);
        if count > 0 && stage.strikes(Fault::ConfirmationLost) {
            self.arrived = self.arrived.max(count);
            return Sent { messages: self.messages.iter().take(count).cloned().collect(), repeated };
        }
        self.arrived -= repeated;
        Sent { messages: self.messages.drain(..count).collect(), repeated }
    }

    /// The process is gone; what was on the wire may have arrived.
    pub(super) fn end(&mut self, stage: &Stage) -> Sent<T> {
        let count = stage.below(self.messages.len() + 1);
        let repeated = std::mem::take(&mut self.arrived).min(count);
        Sent { messages: self.messages.drain(..).take(count).collect(), repeated }
    }
}
