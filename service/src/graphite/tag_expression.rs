//! Conditions on tags: `name=cpu`, `host!=a`, `dc=~eu-.*`, `env!=~test|dev`.
//!
//! Source: graphite-web's `tags/base`: a regular expression is anchored at the start of the value; a condition that the
//! empty text meets is met by series without the tag; one condition of a search must not be met by the empty text.
//! Departure: expressions are Rust's, without look-around and back references, so that matching takes linear time.

use regex::{Regex, RegexBuilder};

use crate::operations::OperationError;

/// Most conditions of one search.
pub(crate) const MAX_TAG_EXPRESSIONS: usize = 100;
/// Longest condition.
const MAX_EXPRESSION_BYTES: usize = 10_000;
/// Memory of one compiled regular expression.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// One condition.
#[derive(Debug)]
pub(crate) struct TagExpression {
    /// The tag.
    pub(crate) tag: String,
    condition: Condition,
    is_negated: bool,
}

#[derive(Debug)]
enum Condition {
    Equal(String),
    Matches(Regex),
}

impl TagExpression {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] says what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, OperationError> {
        let refused = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            OperationError::invalid(format!(
                "tag expression `{}`: {why}; expected tag=value, tag!=value, tag=~regex or tag!=~regex",
                shown.escape_debug()
            ))
        };
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(refused("it is too long"));
        }
        let at = text.find(['=', '!']).ok_or_else(|| refused("it has no operator"))?;
        let (tag, rest) = text.split_at(at);
        let is_negated = rest.starts_with('!');
        let rest = rest.strip_prefix('!').unwrap_or(rest);
        let rest = rest.strip_prefix('=').ok_or_else(|| refused("its operator is none"))?;
        if tag.is_empty() || tag.contains(';') || rest.contains(';') {
            return Err(refused("it has no tag, or a semicolon"));
        }
        let condition = match rest.strip_prefix('~') {
            None => Condition::Equal(rest.to_owned()),
            Some(pattern) => Condition::Matches(anchored(pattern).map_err(|error| refused(&error))?),
        };
        Ok(Self { tag: tag.to_owned(), condition, is_negated })
    }

    /// Whether a series with this value of the tag meets it; the empty text stands for no such tag.
    pub(crate) fn is_met_by(&self, value: &str) -> bool {
        let is_met = match &self.condition {
            Condition::Equal(wanted) => wanted == value,
            Condition::Matches(regex) => regex.is_match(value),
        };
        is_met != self.is_negated
    }
}

/// Reads all conditions of a search.
///
/// # Errors
/// [`OperationError::InvalidArgument`] for a bad one, for too many, and when series without any tag would meet them all.
pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<TagExpression>, OperationError> {
    if texts.len() > MAX_TAG_EXPRESSIONS {
        return Err(OperationError::invalid(format!(
            "{} tag expressions; at most {MAX_TAG_EXPRESSIONS} are taken",
            texts.len()
        )));
    }
    let expressions = texts.iter().map(|text| TagExpression::new(text)).collect::<Result<Vec<_>, _>>()?;
    if expressions.iter().all(|expression| expression.is_met_by("")) {
        return Err(OperationError::invalid(
            "tag expressions: one of them must ask for a tag that is there, such as name=~.+",
        ));
    }
    Ok(expressions)
}

/// A regular expression anchored at the start.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, String> {
    compiled(&format!("^(?:{pattern})"))
}

/// A regular expression within a bound of memory.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compiled(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|error| {
        let lines: Vec<String> = error.to_string().lines().map(|line| line.trim().to_owned()).collect();
        format!("the regular expression cannot be used ({})", lines.last().map_or("", String::as_str))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_graphite() {
        for (text, met, unmet) in [
            ("host=a", &["a"][..], &["b", ""][..]),
            ("host!=a", &["b", ""], &["a"]),
            ("host=", &[""], &["a"]),
            ("host=~a|b", &["a", "bc"], &["ca", ""]),
            ("host!=~a", &["b", "ba", ""], &["ab"]),
            ("host=~^a$", &["a"], &["ab"]),
            ("host=x=~y", &["x=~y"], &["x"]),
        ] {
            let expression = TagExpression::new(text).expect(text);
            assert_eq!(expression.tag, "host");
            for value in met {
                assert!(expression.is_met_by(value), "{text} {value}");
            }
            for value in unmet {
                assert!(!expression.is_met_by(value), "{text} {value}");
            }
        }
    }

    #[test]
    fn bad_conditions_are_refused_with_a_reason() {
        for (text, reason) in [
            ("host", "no operator"),
            ("=a", "no tag"),
            ("a!b", "operator is none"),
            ("a=b;c=d", "semicolon"),
            ("a=~(", "regular expression"),
            ("a=~(?=b)", "regular expression"),
            ("a=~(((a{1000}){1000}){1000})", "regular expression"),
        ] {
            let error = TagExpression::new(text).expect_err(text).to_string();
            assert!(error.contains(reason) && error.contains("expected tag=value"), "{text}: {error}");
        }
        let all =
            |texts: &[&str]| parse_all(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert!(all(&["host!=a", "dc=~.*"]).is_err() && all(&[]).is_err());
        assert_eq!(all(&["host!=a", "name=cpu"]).expect("one asks for a name").len(), 2);
        assert!(all(&["a=b"; MAX_TAG_EXPRESSIONS + 1]).is_err());
    }
}
