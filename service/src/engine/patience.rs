//! Waiting at the start for a database or a broker that is not there yet, so that processes may start in any order.
//!
//! What only a person can mend (a wrong password, a missing schema) is not waited for: the process ends and says so, and
//! whoever supervises it starts it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::EngineError;
use crate::bus::BusError;
use crate::clock::Clock;
use crate::log_limiter::LogLimiter;
use crate::repository::RepositoryError;
use crate::stoppable_pause::pause;

/// Pause after the first attempt; doubles up to [`LAST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
pub const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How an attempt failed.
pub(super) enum Trouble {
    /// Try again.
    Away(String),
    /// Waiting helps nothing.
    Refused(EngineError),
}

impl From<RepositoryError> for Trouble {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Transient { reason } => Self::Away(reason),
            RepositoryError::Rejected { .. } | RepositoryError::Fatal { .. } => Self::Refused(error.into()),
        }
    }
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Transient { reason } => Self::Away(reason),
            BusError::Refused { .. } | BusError::Closed | BusError::Lagged { .. } => {
                Self::Refused(EngineError { reason: error.to_string() })
            }
        }
    }
}

/// Attempts until one succeeds; `None` once `stop` is raised. Says of `what` that it is waited for.
///
/// # Errors
/// What waiting does not help against.
pub(super) fn wait_for<T>(
    what: &str,
    clock: &dyn Clock,
    stop: &AtomicBool,
    mut attempt: impl FnMut() -> Result<T, Trouble>,
) -> Result<Option<T>, EngineError> {
    let started = clock.monotonic();
    let mut delay = FIRST_PAUSE;
    let (mut warnings, mut has_waited) = (LogLimiter::default(), false);
    while !stop.load(Ordering::Relaxed) {
        match attempt() {
            Ok(value) => {
                if has_waited {
                    let seconds = clock.monotonic().saturating_sub(started).as_secs();
                    tracing::info!("the {what} is there after {seconds} s");
                }
                return Ok(Some(value));
            }
            Err(Trouble::Refused(error)) => return Err(error),
            Err(Trouble::Away(reason)) => {
                has_waited = true;
                if let Some(repeats) = warnings.pass(clock.monotonic()) {
                    tracing::warn!("waiting for the {what}: {reason}{repeats}");
                }
            }
        }
        pause(delay, stop);
        delay = (delay * 2).min(LAST_PAUSE);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn away<T>() -> Result<T, Trouble> {
        Err(Trouble::Away("not yet".to_owned()))
    }

    #[test]
    fn what_comes_later_is_waited_for() {
        let (clock, stop) = (SystemClock::new(), AtomicBool::new(false));
        let mut attempts = 0;
        let found = wait_for("thing", &clock, &stop, || {
            attempts += 1;
            if attempts < 2 { away() } else { Ok(attempts) }
        });
        assert_eq!(found, Ok(Some(2)));
    }

    #[test]
    fn a_stop_ends_the_waiting_and_a_refusal_at_once() {
        let (clock, stop) = (SystemClock::new(), AtomicBool::new(false));
        let found = wait_for::<()>("thing", &clock, &stop, || {
            stop.store(true, Ordering::Relaxed);
            away()
        });
        assert_eq!(found, Ok(None));
        let stop = AtomicBool::new(false);
        let refused = wait_for::<()>("thing", &clock, &stop, || {
            Err(RepositoryError::Fatal { reason: "wrong password".to_owned() }.into())
        });
        assert_eq!(refused.expect_err("refused").reason, "wrong password");
    }
}
