//! What may go wrong in the simulated world, by name.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A process dies in the middle of anything.
    Kill,
    /// A process dies and takes what its disk had not kept.
    PowerFailure,
    /// A process is stopped in order and started again.
    Restart,
    /// A transaction fails before it has done anything.
    TransactionRefused,
    /// A transaction's work is run, undone and run again.
    TransactionConflict,
    /// A transaction's work is undone, and its caller told to try again.
    TransactionUndone,
    /// A transaction is committed, and its caller told to try again.
    CommitAnswerLost,
    /// A read fails.
    ReadFailed,
    /// The database is away for some time.
    DatabaseAway,
    /// The broker is away for some time.
    BrokerAway,
    /// A process loses its connection to the broker: what it holds is delivered again.
    ConnectionLost,
    /// The broker has a message and its publisher does not know: it is published again.
    ConfirmationLost,
    /// The broker forgets hints.
    HintsLost,
    /// The broker forgets scores.
    ScoresLost,
    /// A full queue.
    QueueFull,
    /// Nothing can be written for some time: the disk is full.
    DiskFull,
    /// A file cannot be written.
    WriteFailed,
    /// A file cannot be read.
    FileUnreadable,
    /// A file is found cut off.
    FileTorn,
    /// A file is found with other bytes in it.
    FileDamaged,
    /// A file is found as it was before it was last replaced.
    FileOld,
    /// A file is gone.
    FileGone,
    /// The wall clock jumps.
    ClockSkew,
    /// A client's connection breaks in the middle of a line.
    ClientBroken,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Kill,
        Self::PowerFailure,
        Self::Restart,
        Self::TransactionRefused,
        Self::TransactionConflict,
        Self::TransactionUndone,
        Self::CommitAnswerLost,
        Self::ReadFailed,
        Self::DatabaseAway,
        Self::BrokerAway,
        Self::ConnectionLost,
        Self::ConfirmationLost,
        Self::HintsLost,
        Self::ScoresLost,
        Self::QueueFull,
        Self::DiskFull,
        Self::WriteFailed,
        Self::FileUnreadable,
        Self::FileTorn,
        Self::FileDamaged,
        Self::FileOld,
        Self::FileGone,
        Self::ClockSkew,
        Self::ClientBroken,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "process killed",
            Self::PowerFailure => "power failure",
            Self::Restart => "orderly restart",
            Self::TransactionRefused => "transaction refused",
            Self::TransactionConflict => "transaction run again",
            Self::TransactionUndone => "transaction undone",
            Self::CommitAnswerLost => "commit answer lost",
            Self::ReadFailed => "database read failed",
            Self::DatabaseAway => "database away",
            Self::BrokerAway => "broker away",
            Self::ConnectionLost => "connection to broker lost",
            Self::ConfirmationLost => "confirmation lost",
            Self::HintsLost => "hints lost",
            Self::ScoresLost => "scores lost",
            Self::QueueFull => "queue full",
            Self::DiskFull => "disk full",
            Self::WriteFailed => "file write failed",
            Self::FileUnreadable => "file unreadable",
            Self::FileTorn => "file torn",
            Self::FileDamaged => "file damaged",
            Self::FileOld => "file as before its sync",
            Self::FileGone => "file gone",
            Self::ClockSkew => "wall clock jumped",
            Self::ClientBroken => "client connection broken",
        }
    }
}
