//! How many datagrams the kernel has dropped because nobody read them in time: shed load is counted too.

use std::time::Duration;

use mio::net::UdpSocket;

use crate::machine;

/// The kernel is asked at most this often; its table lists every UDP socket of the machine.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Watches one socket. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct DropWatch {
    next_at: Duration,
    seen: u64,
}

impl DropWatch {
    /// Whether it is time for a look.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.next_at
    }

    /// Drops since the last look.
    pub(super) fn look(&mut self, socket: &UdpSocket, now: Duration) -> u64 {
        self.next_at = now + LOOK_INTERVAL;
        let dropped = machine::dropped_datagrams(socket).unwrap_or(self.seen);
        let new = dropped.saturating_sub(self.seen);
        self.seen = dropped;
        new
    }
}
