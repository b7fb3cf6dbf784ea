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
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::EarlyAcknowledgement,
        Self::ForgottenCommit,
        Self::StaleTail,
        Self::EarlyProgress,
        Self::RottenFile,
        Self::SwappedScores,
        Self::DroppedScores,
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
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|canary| canary.name() == name)
    }
}
