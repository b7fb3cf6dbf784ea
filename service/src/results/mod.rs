//! Finished rows for whoever wants to follow them live.
//!
//! [`message`] is the JSON of one message; [`stream`] serves it as newline-delimited JSON over TCP.

pub mod message;
pub mod stream;
