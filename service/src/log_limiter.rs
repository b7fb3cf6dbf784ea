//! Repeated log lines of one kind: one passes now and then, with how many were held back.

use std::fmt;
use std::time::Duration;

/// Least time between two lines about a failure that lasts.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Lets a line through, and then none for a while. Times are monotonic.
#[derive(Debug)]
pub struct LogLimiter {
    interval: Duration,
    next_at: Duration,
    held_back: u64,
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::every(LOG_INTERVAL)
    }
}

impl LogLimiter {
    /// One line in `interval`.
    pub fn every(interval: Duration) -> Self {
        Self { interval, next_at: Duration::ZERO, held_back: 0 }
    }

    /// Whether a line may be logged now: then what to end it with.
    pub fn pass(&mut self, now: Duration) -> Option<Repeats> {
        if now < self.next_at {
            self.held_back += 1;
            return None;
        }
        self.next_at = now + self.interval;
        Some(Repeats(std::mem::take(&mut self.held_back)))
    }
}

/// How many lines were held back; shown as the end of the next one, and as nothing if there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats(u64);

impl fmt::Display for Repeats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(formatter, " ({count} more like this since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_on_the_next_line() {
        let mut limiter = LogLimiter::every(Duration::from_secs(10));
        let mut said = |seconds| limiter.pass(Duration::from_secs(seconds)).map(|it| it.to_string());
        assert_eq!(said(0), Some(String::new()), "the first is told at once");
        assert_eq!((said(1), said(9)), (None, None));
        assert_eq!(said(10), Some(" (2 more like this since the last such line)".to_owned()));
        assert_eq!(said(19), None);
        assert_eq!(said(40), Some(" (1 more like this since the last such line)".to_owned()));
        assert_eq!(said(50), Some(String::new()));
    }

    #[test]
    fn one_log_line_passes_per_minute() {
        let mut limiter = LogLimiter::every(Duration::from_secs(60));
        let seconds = [0, 1, 59, 60, 61, 120];
        assert_eq!(
            seconds.map(|s| limiter.pass(Duration::from_secs(s)).is_some()),
            [true, false, false, true, false, true]
        );
    }
}
