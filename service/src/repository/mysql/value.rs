//! Values of MySQL's columns as ours, and back.
//!
//! DATETIME is naive UTC in whole seconds, from the year 1000 on: what the server promises to keep.

use htm_core::ids::ModelId;
use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use mysql_async::{Row, Value};

use crate::repository::RepositoryError;

/// 1000-01-01 00:00:00 UTC.
const MIN_UNIX_SECONDS: i64 = -30_610_224_000;
/// 9999-12-31 23:59:59 UTC.
const MAX_UNIX_SECONDS: i64 = 253_402_300_799;
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// A row's columns, taken one after the other.
pub(super) struct Columns {
    row: Row,
    next: usize,
}

impl Columns {
    /// From the first one on.
    pub(super) fn new(row: Row) -> Self {
        Self { row, next: 0 }
    }

    fn take(&mut self) -> Value {
        self.next += 1;
        self.row.take(self.next - 1).unwrap_or(Value::NULL)
    }

    fn unexpected(&self, found: &Value, expected: &str) -> RepositoryError {
        let column = self.row.columns_ref().get(self.next - 1);
        let name = column.map_or_else(|| "?".to_owned(), |column| column.name_str().into_owned());
        RepositoryError::Rejected {
            reason: format!(
                "column {name} holds {}; expected {expected}: correct it by hand",
                found.as_sql(true)
            ),
        }
    }

    /// Text.
    pub(super) fn text(&mut self) -> Result<Option<String>, RepositoryError> {
        let found = self.take();
        if found == Value::NULL {
            return Ok(None);
        }
        let text = if let Value::Bytes(bytes) = &found { std::str::from_utf8(bytes).ok() } else { None };
        match text {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.unexpected(&found, "text")),
        }
    }

    /// A whole number.
    pub(super) fn integer(&mut self) -> Result<Option<i64>, RepositoryError> {
        let found = self.take();
        let number = match &found {
            Value::NULL => return Ok(None),
            Value::Int(number) => Some(*number),
            Value::UInt(number) => i64::try_from(*number).ok(),
            // MAX() and COALESCE() may come as DECIMAL.
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()),
            Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..) => None,
        };
        number.map(Some).ok_or_else(|| self.unexpected(&found, "a whole number"))
    }

    /// A double.
    pub(super) fn double(&mut self) -> Result<Option<f64>, RepositoryError> {
        let found = self.take();
        match found {
            Value::NULL => Ok(None),
            Value::Double(number) => Ok(Some(number)),
            Value::Float(number) => Ok(Some(f64::from(number))),
            Value::Bytes(_) | Value::Int(_) | Value::UInt(_) | Value::Date(..) | Value::Time(..) => {
                Err(self.unexpected(&found, "a number"))
            }
        }
    }

    /// A DATETIME as unix seconds.
    pub(super) fn time(&mut self) -> Result<i64, RepositoryError> {
        let found = self.take();
        let mut seconds = None;
        if let Value::Date(year, month, day, hour, minute, second, _) = found {
            let parts = [month, day, hour, minute, second].map(|part| i8::try_from(part).unwrap_or(-1));
            let year = i16::try_from(year).unwrap_or(-1);
            let time = DateTime::new(year, parts[0], parts[1], parts[2], parts[3], parts[4], 0);
            seconds = time.ok().map(|time| time.duration_since(EPOCH).as_secs());
        }
        seconds.ok_or_else(|| self.unexpected(&found, "a date and time"))
    }

    /// A column that is never NULL.
    pub(super) fn required<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Option<T>, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        read(self)?.ok_or_else(|| self.unexpected(&Value::NULL, "a value"))
    }
}

/// A sample's time for its column.
///
/// # Errors
/// [`RepositoryError::Rejected`] outside the years 1000 to 9999.
pub(super) fn datetime(id: &ModelId, unix_seconds: i64) -> Result<Value, RepositoryError> {
    if (MIN_UNIX_SECONDS..=MAX_UNIX_SECONDS).contains(&unix_seconds) {
        return Ok(clamped_datetime(unix_seconds));
    }
    Err(RepositoryError::Rejected {
        reason: format!(
            "a sample of metric {id} has time {unix_seconds}; expected unix seconds of the years 1000 to 9999"
        ),
    })
}

/// A bound of a query, which may lie outside what is stored.
pub(super) fn clamped_datetime(unix_seconds: i64) -> Value {
    let inside = unix_seconds.clamp(MIN_UNIX_SECONDS, MAX_UNIX_SECONDS);
    let time = EPOCH.checked_add(SignedDuration::from_secs(inside)).unwrap_or(EPOCH);
    // Calendar fields are never negative in these years.
    let [month, day, hour, minute, second] =
        [time.month(), time.day(), time.hour(), time.minute(), time.second()].map(i8::unsigned_abs);
    Value::Date(time.year().unsigned_abs(), month, day, hour, minute, second, 0)
}

/// Text for its column, or NULL.
pub(super) fn text(value: Option<&str>) -> Value {
    value.map_or(Value::NULL, |text| Value::Bytes(text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_their_calendar_fields() {
        let id = ModelId::new("a").expect("an id");
        let value = |seconds| datetime(&id, seconds).expect("in range");
        assert_eq!(value(1_386_792_175), Value::Date(2013, 12, 11, 20, 2, 55, 0));
        assert_eq!(value(-1), Value::Date(1969, 12, 31, 23, 59, 59, 0));
        assert_eq!(value(MIN_UNIX_SECONDS), Value::Date(1000, 1, 1, 0, 0, 0, 0));
        assert_eq!(value(MAX_UNIX_SECONDS), Value::Date(9999, 12, 31, 23, 59, 59, 0));
        for outside in [MIN_UNIX_SECONDS - 1, MAX_UNIX_SECONDS + 1, i64::MIN, i64::MAX] {
            assert!(matches!(datetime(&id, outside), Err(RepositoryError::Rejected { .. })), "{outside}");
        }
        assert_eq!(clamped_datetime(i64::MAX), value(MAX_UNIX_SECONDS));
    }
}
