//! Time as a parameter.
//!
//! Every role takes a [`Clock`] instead of asking the operating system, so that the whole shell can run
//! under a simulator with a clock of its own. This is the only file that reads the system clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a role gets the time from.
pub trait Clock: Send + Sync {
    /// Whole seconds since 1970-01-01 00:00:00 UTC.
    fn unix_seconds(&self) -> i64;

    /// Time since an arbitrary fixed point; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl SystemClock {
    /// Whole milliseconds since 1970-01-01 00:00:00 UTC, for the log.
    #[expect(clippy::disallowed_methods, reason = "this file reads the system clock")]
    pub fn unix_milliseconds(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn unix_seconds(&self) -> i64 {
        // A clock before 1970 reads as 0: every sample is then "in the future" and rejected by name.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}
