//! Whether a socket is worth asking.
//!
//! Polling is edge-triggered: readiness is reported once and must be remembered until the socket says that it has
//! no more. A socket that fails is left alone for a while, so that a lasting error (no free file descriptors, say)
//! costs a few system calls a second and not a whole core.

use std::time::Duration;

/// How long a failing socket is left alone.
pub(super) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Remembers the readiness of the accepting or the UDP socket. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_ready: bool,
    paused_until: Option<Duration>,
}

impl Gate {
    /// The poll facility reported the socket.
    pub(super) fn mark_ready(&mut self) {
        self.is_ready = true;
    }

    /// The socket had no more.
    pub(super) fn mark_drained(&mut self) {
        self.is_ready = false;
    }

    /// The socket failed; it stays ready, because no new edge may come.
    pub(super) fn pause(&mut self, now: Duration) {
        self.paused_until = Some(now + PAUSE_AFTER_ERROR);
    }

    /// Whether the socket should be asked now.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.is_ready && self.paused_until.is_none_or(|until| until <= now)
    }

    /// When the socket should next be asked; `None` while it is not ready.
    pub(super) fn opens_at(&self) -> Option<Duration> {
        self.is_ready.then(|| self.paused_until.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_when_ready_and_stays_shut_after_an_error() {
        let now = Duration::from_secs(5);
        let mut gate = Gate::default();
        assert_eq!((gate.is_open(now), gate.opens_at()), (false, None));
        gate.mark_ready();
        assert_eq!((gate.is_open(now), gate.opens_at()), (true, Some(Duration::ZERO)));
        gate.pause(now);
        assert_eq!((gate.is_open(now), gate.opens_at()), (false, Some(now + PAUSE_AFTER_ERROR)));
        assert!(gate.is_open(now + PAUSE_AFTER_ERROR));
        gate.mark_drained();
        assert_eq!((gate.is_open(now + PAUSE_AFTER_ERROR), gate.opens_at()), (false, None));
    }
}
