//! What is shown of a metric: its value, or one of the scores of its rows.
//!
//! `htm.<metric>.<field>` names a field in a path, the pseudo tag `htm=<field>` in a tag expression; a bare metric means its
//! value.

use htm_core::anomaly::likelihood::log_likelihood;

use super::consolidation::Consolidation;
use crate::repository::metric_data::MetricRow;

/// First node of the paths that end with a field, and the tag that names one.
pub(crate) const NAMESPACE: &str = "htm";

/// One series of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    /// The sample.
    Value,
    /// The raw anomaly score.
    Raw,
    /// The anomaly score: htmengine's likelihood.
    Likelihood,
    /// The anomaly score on NuPIC's logarithmic scale, so that 0.999 and 0.99999 can be told apart.
    Log,
    /// The fused detection score.
    Detection,
    /// The same under the name that says what to look at first.
    Score,
    /// What the classifier of the model expected the sample to be.
    Expected,
    /// The metric's status code.
    State,
}

impl Field {
    /// All of them, by name.
    pub(crate) const ALL: [Self; 8] = [
        Self::Detection,
        Self::Expected,
        Self::Likelihood,
        Self::Log,
        Self::Raw,
        Self::Score,
        Self::State,
        Self::Value,
    ];

    /// The last node of its paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Raw => "raw",
            Self::Likelihood => "likelihood",
            Self::Log => "log",
            Self::Detection => "detection",
            Self::Score => "score",
            Self::Expected => "expected",
            Self::State => "state",
        }
    }

    /// The field with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// How several of its points become one unless a target says otherwise. The mean would wear the peaks of scores away,
    /// and peaks are what they are looked at for.
    pub(crate) fn consolidation(self) -> Consolidation {
        match self {
            Self::Value | Self::Expected => Consolidation::Average,
            Self::Raw | Self::Likelihood | Self::Log | Self::Detection | Self::Score => Consolidation::Max,
            Self::State => Consolidation::Last,
        }
    }

    /// What a row says by itself; `None` of what it does not carry, and of the fields that no single row carries.
    pub(crate) fn of_row(self, row: &MetricRow) -> Option<f64> {
        match self {
            Self::Value => Some(row.value),
            Self::Raw => row.raw_anomaly_score,
            Self::Likelihood => row.anomaly_score,
            Self::Log => row.anomaly_score.map(log_likelihood),
            Self::Detection | Self::Score => row.detection.map(|detection| detection.score),
            Self::Expected | Self::State => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_read_back() {
        assert!(Field::ALL.is_sorted_by_key(|field| field.name()));
        for field in Field::ALL {
            assert_eq!(Field::from_name(field.name()), Some(field));
        }
        assert_eq!(Field::from_name("values"), None);
    }
}
