//! Repeating a call to the database while it fails for a moment; every backend does it by the same rule.
//!
//! Source: htmengine's retry of transient MySQL errors: 10 s in all, first after 0.1 s, doubling.

use std::time::Duration;

use super::RepositoryError;
use crate::clock::{Clock, SystemClock};
use crate::self_metrics;

/// Pause before the first repetition; doubles each time.
pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
/// After so long a call that failed is not repeated any more, attempts and the database's own waiting included.
pub const RETRY_BUDGET: Duration = Duration::from_secs(10);

/// Repeats `attempt` while it fails transiently and `budget` lasts, of which attempts and pauses take what they took. A
/// failure also says how long the database said that it waited; that counts where it is more.
///
/// # Errors
/// That of the last attempt.
pub(super) fn repeated<T>(
    budget: Duration,
    mut attempt: impl FnMut() -> Result<T, (RepositoryError, Duration)>,
) -> Result<T, RepositoryError> {
    let clock = SystemClock::new();
    let mut left = budget;
    let mut delay = FIRST_RETRY_DELAY;
    loop {
        let began = clock.monotonic();
        let (error, waited) = match attempt() {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        left = left.saturating_sub(clock.monotonic().saturating_sub(began).max(waited));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_an_attempt_takes_is_taken_from_the_budget() {
        let budget = Duration::from_millis(20);
        let mut attempts = 0;
        let answer = repeated(budget, || {
            attempts += 1;
            // As a server does that neither answers nor fails.
            std::thread::sleep(budget);
            Err::<(), _>((RepositoryError::Transient { reason: "made up".to_owned() }, Duration::ZERO))
        });
        assert!(matches!(answer, Err(RepositoryError::Transient { .. })), "{answer:?}");
        assert_eq!(attempts, 1);
    }
}
