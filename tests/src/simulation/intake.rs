//! The listener's half that knows nothing of sockets, fed by hand: the product's framing and batching, and between them what
//! its poll loop does. Nothing is read while the bus is full.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use htmengine::bus::Bus;
use htmengine::listener::batch::{Batcher, Publishing};
use htmengine::listener::connection::{Framed, LineFramer};
use htmengine::reject::{RejectLedger, RejectReason};

use super::canary::Canary;
use super::stage::Caller;

/// Chunks read in one turn.
const MAX_CHUNKS_PER_TURN: usize = 4;

/// What the kernel has for a listener.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Bytes of a connection.
    Bytes(u64, Vec<u8>),
    /// A connection was closed by its client.
    End(u64),
    /// A connection broke.
    Broken(u64),
    /// A datagram.
    Datagram(Vec<u8>),
}

/// Everything that was sent and not read.
pub(super) type Sockets = Arc<Mutex<VecDeque<Arrival>>>;

/// The role.
pub(super) struct Intake {
    caller: Caller,
    bus: Arc<dyn Bus>,
    ledger: Arc<RejectLedger>,
    sockets: Sockets,
    framers: BTreeMap<u64, LineFramer>,
    batcher: Batcher,
}

impl Intake {
    pub(super) fn new(
        caller: &Caller,
        bus: Arc<dyn Bus>,
        ledger: Arc<RejectLedger>,
        sockets: Sockets,
    ) -> Self {
        let (framers, batcher) = (BTreeMap::new(), Batcher::new());
        Self { caller: caller.clone(), bus, ledger, sockets, framers, batcher }
    }

    /// One turn; says what came of it.
    pub(super) fn run_once(&mut self) -> String {
        let (_, publishing) = self.batcher.publish(self.bus.data());
        if publishing != Publishing::Done {
            return format!("{publishing:?}");
        }
        let mut chunks = 0;
        while chunks < MAX_CHUNKS_PER_TURN
            && let Some(arrival) = self.next()
        {
            self.take(arrival);
            chunks += 1;
        }
        if chunks == 0 {
            return "Idle".to_owned();
        }
        self.batcher.close_open();
        let (batches, publishing) = self.batcher.publish(self.bus.data());
        format!("{publishing:?}, {batches} batches")
    }

    /// Lines that the bus has not taken.
    pub(super) fn line_count(&self) -> usize {
        self.batcher.line_count()
    }

    fn next(&self) -> Option<Arrival> {
        self.caller.check();
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn take(&mut self, arrival: Arrival) {
        let stage = Arc::clone(self.caller.stage());
        let now = stage.unix_seconds();
        let (batcher, ledger) = (&mut self.batcher, &self.ledger);
        let mut hand_on = |framed: Framed<'_>| match framed {
            Framed::Line(_) if stage.sings(Canary::LostLine, 50) => {}
            Framed::Line(line) => batcher.add(line, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Framed::TooLong(head) => ledger.record(RejectReason::LineTooLong, head, now),
        };
        match arrival {
            Arrival::Bytes(connection, bytes) => {
                self.framers.entry(connection).or_default().push(&bytes, &mut hand_on);
            }
            Arrival::End(connection) => {
                self.framers.remove(&connection).unwrap_or_default().finish(&mut hand_on);
            }
            Arrival::Broken(connection) => drop(self.framers.remove(&connection)),
            Arrival::Datagram(bytes) => {
                let mut framer = LineFramer::new();
                framer.push(&bytes, &mut hand_on);
                framer.finish(&mut hand_on);
            }
        }
    }
}
