//! What a connection speaks, and what it has begun and not ended: a line or a frame of pickled samples.

use std::time::Duration;

use super::connection::LineFramer;
use super::pickle_framer::PickleFramer;

/// How samples are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `name value timestamp` and a line end.
    Plaintext,
    /// Frames of pickled lists.
    Pickle,
}

/// Cuts the bytes of one connection.
#[derive(Debug)]
pub(super) enum Framer {
    Lines(LineFramer),
    Pickle(PickleFramer),
}

impl Framer {
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Plaintext => Self::Lines(LineFramer::new()),
            Protocol::Pickle => Self::Pickle(PickleFramer::new()),
        }
    }

    /// Whether something was begun.
    pub(super) fn has_partial(&self) -> bool {
        match self {
            Self::Lines(framer) => framer.has_partial(),
            Self::Pickle(framer) => framer.has_partial(),
        }
    }

    /// Memory taken by what was begun.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Lines(framer) => framer.held_bytes(),
            Self::Pickle(framer) => framer.held_bytes(),
        }
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// To send anything.
    pub(super) idle_timeout: Duration,
    /// To end what it has begun.
    pub(super) line_timeout: Duration,
}
