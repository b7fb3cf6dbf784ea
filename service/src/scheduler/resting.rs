//! Models that wait for something of their own, such as a file that cannot be read: they rest and are tried again ever more
//! rarely, while all others go on.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use htm_core::ids::ModelId;

use super::Scheduler;
use super::hungry::Lane;
use super::outcome::Wait;
use super::pause::Pause;

/// The models.
#[derive(Debug, Default)]
pub(super) struct RestingModels {
    /// The last pause of each, also when it is over: the next one is longer.
    pauses: HashMap<ModelId, Pause>,
    due: BTreeSet<(Duration, ModelId)>,
}

impl RestingModels {
    /// Lets a model rest, longer than the last time.
    pub(super) fn rest(&mut self, id: &ModelId, now: Duration) {
        let pause = Pause::after(self.pauses.get(id).copied(), now);
        self.forget(id);
        self.pauses.insert(id.clone(), pause);
        self.due.insert((pause.until(), id.clone()));
    }

    /// Those that have rested long enough, each once.
    pub(super) fn wake(&mut self, now: Duration) -> Vec<ModelId> {
        let mut awake = Vec::new();
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            awake.extend(self.due.pop_first().map(|(_, id)| id));
        }
        awake
    }

    /// The model has what it waited for, or nothing is known of it any more.
    pub(super) fn forget(&mut self, id: &ModelId) {
        if let Some(pause) = self.pauses.remove(id) {
            self.due.remove(&(pause.until(), id.clone()));
        }
    }
}

impl Scheduler {
    /// Tries a model again: with all others if something is away, else when it has rested. Nobody waits for its checkpoint.
    pub(super) fn postpone(&mut self, id: ModelId, wait: &Wait) {
        if let Some(round) = &mut self.round {
            round.note_failed(&id, &wait.reason);
        }
        if wait.is_away {
            self.warn(&wait.reason);
            self.hungry.push(id, Lane::Backlog);
            return;
        }
        let now = self.parts.clock.monotonic();
        if let Some(repeats) = self.rest_warnings.pass(now) {
            tracing::warn!(model = %id, "the model waits: {}{repeats}", wait.reason);
        }
        self.resting.rest(&id, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_tried_again_ever_more_rarely_until_it_is_forgotten() {
        let id = ModelId::new("m").expect("a plain id");
        let mut resting = RestingModels::default();
        let mut now = Duration::ZERO;
        for pause in [500, 1000, 2000].map(Duration::from_millis) {
            resting.rest(&id, now);
            assert!(resting.wake(now + pause * 9 / 10).is_empty(), "{pause:?}");
            now += pause;
            assert_eq!(resting.wake(now), std::slice::from_ref(&id), "{pause:?}");
            assert!(resting.wake(now).is_empty(), "once");
        }
        resting.rest(&id, now);
        resting.forget(&id);
        assert!(resting.wake(Duration::MAX).is_empty());
    }
}
