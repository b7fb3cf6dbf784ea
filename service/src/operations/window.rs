//! A window of time as people say it: two times, or how long before the other end.

use super::{OperationError, Operations};
use crate::timestamp::parse_time;

/// Seconds of a window that nobody gave a beginning.
pub const DEFAULT_WINDOW_S: i64 = 86_400;

/// A window, both ends inclusive, unix seconds; `since <= until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From here.
    pub since: i64,
    /// To here.
    pub until: i64,
}

impl Operations {
    /// The window between two times. `until` is a time, `now` (as without one) or `newest`: the time of the newest row of
    /// all metrics. `from` is a time or, with a minus sign, a span before `until`, such as `-24h`; a day without one.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for what is neither, or if `from` is later; from the database.
    pub fn window(&self, from: Option<&str>, until: Option<&str>) -> Result<Window, OperationError> {
        let until = match until {
            None | Some("now") => self.now(),
            Some("newest") => self.repository().newest_timestamp()?.unwrap_or_else(|| self.now()),
            Some(text) => self.moment(text)?,
        };
        let since = match from {
            None => until.saturating_sub(DEFAULT_WINDOW_S),
            Some(text) => match text.strip_prefix('-').and_then(span_s) {
                Some(span) => until.saturating_sub(span),
                None => self.moment(text)?,
            },
        };
        if since > until {
            return Err(OperationError::invalid(format!(
                "the window ends before it begins: from is {since}, until is {until}"
            )));
        }
        Ok(Window { since, until })
    }

    /// A time, or a span before now.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for what is neither.
    pub fn moment(&self, text: &str) -> Result<i64, OperationError> {
        if text == "now" {
            return Ok(self.now());
        }
        if let Some(span) = text.strip_prefix('-').and_then(span_s) {
            return Ok(self.now().saturating_sub(span));
        }
        parse_time(text).map_err(|error| {
            OperationError::invalid(format!(
                "{error}, `now`, or a span before it such as -90s, -30min, -24h, -7d, -4w"
            ))
        })
    }
}

/// A whole number with its unit, in seconds; bare numbers are times, not spans.
fn span_s(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit_s = match unit {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(unit_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span_s("24h"), Some(86_400));
        assert_eq!(span_s("30min"), Some(1_800));
        assert_eq!(["7", "h", "1y", "", "99999999999999w"].map(span_s), [None; 5]);
    }
}
