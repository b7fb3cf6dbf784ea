//! What did not hold in a run.

use std::fmt;

use htm_core::ids::RowId;

/// One broken promise.
#[derive(Debug, Clone, PartialEq)]
pub enum Violation {
    /// Stored rows are not the accepted samples.
    Rows {
        /// Whose.
        metric: String,
        /// When it was seen and what.
        what: String,
    },
    /// A row's score was replaced by another.
    ScoreChanged {
        /// Whose.
        metric: String,
        /// Which.
        row_id: RowId,
    },
    /// A row has no score in the end, or not that of a lone model.
    Score {
        /// Whose.
        metric: String,
        /// Which, and what is wrong with it.
        what: String,
    },
    /// A model's file stands beyond the committed scores.
    FileAheadOfScores {
        /// Whose.
        metric: String,
        /// Where the file stands.
        file: RowId,
        /// Where the scores do.
        scored: RowId,
    },
    /// Results were not published, not in order, or not those that are stored.
    Results {
        /// Whose.
        metric: String,
        /// What is wrong.
        what: String,
    },
    /// Refused lines were not counted.
    Rejects {
        /// What is wrong.
        what: String,
    },
    /// Something took more than its limit.
    Bound {
        /// What, how much.
        what: String,
    },
    /// Nothing was wrong any more, and yet there was no end of work, or work was left.
    NotDrained {
        /// What was left.
        what: String,
    },
    /// A role ended with a fatal error or a panic.
    RoleEnded {
        /// Which, why.
        what: String,
    },
}

impl Violation {
    /// Its kind, in a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rows { .. } => "rows",
            Self::ScoreChanged { .. } => "score changed",
            Self::Score { .. } => "score",
            Self::FileAheadOfScores { .. } => "file ahead of scores",
            Self::Results { .. } => "results",
            Self::Rejects { .. } => "rejects",
            Self::Bound { .. } => "bound",
            Self::NotDrained { .. } => "not drained",
            Self::RoleEnded { .. } => "role ended",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.kind())?;
        match self {
            Self::ScoreChanged { metric, row_id } => {
                write!(formatter, "{metric}, row {row_id} was given another score")
            }
            Self::FileAheadOfScores { metric, file, scored } => {
                write!(formatter, "{metric}, the file stands at row {file}, scores are stored up to {scored}")
            }
            Self::Rows { metric, what } | Self::Score { metric, what } | Self::Results { metric, what } => {
                write!(formatter, "{metric}, {what}")
            }
            Self::Rejects { what }
            | Self::Bound { what }
            | Self::NotDrained { what }
            | Self::RoleEnded { what } => formatter.write_str(what),
        }
    }
}
