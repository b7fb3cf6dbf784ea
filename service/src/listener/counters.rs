//! What a listener has received, for status pages and the log.
//!
//! Written by the poll loop alone and read by anyone, so every counter is relaxed: each is right by itself, and two
//! of them may be a moment apart. What is refused or lost is in the reject ledger too, with its reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the listener was started; only `connections_open` goes down.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// TCP connections open now, including those whose last lines still wait for room on the bus.
    pub connections_open: AtomicU64,
    /// TCP connections taken in, without those refused by the connection limit.
    pub connections_accepted: AtomicU64,
    /// TCP connections closed because they were silent too long.
    pub connections_idled_out: AtomicU64,
    /// Lines framed (not blank, not over-long); not all of them are on the bus yet.
    pub lines: AtomicU64,
    /// Bytes read from all sockets.
    pub bytes: AtomicU64,
    /// UDP datagrams read.
    pub datagrams: AtomicU64,
    /// UDP datagrams that the kernel dropped because nobody read them in time.
    pub datagrams_dropped: AtomicU64,
    /// Messages the bus has taken.
    pub batches: AtomicU64,
    /// How often reading was paused because the bus was full.
    pub back_pressure_pauses: AtomicU64,
    /// Lines without a line end that were dropped because their connection broke, fell silent or was still open
    /// at the stop: nobody knows whether they were complete.
    pub unfinished_lines: AtomicU64,
    /// Lines read but never taken by the bus, because it stayed full or was closed at the stop.
    pub lines_lost: AtomicU64,
}

impl ListenerCounters {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
