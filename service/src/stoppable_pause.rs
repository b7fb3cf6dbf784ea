//! A pause before something is tried again, which a stop cuts short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The stop signal is looked at this often.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Sleeps for `delay`, or until `stop` is raised; tells whether it was.
pub fn pause(delay: Duration, stop: &AtomicBool) -> bool {
    let mut left = delay;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let nap = left.min(STOP_CHECK_INTERVAL);
        thread::sleep(nap);
        left -= nap;
    }
    stop.load(Ordering::Relaxed)
}
