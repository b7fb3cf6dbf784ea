//! Episodes, their deliveries and how far the alert role has come, as values and as what a repository does with them.
//!
//! Invariants: an episode's key is given by its rule, metric and first row, so that writing it twice changes nothing;
//! there is at most one delivery of a kind for an episode and a channel.
//!
//! Tables: `alert_cursor`, `alert_episode`, `alert_delivery`, all ours. A MySQL database that `htmengine migrate` has not
//! brought up lacks them: reads then find nothing, writes are refused, and the role does not start.

use htm_core::ids::{ModelId, RowId};

use super::RepositoryError;

/// Longest name of a rule or a channel, in characters.
pub const MAX_ALERT_NAME_CHARS: usize = 100;
/// Longest text of an error that is kept with a delivery, in characters.
pub const MAX_ERROR_CHARS: usize = 300;
/// Episodes that one query returns at most.
pub const MAX_LISTED_EPISODES: usize = 10_000;

/// How far a metric has been folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCursor {
    /// Whose.
    pub uid: ModelId,
    /// The last row that was folded.
    pub row_id: RowId,
    /// What began before this time, unix seconds, is history and no reason for an alert; only for signals.
    pub began_at: i64,
    /// What the rules know after that row, as JSON.
    pub state: String,
}

/// Why an episode was not told when it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppression {
    /// It is told when the quiet hours end, if it is still open then.
    Quiet,
    /// It is never told.
    Maintenance,
}

impl Suppression {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Maintenance => "maintenance",
        }
    }

    /// The one with this word.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Quiet, Self::Maintenance].into_iter().find(|it| it.as_str() == text)
    }
}

/// One stretch of time during which a rule holds for a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEpisode {
    /// Also the key by which receivers tell repetitions.
    pub key: String,
    /// The rule's name.
    pub rule: String,
    /// The rule's condition, by its word.
    pub condition: String,
    /// The rule's severity.
    pub severity: String,
    /// The rule's threshold; `None` for a signal.
    pub threshold: Option<f64>,
    /// The metric.
    pub uid: ModelId,
    /// The metric's name.
    pub metric: String,
    /// When it was found, by our clock, unix seconds.
    pub opened_at: i64,
    /// Sample time at which the condition began, unix seconds.
    pub from: i64,
    /// Sample time at which it was over; `None` while it is open.
    pub until: Option<i64>,
    /// The row at which it opened; `None` for a signal.
    pub row_id: Option<RowId>,
    /// Largest score so far; `None` for a signal.
    pub peak_score: Option<f64>,
    /// Sample time of that score.
    pub peak_at: i64,
    /// The value then.
    pub peak_value: Option<f64>,
    /// Why it was not told when it opened.
    pub suppressed: Option<Suppression>,
}

/// What a delivery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryKind {
    /// The episode has opened, or is still open.
    Open,
    /// It is over.
    Resolved,
}

impl DeliveryKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }

    /// The one with this word.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Open, Self::Resolved].into_iter().find(|it| it.as_str() == text)
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is to be sent, perhaps again.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It was refused, or nobody answered for too long.
    GivenUp,
    /// There was no more reason to send it.
    Dropped,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Delivered, Self::GivenUp, Self::Dropped];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }

    /// The one with this word.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// One message of an episode to one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertDelivery {
    /// Of which episode.
    pub key: String,
    /// To which channel.
    pub channel: String,
    /// What it says.
    pub kind: DeliveryKind,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was repeated while the episode stayed open.
    pub repeats: u32,
    /// Attempts to send it, since the latest repetition.
    pub tries: u32,
    /// Since when it is due, by our clock; it is given up some time after.
    pub due_since: i64,
    /// When to look at it next, by our clock; `None` for never.
    pub next_at: Option<i64>,
    /// Why the latest attempt failed.
    pub last_error: Option<String>,
}

/// Which episodes to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpisodeQuery {
    /// Only open ones.
    pub is_open: bool,
    /// Only of this metric.
    pub uid: Option<ModelId>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only those that were not over before this sample time.
    pub from: Option<i64>,
    /// Only those that began at or before this sample time.
    pub until: Option<i64>,
    /// At most so many, and never more than [`MAX_LISTED_EPISODES`].
    pub limit: Option<usize>,
}

impl EpisodeQuery {
    /// The limit that holds.
    pub(super) fn bounded_limit(&self) -> usize {
        self.limit.unwrap_or(MAX_LISTED_EPISODES).min(MAX_LISTED_EPISODES)
    }
}

/// What may be read of alerts.
pub trait AlertReads {
    /// Whether the database has the tables.
    fn has_alert_tables(&self) -> bool;

    /// Which metrics the rules were about when alerts were raised last, as the alert role wrote it; `None` if they never
    /// were, or have been off since.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn alert_scope(&self) -> Result<Option<String>, RepositoryError>;

    /// How far a metric was folded; `None` if it never was.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn alert_cursor(&self, id: &ModelId) -> Result<Option<AlertCursor>, RepositoryError>;

    /// The episode with this key.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn alert_episode(&self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError>;

    /// Episodes that match, the latest opened first.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn alert_episodes(&self, query: &EpisodeQuery) -> Result<Vec<AlertEpisode>, RepositoryError>;

    /// Every delivery of an episode, by channel and kind.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn alert_deliveries(&self, key: &str) -> Result<Vec<AlertDelivery>, RepositoryError>;

    /// Up to `limit` deliveries of a channel that are to be looked at by `now`, the longest due first.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn due_alert_deliveries(
        &self,
        channel: &str,
        now: i64,
        limit: usize,
    ) -> Result<Vec<AlertDelivery>, RepositoryError>;
}

/// What may be written of alerts, within a transaction.
pub trait AlertWrites {
    /// Keeps which metrics the rules are about; `None` when there are no rules any more.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database, or if it lacks the tables.
    fn put_alert_scope(&mut self, scope: Option<&str>) -> Result<(), RepositoryError>;

    /// Keeps how far a metric was folded, in place of what was kept before; does nothing for a metric that is gone.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database, or if it lacks the tables.
    fn put_alert_cursor(&mut self, cursor: &AlertCursor) -> Result<(), RepositoryError>;

    /// The episode with this key, locked.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn alert_episode(&mut self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError>;

    /// Keeps an episode, in place of what was kept under its key before.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database, or if it lacks the tables or a text is too long.
    fn put_alert_episode(&mut self, episode: &AlertEpisode) -> Result<(), RepositoryError>;

    /// Keeps a new delivery; one that is there already for its episode, channel and kind stays as it is.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database, or if it lacks the tables or a text is too long.
    fn add_alert_delivery(&mut self, delivery: &AlertDelivery) -> Result<(), RepositoryError>;

    /// Keeps a delivery, in place of what was kept for its episode, channel and kind before.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database, or if it lacks the tables or a text is too long.
    fn put_alert_delivery(&mut self, delivery: &AlertDelivery) -> Result<(), RepositoryError>;

    /// Deletes the oldest closed episodes with their deliveries: those opened before `before`, and all but the newest
    /// `kept`; also cursors of metrics that are gone. Returns how many episodes went.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn purge_alerts(&mut self, before: i64, kept: usize) -> Result<usize, RepositoryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::from_text(state.as_str()), Some(state));
        }
        assert_eq!(DeliveryKind::from_text("resolved"), Some(DeliveryKind::Resolved));
        assert_eq!(Suppression::from_text("maintenance"), Some(Suppression::Maintenance));
        assert_eq!(DeliveryState::from_text("lost"), None);
    }
}
