//! Log marks that tools of the original's users search for: `{TAG:...}`, here the field `tag` of an event.
//!
//! They are events of target [`TARGET`] at level DEBUG, let through only while profiling is on (option `profiling` of the
//! original's configuration or of ours, or a filter such as `HTMENGINE_LOG=info,htmengine::profiling=debug`).
//!
//! | tag | here |
//! |---|---|
//! | `CUSLSR.FW.DONE` | the listener handed batches of lines to the bus (`listener/intake.rs`) |
//! | `CUSSTR.DATA.RX` | the storer took messages from the data queue (`storer/mod.rs`) |
//! | `STRM.DATA.TO_MODEL.DONE` | rows are committed and their models were told (`storer/mod.rs`) |
//! | `ANOM.START`, `ANOM.STOP.OK` | the anomaly role began, ended (`anomaly/mod.rs`) |
//! | `ANOM.BATCH.INF.DONE` | scores are committed and published (`anomaly/mod.rs`) |
//! | `ANOM.BATCH.CMD.DONE` | a command's result was worked in and published (`anomaly/mod.rs`) |
//! | `SWAP.SCHED.START`, `SWAP.SCHED.STOP.OK` | the scheduler began, ended (`scheduler/mod.rs`) |
//! | `SWAP.MR.BATCH.DONE` | a share of a model's rows was stepped (`scheduler/mod.rs`) |
//! | `SWAP.SA.MODEL.STARTED` | a model came into memory (`scheduler/mod.rs`) |
//! | `MCKPT.SAVE` | a model's file was written (`scheduler/checkpointing.rs`) |
//!
//! The other tags of the original name things that do not exist here: runner processes and their slots.
//!
//! Source: the log lines of htmengine's services.

/// The target of all marks.
pub const TARGET: &str = "htmengine::profiling";

/// The listener handed batches on.
pub const LISTENER_FORWARDED: &str = "CUSLSR.FW.DONE";
/// The storer received messages.
pub const STORER_RECEIVED: &str = "CUSSTR.DATA.RX";
/// Rows are stored and their models told.
pub const STORER_STREAMED: &str = "STRM.DATA.TO_MODEL.DONE";
/// The anomaly role began.
pub const ANOMALY_STARTED: &str = "ANOM.START";
/// The anomaly role ended in order.
pub const ANOMALY_STOPPED: &str = "ANOM.STOP.OK";
/// Scores are committed and published.
pub const ANOMALY_SCORES_DONE: &str = "ANOM.BATCH.INF.DONE";
/// A command's result is committed and published.
pub const ANOMALY_COMMAND_DONE: &str = "ANOM.BATCH.CMD.DONE";
/// The scheduler began.
pub const SCHEDULER_STARTED: &str = "SWAP.SCHED.START";
/// The scheduler ended in order.
pub const SCHEDULER_STOPPED: &str = "SWAP.SCHED.STOP.OK";
/// A share of rows was stepped.
pub const SHARE_DONE: &str = "SWAP.MR.BATCH.DONE";
/// A model came into memory.
pub const MODEL_STARTED: &str = "SWAP.SA.MODEL.STARTED";
/// A model's file was written.
pub const MODEL_SAVED: &str = "MCKPT.SAVE";
