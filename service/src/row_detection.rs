//! The fused detection score of one row: as columns, on the bus, and in what is shown.
//!
//! Scores are stored as they are. Components are for explaining them: their column holds four digits of each, under the
//! letters that the design gives them (`A` likelihood, `T` time of day, `L` sustained elevation, `R` slow surprise, `D`
//! discord, `m` maturity), and leaves out those that are 0; beside them lie the columns that were predicted (`p`). So a
//! row stays small: `{"A":0.0131,"m":0.62,"p":84}`.
//!
//! Source: ours; the original had no such score.

use std::collections::BTreeMap;

use htm_core::detection::{Components, Detection};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest text of the components' column: six letters with numbers such as `1.234e-7`, and the signs between them.
pub const MAX_COMPONENTS_CHARS: usize = 120;

/// What a model's detector said of one row; the default says nothing odd. As JSON:
/// `{"score": 0.2, "alertScore": 0.2, "components": {"likelihood": 0.5, ..}}`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowDetection {
    /// Fused score, 0..=1.
    pub score: f64,
    /// The score where it peaks, else 0; to be compared with a threshold.
    pub alert_score: f64,
    /// What the score is made of; `None` if only the scores were kept.
    pub components: Option<Components>,
    /// Columns that the model had predicted for this row; `None` if that was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_predictions: Option<u32>,
}

impl From<Detection> for RowDetection {
    fn from(detection: Detection) -> Self {
        let Detection { score, alert_score, components } = detection;
        Self { score, alert_score, components: Some(components), open_predictions: None }
    }
}

impl RowDetection {
    /// From the columns; `None` of a row without a score.
    pub fn from_columns(
        score: Option<f64>,
        alert_score: Option<f64>,
        components: Option<&str>,
    ) -> Option<Self> {
        let (components, open_predictions) = components.map_or((None, None), read_column);
        Some(Self { score: score?, alert_score: alert_score.unwrap_or(0.0), components, open_predictions })
    }

    /// Text of the components' column; at most [`MAX_COMPONENTS_CHARS`].
    ///
    /// # Panics
    /// Never: finite numbers are always JSON.
    pub fn components_column(&self) -> Option<String> {
        let components = self.components.as_ref()?;
        let shown: BTreeMap<&str, Value> = LETTERS
            .into_iter()
            .zip(numbers(components))
            .filter(|(_, value)| *value != 0.0 && value.is_finite())
            .map(|(letter, value)| (letter, four_digits(value).into()))
            .chain(self.open_predictions.map(|count| (OPEN_PREDICTIONS, count.into())))
            .collect();
        Some(serde_json::to_string(&shown).expect("finite numbers are always JSON"))
    }
}

/// Names of the components in their column, in the order of [`numbers`].
const LETTERS: [&str; 6] = ["A", "T", "L", "R", "D", "m"];

/// Name of the open predictions there.
const OPEN_PREDICTIONS: &str = "p";

fn numbers(components: &Components) -> [f64; 6] {
    let Components { likelihood, time_of_day, sustained_elevation, slow_surprise, discord, maturity } =
        *components;
    [likelihood, time_of_day, sustained_elevation, slow_surprise, discord, maturity]
}

fn of_numbers(numbers: [f64; 6]) -> Components {
    let [likelihood, time_of_day, sustained_elevation, slow_surprise, discord, maturity] = numbers;
    Components { likelihood, time_of_day, sustained_elevation, slow_surprise, discord, maturity }
}

fn read_column(text: &str) -> (Option<Components>, Option<u32>) {
    let Ok(read) = serde_json::from_str::<BTreeMap<String, f64>>(text) else { return (None, None) };
    let components = of_numbers(LETTERS.map(|letter| read.get(letter).copied().unwrap_or(0.0)));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of numbers saturates"
    )]
    let open_predictions = read.get(OPEN_PREDICTIONS).map(|count| *count as u32);
    (Some(components), open_predictions)
}

pub(crate) fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// As numbers in a row of a message: score, alert score, and the components in the order of their letters.
pub(crate) type DetectionNumbers = (f64, f64, Option<[f64; 6]>, Option<u32>);

impl From<&RowDetection> for DetectionNumbers {
    fn from(detection: &RowDetection) -> Self {
        let components = detection.components.as_ref().map(numbers);
        (detection.score, detection.alert_score, components, detection.open_predictions)
    }
}

impl From<DetectionNumbers> for RowDetection {
    fn from((score, alert_score, components, open_predictions): DetectionNumbers) -> Self {
        Self { score, alert_score, components: components.map(of_numbers), open_predictions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(likelihood: f64, discord: f64) -> RowDetection {
        let components = Components {
            likelihood,
            time_of_day: 0.0,
            sustained_elevation: 0.0,
            slow_surprise: 0.0,
            discord,
            maturity: 1.0,
        };
        RowDetection {
            score: 0.25,
            alert_score: 0.0,
            components: Some(components),
            open_predictions: Some(2_048),
        }
    }

    #[test]
    fn the_column_names_what_is_not_zero_in_four_digits() {
        let text = detection(0.012_345_678, 0.0).components_column().expect("components");
        assert_eq!(text, r#"{"A":0.01235,"m":1.0,"p":2048}"#);
        let read = RowDetection::from_columns(Some(0.25), Some(0.0), Some(&text)).expect("a score");
        assert_eq!(read, detection(0.012_35, 0.0));
        assert_eq!(RowDetection::from_columns(None, None, Some(&text)), None);
        let bare = RowDetection { components: None, open_predictions: None, ..read };
        for foreign in [None, Some(""), Some("null"), Some("[1]")] {
            assert_eq!(RowDetection::from_columns(Some(0.25), None, foreign), Some(bare));
        }
    }

    #[test]
    fn the_longest_column_fits() {
        let tiny = 1.234_567e-300;
        let components = Components {
            likelihood: tiny,
            time_of_day: tiny,
            sustained_elevation: tiny,
            slow_surprise: tiny,
            discord: tiny,
            maturity: 0.333_333,
        };
        let longest = RowDetection {
            score: tiny,
            alert_score: tiny,
            components: Some(components),
            open_predictions: Some(2_048),
        };
        assert!(longest.components_column().expect("components").len() <= MAX_COMPONENTS_CHARS);
    }

    #[test]
    fn numbers_keep_every_bit() {
        let sent = detection(0.1 + 0.2, 1.0 / 3.0);
        let text = serde_json::to_string(&DetectionNumbers::from(&sent)).expect("JSON");
        let read: DetectionNumbers = serde_json::from_str(&text).expect("JSON");
        assert_eq!(RowDetection::from(read), sent);
        let shown = serde_json::to_string(&sent).expect("JSON");
        assert!(
            shown.starts_with(r#"{"score":0.25,"alertScore":0.0,"components":{"likelihood":0.30"#),
            "{shown}"
        );
        assert_eq!(serde_json::from_str::<RowDetection>(&shown).expect("JSON"), sent);
    }
}
