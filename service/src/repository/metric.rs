//! The `metric` table as a value: one row per named series.
//!
//! Source: htmengine's schema after its last migration and its `MetricStatus`.

use htm_core::ids::{ModelId, RowId};

/// Longest `name`, in characters, that the original's column holds.
pub const MAX_NAME_CHARS: usize = 255;
/// Longest `description`.
pub const MAX_DESCRIPTION_CHARS: usize = 200;
/// Longest `server`.
pub const MAX_SERVER_CHARS: usize = 100;
/// Longest `location`.
pub const MAX_LOCATION_CHARS: usize = 200;
/// The only datasource of this engine.
pub const DATASOURCE_CUSTOM: &str = "custom";

/// One row of `metric`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// 32 lower-case hexadecimal digits; also names the model.
    pub uid: ModelId,
    /// Always [`DATASOURCE_CUSTOM`] for metrics made here.
    pub datasource: Option<String>,
    /// Metric name.
    pub name: String,
    /// `Custom metric <name>` for metrics made by a sample.
    pub description: Option<String>,
    /// "Resource"; the metric name unless given (cut to nothing longer than the column by the caller).
    pub server: Option<String>,
    /// Empty for metrics made here.
    pub location: Option<String>,
    /// Model specification, JSON, while monitored.
    pub parameters: Option<String>,
    /// Life cycle.
    pub status: MetricStatus,
    /// Why it is in error.
    pub message: Option<String>,
    /// Seconds between samples, 300 for metrics made here.
    pub poll_interval_s: i64,
    /// Unused here; kept because the original's table has it.
    pub tag_name: Option<String>,
    /// Derived model parameters, JSON, once a model was started.
    pub model_params: Option<String>,
    /// Highest row id handed out; 0 for none.
    pub last_rowid: RowId,
}

/// Life cycle of a metric; the numbers are the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricStatus {
    /// 0: samples are stored, there is no model.
    Unmonitored,
    /// 1: a model exists and its scores are accepted.
    Active,
    /// 2: a model was asked for and does not exist yet.
    CreatePending,
    /// 4: the model failed; `message` says why.
    Error,
    /// 8: monitored, waiting for enough rows to estimate the value range.
    PendingData,
}

impl Metric {
    /// Whether it is in the same state, with the same life of its model, as when `other` was read.
    pub fn has_same_model(&self, other: &Self) -> bool {
        self.status == other.status && self.model_params == other.model_params
    }
}

impl MetricStatus {
    /// The stored number.
    pub fn code(self) -> i64 {
        match self {
            Self::Unmonitored => 0,
            Self::Active => 1,
            Self::CreatePending => 2,
            Self::Error => 4,
            Self::PendingData => 8,
        }
    }

    /// The status with this number.
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Unmonitored,
            1 => Self::Active,
            2 => Self::CreatePending,
            4 => Self::Error,
            8 => Self::PendingData,
            _ => return None,
        })
    }

    /// Lower-case words, as shown to people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unmonitored => "unmonitored",
            Self::Active => "active",
            Self::CreatePending => "create pending",
            Self::Error => "error",
            Self::PendingData => "pending data",
        }
    }
}
