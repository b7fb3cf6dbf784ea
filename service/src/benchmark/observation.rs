//! What a detector is given: one record, and what the HTM model said of it.

/// One record on its way through the detectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Unix seconds, UTC.
    pub timestamp: i64,
    /// Finite.
    pub value: f64,
    /// Share of active columns that the model did not predict, 0 to 1; detectors without a model do not look at it.
    pub raw_score: f32,
}
