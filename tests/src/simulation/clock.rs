//! The stage's time, as a process reads it.

use std::time::Duration;

use htmengine::clock::Clock;

use super::stage::Caller;

/// A clock that moves when something happens.
pub(super) struct SimulatedClock {
    caller: Caller,
}

impl SimulatedClock {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller }
    }
}

impl Clock for SimulatedClock {
    fn unix_seconds(&self) -> i64 {
        self.caller.check();
        self.caller.stage().unix_seconds()
    }

    fn monotonic(&self) -> Duration {
        self.caller.check();
        // So that a share of many rows runs out of time now and then.
        self.caller.stage().pass(Duration::from_micros(500));
        self.caller.stage().now()
    }
}
