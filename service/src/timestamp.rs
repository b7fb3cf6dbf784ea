//! Unix seconds and the text `YYYY-MM-DD HH:MM:SS` (UTC) that the database shows and people type.
//!
//! The engine counts in whole unix seconds everywhere; text exists only in the `timestamp` columns, whose
//! form is the one MySQL shows for a DATETIME, and on command lines. Only the years 0 to 9999 have a text of
//! that form, so that text order is time order; other times are refused.
//!
//! Source: the original stores naive UTC DATETIME values in whole seconds.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};

/// 0000-01-01 00:00:00 UTC, the first second with a text.
pub const MIN_UNIX_SECONDS: i64 = -62_167_219_200;
/// 9999-12-31 23:59:59 UTC, the last second with a text.
pub const MAX_UNIX_SECONDS: i64 = 253_402_300_799;

/// 1970-01-01 00:00:00. Civil time stands for UTC throughout: unlike `jiff::Timestamp`, which ends a day early
/// to leave room for offsets, it reaches the last second of 9999.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);
/// Longest part of an offending text that an error repeats, in characters.
const MAX_SHOWN_CHARS: usize = 60;
/// Length of `YYYY-MM-DD HH:MM:SS`.
const TEXT_BYTES: usize = 19;

/// The time as `YYYY-MM-DD HH:MM:SS` in UTC.
///
/// # Errors
/// [`TimeError::OutOfRange`] outside the years 0 to 9999.
pub fn format_seconds(unix_seconds: i64) -> Result<String, TimeError> {
    let out_of_range = || TimeError::OutOfRange { unix_seconds };
    if !(MIN_UNIX_SECONDS..=MAX_UNIX_SECONDS).contains(&unix_seconds) {
        return Err(out_of_range());
    }
    let time = EPOCH.checked_add(SignedDuration::from_secs(unix_seconds)).map_err(|_| out_of_range())?;
    // Digits by hand: this runs once per stored row, and the formatting machinery costs as much as the insert.
    let mut text = *b"0000-00-00 00:00:00";
    let year = i32::from(time.year());
    put_two_digits(&mut text, 0, year / 100);
    put_two_digits(&mut text, 2, year % 100);
    put_two_digits(&mut text, 5, i32::from(time.month()));
    put_two_digits(&mut text, 8, i32::from(time.day()));
    put_two_digits(&mut text, 11, i32::from(time.hour()));
    put_two_digits(&mut text, 14, i32::from(time.minute()));
    put_two_digits(&mut text, 17, i32::from(time.second()));
    Ok(text.iter().copied().map(char::from).collect())
}

/// Unix seconds of a text exactly as [`format_seconds`] writes it.
///
/// # Errors
/// [`TimeError::NotATime`] for any other text.
pub fn parse_stored(text: &str) -> Result<i64, TimeError> {
    let not_a_time = || TimeError::NotATime { found: shown(text), expected: "YYYY-MM-DD HH:MM:SS" };
    let bytes = text.as_bytes();
    let has_form = bytes.len() == TEXT_BYTES
        && bytes
            .iter()
            .zip(b"0000-00-00 00:00:00")
            .all(|(&found, &form)| if form == b'0' { found.is_ascii_digit() } else { found == form });
    if !has_form {
        return Err(not_a_time());
    }
    let small = |at: usize| two_digits(bytes, at);
    let year = i16::from(small(0)) * 100 + i16::from(small(2));
    let time = DateTime::new(year, small(5), small(8), small(11), small(14), small(17), 0);
    time.map(unix_seconds_utc).map_err(|_| not_a_time())
}

/// Reads a time from a command line: unix seconds, `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS` (both UTC; `T` may
/// stand for the blank), or RFC 3339 with `Z` or an offset. Fractions of a second are dropped.
///
/// # Errors
/// [`TimeError`] names what was found and what was expected.
pub fn parse_time(text: &str) -> Result<i64, TimeError> {
    let text = text.trim();
    let not_a_time = || TimeError::NotATime {
        found: shown(text),
        expected: "unix seconds, YYYY-MM-DD, YYYY-MM-DD HH:MM:SS (UTC) or YYYY-MM-DDTHH:MM:SS with Z or an offset",
    };
    let unix_seconds = if is_number(text) {
        text.parse::<i64>().map_err(|_| not_a_time())?
    } else if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        // Toward the past, also before 1970, so that a fraction never moves a time forward.
        timestamp.as_second() - i64::from(timestamp.subsec_nanosecond() < 0)
    } else if text.contains('[') {
        // jiff would read the local time and ignore the zone that follows in brackets.
        return Err(not_a_time());
    } else {
        text.parse::<DateTime>().map(unix_seconds_utc).map_err(|_| not_a_time())?
    };
    if (MIN_UNIX_SECONDS..=MAX_UNIX_SECONDS).contains(&unix_seconds) {
        Ok(unix_seconds)
    } else {
        Err(TimeError::OutOfRange { unix_seconds })
    }
}

