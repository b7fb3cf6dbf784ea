//! Repeating a call to the database while it fails for a moment; every backend does it by the same rule.
//!
//! Source: htmengine's retry of transient MySQL errors: 10 s in all, first after 0.1 s, doubling.

use std::time::Duration;

use super::RepositoryError;
use crate::self_metrics;

/// Pause before the first repetition; doubles each time.
pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Longest time spent on repetitions of one call, the database's own waiting for locks included.
pub const RETRY_BUDGET: Duration = Duration::from_secs(10);

/// Repeats `attempt` while it fails transiently and `budget` lasts. A failure also says how much time was lost in it.
///
/// # Errors
/// That of the last attempt.
pub(super) fn repeated<T>(
    budget: Duration,
    mut attempt: impl FnMut() -> Result<T, (RepositoryError, Duration)>,
) -> Result<T, RepositoryError> {
    let mut left = budget;
    let mut delay = FIRST_RETRY_DELAY;
    loop {
        let (error, waited) = match attempt() {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        left = left.saturating_sub(waited);
        if !matches!(error, RepositoryError::Transient { .. }) || left.is_zero() {
            return Err(error);
        }
        self_metrics::count_database_retry();
        let pause = delay.min(left);
        std::thread::sleep(pause);
        left -= pause;
        delay *= 2;
    }
}
