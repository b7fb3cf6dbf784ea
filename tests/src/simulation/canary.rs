//! Bugs that the simulator has to find, put around the engine: parts of the world that break their contract just as a
//! broken role would make them.

/// A bug on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// Lines are acknowledged as they are received: a storer that acknowledges before it commits.
    EarlyAcknowledgement,
    /// Now and then scores are reported as committed and are not: an anomaly role that swallows an error.
    ForgottenCommit,
    /// Now and then the time of a metric's newest row is that of the row before: a storer that remembers what it should read.
    StaleTail,
    /// Scores count as committed before they are: a scheduler that saves models too early.
    EarlyProgress,
    /// Models' files rot without a new stamp: a scheduler that believes a file that somebody else wrote.
    RottenFile,
    /// Score messages change places: an anomaly role that works its messages off in any order.
    SwappedScores,
    /// Now and then a message of scores is dropped after it was published.
    DroppedScores,
    /// No new metric is monitored, whatever its name: a storer that forgets its patterns.
    ForgottenPatterns,
    /// Now and then a line is lost before the bus: a listener that drops what it has read.
    LostLine,
    /// An orderly stop keeps nothing of what could not be stored.
    UnkeptLines,
    /// An orderly stop commits scores and does not publish them.
    SilentStop,
    /// Scores are worked off and never acknowledged: an anomaly role that hoards them.
    HoardedScores,
    /// Now and then the alert score is stored as another: an anomaly role that mixes up columns.
    OtherAlertScore,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::EarlyAcknowledgement,
        Self::ForgottenCommit,
        Self::StaleTail,
        Self::EarlyProgress,
        Self::RottenFile,
        Self::SwappedScores,
        Self::DroppedScores,
        Self::ForgottenPatterns,
        Self::LostLine,
        Self::UnkeptLines,
        Self::SilentStop,
        Self::HoardedScores,
        Self::OtherAlertScore,
    ];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::EarlyAcknowledgement => "early-acknowledgement",
            Self::ForgottenCommit => "forgotten-commit",
            Self::StaleTail => "stale-tail",
            Self::EarlyProgress => "early-progress",
            Self::RottenFile => "rotten-file",
            Self::SwappedScores => "swapped-scores",
            Self::DroppedScores => "dropped-scores",
            Self::ForgottenPatterns => "forgotten-patterns",
            Self::LostLine => "lost-line",
            Self::UnkeptLines => "unkept-lines",
            Self::SilentStop => "silent-stop",
            Self::HoardedScores => "hoarded-scores",
            Self::OtherAlertScore => "other-alert-score",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|canary| canary.name() == name)
    }
}
