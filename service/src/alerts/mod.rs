//! Alerts: from scored rows and signals to messages in webhooks and at the broker.
//!
//! Flow: the alerter folds the rows of each metric, in their order, for every rule that matches it, and keeps the
//! episodes that open and end; one courier for each channel tells what is kept and not yet told.
//!
//! Files: `settings` reads rules and channels; `rule` says what is worth an alert, `quiet` when not to wake anybody,
//! `channel` where to tell it; `episode` is the fold; `watch` one metric with its folds; `alerter` the role that feeds
//! them; `store` what is kept; `delivery` the couriers; `webhook` one HTTP request; `message` the bodies; `role` starts and
//! stops all of it.
//!
//! Invariants:
//! - The rows are the truth. A published result is a hint, or rows that come at the right moment; lost ones are found by
//!   looking.
//! - The fold is deterministic and an episode's key follows from it, so that after a kill the same episodes come again and
//!   change nothing. How far a metric is folded is kept together with what the folds know there, some seconds late.
//! - What happened before a rule was set up is history: a metric that no rule was about before begins at its newest
//!   scored row, one that came after its rule at its first row. Rows that were folded are never folded again, also when a
//!   model starts over and scores them anew.
//! - Alerts never slow down scoring, and cost nothing without a rule.
//!
//! Source: ours; the original left alerts to its applications.

mod alerter;
pub mod channel;
mod delivery;
pub mod episode;
pub mod message;
pub mod quiet;
pub mod role;
pub mod rule;
pub mod settings;
mod store;
mod test_message;
mod watch;
pub mod webhook;

pub use self::settings::AlertSettings;
pub use self::test_message::send_test;