/// Why a time was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeError {
    /// The text is not a time in any accepted form.
    NotATime {
        /// The text, cut to a bounded length.
        found: String,
        /// The accepted forms.
        expected: &'static str,
    },
    /// The time has no text of the stored form.
    OutOfRange {
        /// The time.
        unix_seconds: i64,
    },
}

impl fmt::Display for TimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATime { found, expected } => {
                write!(formatter, "`{found}` is not a time; expected {expected}")
            }
            Self::OutOfRange { unix_seconds } => write!(
                formatter,
                "{unix_seconds} unix seconds lies outside the years 0 to 9999; expected {MIN_UNIX_SECONDS} to \
                 {MAX_UNIX_SECONDS} (are these milliseconds?)"
            ),
        }
    }
}

impl std::error::Error for TimeError {}

fn put_two_digits(text: &mut [u8; TEXT_BYTES], at: usize, number: i32) {
    // Callers pass calendar fields and halves of a four-digit year, all 0..=99.
    for (offset, digit) in [(0, number / 10), (1, number % 10)] {
        text[at + offset] = b'0' + u8::try_from(digit).unwrap_or(0);
    }
}

fn two_digits(bytes: &[u8], at: usize) -> i8 {
    let digit = |byte: u8| i8::try_from(byte.saturating_sub(b'0')).unwrap_or(0);
    digit(bytes[at]) * 10 + digit(bytes[at + 1])
}

fn unix_seconds_utc(time: DateTime) -> i64 {
    // Without the fraction first, so that one before 1970 moves a time toward the past like any other.
    let whole = time.with().subsec_nanosecond(0).build().unwrap_or(time);
    whole.duration_since(EPOCH).as_secs()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn shown(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).take(MAX_SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats_known_seconds() {
        for (unix_seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (1_386_792_175, "2013-12-11 20:02:55"),
            (951_782_400, "2000-02-29 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (MIN_UNIX_SECONDS, "0000-01-01 00:00:00"),
            (MAX_UNIX_SECONDS, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(format_seconds(unix_seconds).as_deref(), Ok(text));
            assert_eq!(parse_stored(text), Ok(unix_seconds));
            assert_eq!(parse_time(text), Ok(unix_seconds));
        }
    }

    #[test]
    fn refuses_times_without_a_text() {
        for unix_seconds in [MIN_UNIX_SECONDS - 1, MAX_UNIX_SECONDS + 1, i64::MIN, i64::MAX] {
            assert_eq!(format_seconds(unix_seconds), Err(TimeError::OutOfRange { unix_seconds }));
            assert_eq!(parse_time(&unix_seconds.to_string()), Err(TimeError::OutOfRange { unix_seconds }));
        }
        let message = TimeError::OutOfRange { unix_seconds: 1_443_197_361_000 }.to_string();
        assert!(message.contains("1443197361000") && message.contains("milliseconds"), "{message}");
    }

    #[test]
    fn reads_every_form_of_a_command_line() {
        for (text, unix_seconds) in [
            ("1443197361", 1_443_197_361),
            (" -5 ", -5),
            ("2015-09-25", 1_443_139_200),
            ("2015-09-25 16:09:21", 1_443_197_361),
            ("2015-09-25T16:09:21", 1_443_197_361),
            ("2015-09-25T16:09:21Z", 1_443_197_361),
            ("2015-09-25 16:09:21Z", 1_443_197_361),
            ("2015-09-25T16:09:21.9Z", 1_443_197_361),
            ("1969-12-31T23:59:58.5Z", -2),
            ("1969-12-31T23:59:58.5", -2),
            ("2015-09-25T18:09:21+02:00", 1_443_197_361),
            ("2015-09-25T10:09:21-06:00", 1_443_197_361),
        ] {
            assert_eq!(parse_time(text), Ok(unix_seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time_and_says_what_was_expected() {
        for text in
            ["", "yesterday", "12:30PM", "2015-02-30", "2015-13-01", "2015-09-25 25:00:00", "1.5e9", "--5"]
        {
            let error = parse_time(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("YYYY-MM-DD"), "{error}");
        }
        assert!(parse_time("2015-09-25T16:09:21[Europe/Paris]").is_err());
        assert!(parse_time(&"9".repeat(1_000)).expect_err("too long").to_string().len() < 300);
    }

    #[test]
    fn refuses_stored_texts_of_another_form() {
        for text in
            ["2015-09-25", "2015-09-25T16:09:21", "2015-09-25 16:09:60", "2015-9-25 16:09:21 ", "x", ""]
        {
            assert!(parse_stored(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_seconds_round_trip_in_order(
            first in MIN_UNIX_SECONDS..=MAX_UNIX_SECONDS,
            second in MIN_UNIX_SECONDS..=MAX_UNIX_SECONDS,
        ) {
            let texts = [first, second].map(|time| format_seconds(time).expect("in range"));
            prop_assert_eq!(parse_stored(&texts[0]), Ok(first));
            prop_assert_eq!(parse_time(&texts[1]), Ok(second));
            prop_assert_eq!(texts[0].cmp(&texts[1]), first.cmp(&second));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse_time(&text);
            let _ = parse_stored(&text);
        }
    }
}
