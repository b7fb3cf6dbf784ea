//! From bytes read to messages on the bus: the half of the listener that knows nothing of sockets.
//!
//! The poll loop passes every chunk it reads through [`Intake::take`], and asks [`Intake::has_room`] before it reads
//! the next: that question is the whole of back-pressure. What one chunk holds is the most that ever waits here. A line
//! that says "now" gets the time at which it ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::LOG_INTERVAL;
use super::batch::{Batcher, Publishing};
use super::connection::{Framed, LineFramer};
use super::counters::ListenerCounters;
use super::framer::Framer;
use super::pickle::{self, PickleError, Pickled};
use super::pickle_framer::{BadLength, PickleFramer};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::log_limiter::LogLimiter;
use crate::reject::{RejectLedger, RejectReason};
use crate::sample::dated;
use crate::{profiling, self_metrics};

/// A stream that cannot be read on: its connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

pub(super) struct Intake {
    bus: Arc<dyn Bus>,
    ledger: Arc<RejectLedger>,
    clock: Arc<dyn Clock>,
    pub(super) counters: Arc<ListenerCounters>,
    batcher: Batcher,
    /// Outcome of the latest attempt to publish.
    publishing: Publishing,
    pause_log: LogLimiter,
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
            pause_log: LogLimiter::every(LOG_INTERVAL),
        }
    }

    /// Monotonic time, for time limits.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Frames the next bytes of a connection and publishes the batches they fill. Returns whether something ended in them.
    pub(super) fn take(&mut self, framer: &mut Framer, source: IpAddr, bytes: &[u8]) -> Result<bool, Broken> {
        ListenerCounters::add(&self.counters.bytes, bytes.len().try_into().unwrap_or(u64::MAX));
        match framer {
            Framer::Lines(framer) => Ok(self.gather(source, |hand_on| framer.push(bytes, hand_on))),
            Framer::Pickle(framer) => self.take_frames(framer, source, bytes),
        }
    }

    /// The stream of this framer has ended: its last line needs no line end. Half a frame is nothing.
    pub(super) fn take_end(&mut self, framer: &mut Framer, source: IpAddr) {
        match framer {
            Framer::Lines(framer) => self.gather(source, |hand_on| framer.finish(hand_on)),
            Framer::Pickle(framer) => {
                let is_cut = framer.has_partial();
                *framer = PickleFramer::new();
                if is_cut {
                    ListenerCounters::add(&self.counters.unfinished_lines, 1);
                    self.reject_unfinished(RejectReason::Unfinished, 1, source);
                }
            }
        }
    }

    /// Frames one datagram: whole lines, of which the last needs no line end.
    pub(super) fn take_datagram(&mut self, bytes: &[u8], source: IpAddr) {
        ListenerCounters::add(&self.counters.datagrams, 1);
        ListenerCounters::add(&self.counters.bytes, bytes.len().try_into().unwrap_or(u64::MAX));
        let mut framer = LineFramer::new();
        self.gather(source, |hand_on| {
            framer.push(bytes, &mut *hand_on);
            framer.finish(hand_on);
        });
    }

    fn take_frames(
        &mut self,
        framer: &mut PickleFramer,
        source: IpAddr,
        bytes: &[u8],
    ) -> Result<bool, Broken> {
        let now = self.clock.unix_seconds();
        let mut line_count = 0;
        let pushed = framer.push(bytes, |frame| {
            for sample in pickle::samples(frame)?.items() {
                match sample {
                    Pickled::Line(line) => {
                        line_count += 1;
                        self.batcher.add(&dated(line, || now), source);
                    }
                    Pickled::Refused(reason, shown) => self.ledger.record(reason, shown, now),
                }
            }
            Ok(())
        });
        self.count_lines(line_count);
        self.publish();
        pushed.map_err(|refused: FrameRefused| {
            self.ledger.record(refused.reason, format!("{source}: {}", refused.found).as_bytes(), now);
            Broken
        })
    }

    /// Counts connections that were closed because all held too much, or that did not end what they began.
    pub(super) fn reject_unfinished(&self, reason: RejectReason, count: u64, source: IpAddr) {
        self.ledger.record_many(reason, count, source.to_string().as_bytes(), self.clock.unix_seconds());
    }

    /// Counts datagrams that the kernel dropped.
    pub(super) fn reject_datagrams(&self, count: u64, socket: &str) {
        ListenerCounters::add(&self.counters.datagrams_dropped, count);
        let shown = format!("{count} datagrams to {socket}");
        let now = self.clock.unix_seconds();
        self.ledger.record_many(RejectReason::DatagramDropped, count, shown.as_bytes(), now);
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
            if self.pause_log.pass(self.clock.monotonic()).is_some() {
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

    /// Counts the lines that the bus did not take before the end.
    pub(super) fn reject_waiting(&self) {
        let count = self.batcher.line_count().try_into().unwrap_or(u64::MAX);
        ListenerCounters::add(&self.counters.lines_lost, count);
        let first = self.batcher.first_line().unwrap_or_default();
        self.ledger.record_many(RejectReason::LostAtStop, count, first, self.clock.unix_seconds());
    }

    /// Counts a sender who was refused.
    pub(super) fn reject_peer(&self, reason: RejectReason, peer: &str) {
        self.ledger.record(reason, peer.as_bytes(), self.clock.unix_seconds());
    }

    fn gather<T>(&mut self, source: IpAddr, frame: impl FnOnce(&mut dyn FnMut(Framed<'_>)) -> T) -> T {
        let mut line_count = 0;
        let framed = frame(&mut |framed| match framed {
            Framed::Line(line) => {
                line_count += 1;
                self.batcher.add(&dated(line, || self.clock.unix_seconds()), source);
            }
            Framed::TooLong(head) => {
                self.ledger.record(RejectReason::LineTooLong, head, self.clock.unix_seconds());
            }
        });
        self.count_lines(line_count);
        self.publish();
        framed
    }

    fn count_lines(&self, line_count: u64) {
        ListenerCounters::add(&self.counters.lines, line_count);
        self_metrics::count_lines(line_count);
    }
}

/// Why a frame ended its stream.
struct FrameRefused {
    reason: RejectReason,
    found: String,
}

impl From<BadLength> for FrameRefused {
    fn from(error: BadLength) -> Self {
        Self { reason: RejectReason::BadPickle, found: error.to_string() }
    }
}

impl From<PickleError> for FrameRefused {
    fn from(error: PickleError) -> Self {
        Self { reason: error.reason(), found: error.to_string() }
    }
}
