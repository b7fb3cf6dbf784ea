//! A clock that stands still until the test moves it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use htmengine::clock::Clock;

/// Unix seconds at which it begins.
const EPOCH_S: i64 = 1_600_000_000;

/// The clock.
#[derive(Debug, Default)]
pub struct HandClock {
    now: Mutex<Duration>,
}

impl HandClock {
    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl Clock for HandClock {
    fn unix_seconds(&self) -> i64 {
        EPOCH_S + i64::try_from(self.monotonic().as_secs()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
