//! What a classifier expects of the rows to come: the text of column `multi_step_best_predictions` and of the key
//! `multiStepBestPredictions` in results.
//!
//! Invariant: steps are ascending and distinct, values are finite.
//!
//! Source: the original keyed an object by the number of steps, as text: `{"1": 19539.0}`.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Steps ahead and the most likely value then; `None` while the classifier cannot say.
#[derive(Debug, Clone, PartialEq)]
pub struct BestPredictions {
    predictions: Box<[(u32, Option<f64>)]>,
}

impl BestPredictions {
    /// Of these steps, in any order; of several with the same number the last one counts. Values that are not finite
    /// become `None`.
    pub fn new(predictions: impl IntoIterator<Item = (u32, Option<f64>)>) -> Self {
        let finite =
            predictions.into_iter().map(|(steps, value)| (steps, value.filter(|value| value.is_finite())));
        let by_steps: std::collections::BTreeMap<u32, Option<f64>> = finite.collect();
        Self { predictions: by_steps.into_iter().collect() }
    }

    /// Ascending by steps.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<f64>)> + '_ {
        self.predictions.iter().copied()
    }

    /// The text of the column; of a row without predictions that is `null`, as in the original.
    ///
    /// # Panics
    /// Never: finite numbers are always JSON.
    pub fn column_text(predictions: Option<&Self>) -> String {
        serde_json::to_string(&predictions).expect("finite numbers are always JSON")
    }

    /// Reads the column: `None` for SQL NULL (not scored), for `null`, and for a text that is none of ours.
    pub fn from_column(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok().flatten()
    }
}

impl Serialize for BestPredictions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.predictions.len()))?;
        for (steps, value) in &self.predictions {
            map.serialize_entry(&steps.to_string(), value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for BestPredictions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByStep;
        impl<'de> Visitor<'de> for ByStep {
            type Value = BestPredictions;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of steps and values, such as {\"1\": 6.0}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BestPredictions, A::Error> {
                let mut predictions = Vec::new();
                while let Some((steps, value)) = map.next_entry::<String, Option<f64>>()? {
                    let steps = steps.parse().map_err(|_| {
                        A::Error::custom(format!("`{}` is no number of steps", steps.escape_debug()))
                    })?;
                    predictions.push((steps, value));
                }
                Ok(BestPredictions::new(predictions))
            }
        }
        deserializer.deserialize_map(ByStep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_reads_back_what_was_written() {
        let predictions = BestPredictions::new([(5, None), (1, Some(19_539.0)), (3, Some(f64::NAN))]);
        let text = BestPredictions::column_text(Some(&predictions));
        assert_eq!(text, r#"{"1":19539.0,"3":null,"5":null}"#);
        assert_eq!(BestPredictions::from_column(Some(&text)), Some(predictions));
        assert_eq!(BestPredictions::column_text(None), "null");
        for other in [None, Some("null"), Some("{\"a\": 1}"), Some("7"), Some("")] {
            assert_eq!(BestPredictions::from_column(other), None);
        }
    }
}
