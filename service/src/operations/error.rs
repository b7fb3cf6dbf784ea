//! Why an operation was refused, under the original's exception names and numbers.
//!
//! One table, [`OperationError::class`], gives name, number and HTTP status of each; the command line shows the
//! message, HTTP all of it.
//!
//! Source: htmengine's `exceptions.py` and `htmengineerrno.py`.
//! Departures: a bad argument of any kind is a `ValueError` (the original also raised `TypeError` and `KeyError`); what
//! the database or the bus said has a name of its own, so that a client knows when to try again.

use std::fmt;

use htm_core::ids::ModelId;

use crate::model_params::SpecError;
use crate::monitoring::MonitorError;
use crate::repository::RepositoryError;
use crate::repository::metric::MetricStatus;

/// `htmengineerrno.ERR`: anything without a number of its own.
pub const ERR: i64 = 1;
/// `htmengineerrno.ERR_MODEL_ALREADY_EXISTS`.
pub const ERR_MODEL_ALREADY_EXISTS: i64 = 2;
/// `htmengineerrno.ERR_NO_SUCH_MODEL`.
pub const ERR_NO_SUCH_MODEL: i64 = 3;
/// `htmengineerrno.ERR_INVALID_ARG`.
pub const ERR_INVALID_ARG: i64 = 4;

/// Why an operation changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationError {
    /// There is no such metric or model.
    ObjectNotFound {
        /// What was looked for, as a sentence.
        reason: String,
    },
    /// A metric has this name already.
    MetricAlreadyExists {
        /// Its id.
        uid: ModelId,
        /// Its name.
        name: String,
    },
    /// The metric has a model already, or waits for one.
    MetricAlreadyMonitored {
        /// Its id.
        uid: ModelId,
        /// Its name.
        name: String,
        /// Its status.
        status: MetricStatus,
    },
    /// The metric has no model and waits for none.
    MetricNotMonitored {
        /// Its id.
        uid: ModelId,
        /// Its name.
        name: String,
    },
    /// There is not a single row to take a value range from.
    MetricStatisticsNotReady {
        /// Its id.
        uid: ModelId,
        /// Its name.
        name: String,
    },
    /// The metric's status is one that this operation cannot start from.
    MetricStatusChanged {
        /// Its id.
        uid: ModelId,
        /// Its name.
        name: String,
        /// Its status.
        status: MetricStatus,
    },
    /// An argument cannot be used.
    InvalidArgument {
        /// Found, expected.
        reason: String,
    },
    /// The database failed or refused.
    Repository(RepositoryError),
    /// The bus took nothing.
    BusAway {
        /// What was handed over before, and what it said.
        reason: String,
    },
}

/// What an error is called where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorClass {
    /// The original's exception.
    pub name: &'static str,
    /// The original's number.
    pub code: i64,
    /// Status of an HTTP answer.
    pub http_status: u16,
}

const fn class(name: &'static str, code: i64, http_status: u16) -> ErrorClass {
    ErrorClass { name, code, http_status }
}

impl OperationError {
    /// An argument that cannot be used.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidArgument { reason: reason.into() }
    }

    /// Its name, number and HTTP status.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::ObjectNotFound { .. } => class("ObjectNotFoundError", ERR_NO_SUCH_MODEL, 404),
            Self::MetricAlreadyExists { .. } => class("MetricAlreadyExists", ERR_MODEL_ALREADY_EXISTS, 409),
            Self::MetricAlreadyMonitored { .. } => {
                class("MetricAlreadyMonitored", ERR_MODEL_ALREADY_EXISTS, 409)
            }
            Self::MetricNotMonitored { .. } => class("MetricNotMonitoredError", ERR, 409),
            Self::MetricStatisticsNotReady { .. } => class("MetricStatisticsNotReadyError", ERR, 409),
            Self::MetricStatusChanged { .. } => class("MetricStatusChangedError", ERR, 409),
            Self::InvalidArgument { .. } | Self::Repository(RepositoryError::Rejected { .. }) => {
                class("ValueError", ERR_INVALID_ARG, 400)
            }
            Self::Repository(RepositoryError::Transient { .. }) => class("DatabaseAwayError", ERR, 503),
            Self::BusAway { .. } => class("BusAwayError", ERR, 503),
            Self::Repository(RepositoryError::Fatal { .. }) => class("HTMEngineError", ERR, 500),
        }
    }

    /// The metric that it is about, if there is one.
    pub fn uid(&self) -> Option<&ModelId> {
        match self {
            Self::MetricAlreadyExists { uid, .. }
            | Self::MetricAlreadyMonitored { uid, .. }
            | Self::MetricNotMonitored { uid, .. }
            | Self::MetricStatisticsNotReady { uid, .. }
            | Self::MetricStatusChanged { uid, .. } => Some(uid),
            Self::ObjectNotFound { .. }
            | Self::InvalidArgument { .. }
            | Self::Repository(_)
            | Self::BusAway { .. } => None,
        }
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObjectNotFound { reason } | Self::InvalidArgument { reason } | Self::BusAway { reason } => {
                formatter.write_str(reason)
            }
            Self::MetricAlreadyExists { uid, name } => {
                write!(formatter, "there is a metric named `{name}` already ({uid})")
            }
            Self::MetricAlreadyMonitored { uid, name, status } => write!(
                formatter,
                "metric `{name}` ({uid}) is monitored already, its status is {}; unmonitor it first",
                status.label()
            ),
            Self::MetricNotMonitored { uid, name } => {
                write!(formatter, "metric `{name}` ({uid}) is not monitored; monitor it first")
            }
            Self::MetricStatisticsNotReady { uid, name } => write!(
                formatter,
                "metric `{name}` ({uid}) has no rows to take a value range from; send a sample first, or monitor it \
                 with min and max"
            ),
            Self::MetricStatusChanged { uid, name, status } => write!(
                formatter,
                "metric `{name}` ({uid}) has status {}; unmonitor it and monitor it again",
                status.label()
            ),
            Self::Repository(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for OperationError {}

impl From<RepositoryError> for OperationError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

impl From<SpecError> for OperationError {
    fn from(error: SpecError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<MonitorError> for OperationError {
    fn from(error: MonitorError) -> Self {
        match error {
            MonitorError::NotFound { .. } => Self::ObjectNotFound { reason: error.to_string() },
            MonitorError::AlreadyMonitored { uid, name, status } => {
                Self::MetricAlreadyMonitored { uid, name, status }
            }
            MonitorError::Params(error) => error.into(),
            MonitorError::Repository(error) => error.into(),
        }
    }
}

impl TryFrom<OperationError> for RepositoryError {
    type Error = OperationError;

    /// The database's own failure, or the error as it was.
    fn try_from(error: OperationError) -> Result<Self, OperationError> {
        match error {
            OperationError::Repository(error) => Ok(error),
            OperationError::ObjectNotFound { .. }
            | OperationError::MetricAlreadyExists { .. }
            | OperationError::MetricAlreadyMonitored { .. }
            | OperationError::MetricNotMonitored { .. }
            | OperationError::MetricStatisticsNotReady { .. }
            | OperationError::MetricStatusChanged { .. }
            | OperationError::InvalidArgument { .. }
            | OperationError::BusAway { .. } => Err(error),
        }
    }
}
