//! Waiting for something to become true, with a bound instead of a guess.

use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything. Far above what a loaded machine needs, so that only a defect reaches it.
pub const MAX_WAIT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Asks `attempt` again and again until it has an answer.
///
/// # Panics
/// After [`MAX_WAIT`], naming `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(started.elapsed() < MAX_WAIT, "waited {} s for {what}", MAX_WAIT.as_secs());
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// As [`wait_for`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
