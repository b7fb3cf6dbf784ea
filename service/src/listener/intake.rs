//! From bytes read to messages on the bus: the half of the listener that knows nothing of sockets.
//!
//! The poll loop passes every chunk it reads through [`Intake::take`], and asks [`Intake::has_room`] before it reads
//! the next: that question is the whole of back-pressure. What one chunk holds is the most that ever waits here.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batcher, Publishing};
use super::connection::{Framed, LineFramer};
use super::counters::ListenerCounters;
use super::gate::LogPacer;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::reject::{RejectLedger, RejectReason};
use crate::{profiling, self_metrics};

pub(super) struct Intake {
    bus: Arc<dyn Bus>,
    ledger: Arc<RejectLedger>,
    clock: Arc<dyn Clock>,
    pub(super) counters: Arc<ListenerCounters>,
    batcher: Batcher,
    /// Outcome of the latest attempt to publish.
    publishing: Publishing,
    pause_log: LogPacer,
}

impl Intake {
    pub(super) fn new(
        bus: Arc<dyn Bus>,
        ledger: Arc<RejectLedger>,
        clock: Arc<dyn Clock>,
        counters: Arc<ListenerCounters>,
    ) -> Self {
        Self {
            bus,
            ledger,
            clock,
            counters,
            batcher: Batcher::new(),
            publishing: Publishing::Done,
            pause_log: LogPacer::default(),
        }
    }

    /// Monotonic time, for time limits.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Frames the next bytes of a connection and publishes the batches they fill.
    pub(super) fn take(&mut self, framer: &mut LineFramer, bytes: &[u8]) {
        ListenerCounters::add(&self.counters.bytes, bytes.len().try_into().unwrap_or(u64::MAX));
        self.gather(|hand_on| framer.push(bytes, hand_on));
    }

    /// The stream of this framer has ended: its last line needs no line end.
    pub(super) fn take_end(&mut self, framer: &mut LineFramer) {
        self.gather(|hand_on| framer.finish(hand_on));
    }

    /// Frames one datagram: whole lines, of which the last needs no line end.
    pub(super) fn take_datagram(&mut self, bytes: &[u8]) {
        ListenerCounters::add(&self.counters.datagrams, 1);
        let mut framer = LineFramer::new();
        self.take(&mut framer, bytes);
        self.take_end(&mut framer);
    }

    /// Closes the open batch as well, so that a lone line does not wait for company.
    pub(super) fn publish_all(&mut self) {
        self.batcher.close_open();
        self.publish();
    }

    /// Tries again what the bus had no room for.
    pub(super) fn publish(&mut self) {
        let (taken_count, publishing) = self.batcher.publish(self.bus.data());
        ListenerCounters::add(&self.counters.batches, taken_count);
        if taken_count > 0 {
            self_metrics::count_batches(taken_count);
            tracing::debug!(target: profiling::TARGET, tag = profiling::LISTENER_FORWARDED, batches = taken_count);
        }
        if publishing == Publishing::Blocked && self.publishing == Publishing::Done {
            ListenerCounters::add(&self.counters.back_pressure_pauses, 1);
            self_metrics::count_pause();
            if self.pause_log.is_due(self.clock.monotonic()) {
                tracing::warn!(
                    waiting_messages = self.bus.data().depth(),
                    "the data queue is full, so reading is paused until the storer catches up"
                );
            }
        }
        self.publishing = publishing;
    }

    /// Whether more may be read: the bus has taken every full batch.
    pub(super) fn has_room(&self) -> bool {
        self.publishing == Publishing::Done
    }

    /// Whether the bus was closed: nothing will ever be taken again.
    pub(super) fn is_closed(&self) -> bool {
        self.publishing == Publishing::Closed
    }

    /// Whether the bus has taken everything that was ever read.
    pub(super) fn is_empty(&self) -> bool {
        self.batcher.is_empty()
    }

    /// Lines read and not taken by the bus.
    pub(super) fn waiting_line_count(&self) -> usize {
        self.batcher.line_count()
    }

    /// Counts a sender who was refused.
    pub(super) fn reject_peer(&self, reason: RejectReason, peer: &str) {
        self.ledger.record(reason, peer.as_bytes(), self.clock.unix_seconds());
    }

    fn gather(&mut self, frame: impl FnOnce(&mut dyn FnMut(Framed<'_>))) {
        let mut line_count = 0;
        frame(&mut |framed| match framed {
            Framed::Line(line) => {
                line_count += 1;
                self.batcher.add(line);
            }
            Framed::TooLong(head) => {
                self.ledger.record(RejectReason::LineTooLong, head, self.clock.unix_seconds());
            }
        });
        ListenerCounters::add(&self.counters.lines, line_count);
        self_metrics::count_lines(line_count);
        self.publish();
    }
}
