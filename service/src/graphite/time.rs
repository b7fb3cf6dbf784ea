//! The times of `from` and `until`: `-1h`, `now-7d`, `noon yesterday`, `04:00_20110501`, `20110501`, unix seconds.
//!
//! A time is a reference and an offset. References: `now` (or nothing), a time of day (`HH:MM` with `am` or `pm` after it,
//! `6am`, `noon`, `midnight`, `teatime`), and after it a day (`today`, `yesterday`, `tomorrow`, `YYYYMMDD`, `MM/DD/YYYY`,
//! `jan5`, `monday`); days without a time of day begin at midnight. Offsets: a sign, then numbers with units (`s`, `min`,
//! `h`, `d`, `w`, `mon`, `y` and anything that begins with these). Blanks, `_` and `,` mean nothing, nor does case.
//!
//! Source: graphite-web's `render/attime`: a month is 30 days, a year 365, offsets are exact seconds, `12:30pm` is half past
//! midnight and `YYYY` before 1970 is in the next century, as there.
//! Departures: fractions of unix seconds are dropped, not refused; a local time that a change of clocks skips is the one
//! after the gap; anything outside the years 0 to 9999 is refused.

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::operations::OperationError;
use crate::timestamp::{MAX_UNIX_SECONDS, MIN_UNIX_SECONDS};

/// Longest interval: a hundred years of 365 days.
const MAX_INTERVAL_S: i64 = 3_153_600_000;
/// Longest text of a time.
const MAX_TIME_BYTES: usize = 100;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
/// Prefixes of units, longest first where one begins another, and their seconds.
const UNITS: [(&str, i64); 7] = [
    ("s", 1),
    ("min", 60),
    ("h", 3_600),
    ("d", 86_400),
    ("w", 604_800),
    ("mon", 2_592_000),
    ("y", 31_536_000),
];

/// Unix seconds of a time of `from` or `until`.
///
/// # Errors
/// [`OperationError::InvalidArgument`] says what is wrong with it.
pub(crate) fn parse_time(text: &str, zone: &TimeZone, now: i64) -> Result<i64, OperationError> {
    let refused = |why: &str| {
        let shown: String = text.chars().take(60).collect();
        OperationError::invalid(format!(
            "`{}` is no time: {why}; expected unix seconds, an offset such as -1h or -7d, now, noon yesterday, \
             HH:MM_YYYYMMDD or YYYYMMDD",
            shown.escape_debug()
        ))
    };
    if text.len() > MAX_TIME_BYTES {
        return Err(refused("it is too long"));
    }
    let bare: String =
        text.trim().to_lowercase().chars().filter(|character| !"_, ".contains(*character)).collect();
    let in_range = |seconds: i64| {
        let is_inside = (MIN_UNIX_SECONDS..=MAX_UNIX_SECONDS).contains(&seconds);
        let far = "it lies outside the years 0 to 9999 (are these milliseconds?)";
        if is_inside { Ok(seconds) } else { Err(refused(far)) }
    };
    if let Some(seconds) = unix_seconds(&bare) {
        return in_range(seconds);
    }
    let at = bare.find('+').or_else(|| bare.find('-')).unwrap_or(bare.len());
    let (reference, offset) = bare.split_at(at);
    let reference = reference_seconds(reference, zone, now).map_err(refused)?;
    let offset = offset_seconds(offset).map_err(refused)?;
    in_range(reference.saturating_add(offset))
}

/// Seconds of an interval such as `1h` or `-7d`; without a sign it is positive.
///
/// # Errors
/// [`OperationError::InvalidArgument`] for any other text.
pub(crate) fn parse_interval(text: &str) -> Result<i64, OperationError> {
    let bare = text.trim().to_lowercase();
    let seconds = if text.len() > MAX_TIME_BYTES { Err("it is too long") } else { offset_seconds(&bare) };
    let in_range = |seconds: i64| {
        let is_short = (-MAX_INTERVAL_S..=MAX_INTERVAL_S).contains(&seconds);
        if is_short { Ok(seconds) } else { Err("it is longer than 100 years") }
    };
    seconds.and_then(in_range).map_err(|why| {
        let shown: String = text.chars().take(60).collect();
        OperationError::invalid(format!(
            "`{}` is no interval: {why}; expected for example 10min, 1h, 1d, 2w",
            shown.escape_debug()
        ))
    })
}

/// A time zone by its name.
///
/// # Errors
/// [`OperationError::InvalidArgument`] for an unknown one.
pub(crate) fn zone(name: &str) -> Result<TimeZone, OperationError> {
    TimeZone::get(name).map_err(|_| {
        let shown: String = name.chars().take(60).collect();
        OperationError::invalid(format!(
            "tz `{}` is no time zone; expected a name such as Europe/Berlin or UTC",
            shown.escape_debug()
        ))
    })
}

/// Whole seconds, unless the text is a date; numbers too large for any time are the largest.
fn unix_seconds(text: &str) -> Option<i64> {
    let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
        if fraction.bytes().all(|byte| byte.is_ascii_digit()) { whole } else { text }
    });
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to).and_then(|part| part.parse::<i64>().ok());
    let is_date = whole.len() == 8
        && part(0, 4).is_some_and(|year| year > 1900)
        && part(4, 6).is_some_and(|month| month < 13)
        && part(6, 8).is_some_and(|day| day < 32);
    if is_date { None } else { Some(whole.parse().unwrap_or(i64::MAX)) }
}

fn reference_seconds(text: &str, zone: &TimeZone, now: i64) -> Result<i64, &'static str> {
    if text.is_empty() || text == "now" {
        return Ok(now);
    }
    let local =
        Timestamp::from_second(now).map_err(|_| "the clock is wrong")?.to_zoned(zone.clone()).datetime();
    let (hour, minute, day) = time_of_day(text)?;
    let midnight = local.with().hour(0).minute(0).second(0).subsec_nanosecond(0).build();
    let date = day_of(day, midnight.map_err(|_| "there is no such day")?)?;
    let moment = date.with().hour(hour).minute(minute).build().map_err(|_| "there is no such time of day")?;
    let zoned = moment.to_zoned(zone.clone()).map_err(|_| "there is no such time")?;
    Ok(zoned.timestamp().as_second())
}

/// Hour, minute, and what is left: the day.
fn time_of_day(text: &str) -> Result<(i8, i8, &str), &'static str> {
    const BAD: &str = "its time of day is none";
    let (mut hour, mut minute, mut rest) = (0, 0, text);
    if let Some(at) = text.find(':').filter(|at| (1..3).contains(at)) {
        hour = text[..at].parse().map_err(|_| BAD)?;
        minute = text.get(at + 1..at + 3).and_then(|digits| digits.parse().ok()).ok_or(BAD)?;
        rest = &text[at + 3..];
        if let Some(after) = rest.strip_prefix("am") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("pm") {
            hour = afternoon(hour);
            rest = after;
        }
    }
    for (mark, is_afternoon) in [("am", false), ("pm", true)] {
        if let Some(at) = rest.find(mark).filter(|at| (1..3).contains(at))
            && let Ok(found) = rest[..at].parse()
        {
            hour = if is_afternoon { afternoon(found) } else { found };
            rest = &rest[at + 2..];
        }
    }
    for (word, named) in [("noon", 12), ("midnight", 0), ("teatime", 16)] {
        if let Some(after) = rest.strip_prefix(word) {
            return Ok((named, 0, after));
        }
    }
    Ok((hour, minute, rest))
}

fn afternoon(hour: i8) -> i8 {
    hour.saturating_add(12) % 24
}

fn day_of(text: &str, today: DateTime) -> Result<DateTime, &'static str> {
    const BAD: &str = "its day is none";
    let days = |count: i64| today.checked_add(Span::new().days(count)).map_err(|_| BAD);
    let of = |year: i16, month: i8, day: i8| DateTime::new(year, month, day, 0, 0, 0, 0).map_err(|_| BAD);
    match text {
        "" | "today" => return Ok(today),
        "yesterday" => return days(-1),
        "tomorrow" => return days(1),
        _ => {}
    }
    if let [month, day, year] = text.split('/').collect::<Vec<_>>()[..] {
        let mut year: i16 = year.parse().map_err(|_| BAD)?;
        year = if year < 1900 { year.saturating_add(1900) } else { year };
        year = if year < 1970 { year + 100 } else { year };
        return of(year, month.parse().map_err(|_| BAD)?, day.parse().map_err(|_| BAD)?);
    }
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let part = |from: usize, to: usize| text[from..to].parse::<i8>().map_err(|_| BAD);
        return of(text[..4].parse().map_err(|_| BAD)?, part(4, 6)?, part(6, 8)?);
    }
    let prefix = text.get(..3).unwrap_or_default();
    if let Some(month) = (1..).zip(MONTHS).find(|(_, name)| *name == prefix).map(|(number, _)| number) {
        let digits = text.trim_start_matches(|character: char| !character.is_ascii_digit());
        let day = digits.parse().map_err(|_| "a day must follow the month")?;
        return of(today.year(), month, day);
    }
    if let Some((_, weekday)) = WEEKDAYS.iter().find(|(name, _)| *name == prefix) {
        return days(-i64::from(weekday.until(today.weekday())));
    }
    Err(BAD)
}

fn offset_seconds(text: &str) -> Result<i64, &'static str> {
    const BAD: &str = "its offset is none, expected a number and a unit";
    if text.is_empty() {
        return Ok(0);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut sum = 0_i64;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().map_err(|_| BAD)?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[..letters];
        let known = UNITS.iter().find(|(prefix, _)| unit.starts_with(prefix));
        let (_, seconds) = known.ok_or("its unit is none of s, min, h, d, w, mon, y")?;
        let part = count.checked_mul(*seconds).and_then(|part| part.checked_mul(sign));
        sum = part.and_then(|part| sum.checked_add(part)).ok_or("it is too far away")?;
        rest = &rest[letters..];
        if rest.is_empty() {
            return Ok(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2015-09-25 16:09:21 UTC, a Friday; 18:09:21 in Berlin.
    const NOW: i64 = 1_443_197_361;
    const DAY: i64 = 86_400;
    /// 2015-09-25 00:00:00 UTC.
    const TODAY: i64 = 1_443_139_200;

    #[track_caller]
    fn check(text: &str, expected: i64) {
        assert_eq!(parse_time(text, &TimeZone::UTC, NOW).map_err(|e| e.to_string()), Ok(expected), "{text}");
    }

    #[test]
    fn offsets_count_from_now() {
        for (text, offset) in [
            ("now", 0),
            ("", 0),
            ("-1h", -3_600),
            ("now-1h", -3_600),
            ("NOW - 30min", -1_800),
            ("-7d", -7 * DAY),
            ("-2weeks", -14 * DAY),
            ("-1mon", -30 * DAY),
            ("-1y", -365 * DAY),
            ("-1d12h", -DAY - 43_200),
            ("-10s", -10),
            ("+1minute", 60),
        ] {
            check(text, NOW + offset);
        }
    }

    #[test]
    fn numbers_are_unix_seconds_unless_they_are_dates() {
        check("1443197361", NOW);
        check("1443197361.75", NOW);
        check("0", 0);
        check("20150925", TODAY);
        check("20151399", 20_151_399);
    }

    #[test]
    fn days_and_times_of_day_are_references() {
        for (text, expected) in [
            ("today", TODAY),
            ("midnight", TODAY),
            ("noon", TODAY + DAY / 2),
            ("teatime", TODAY + 16 * 3_600),
            ("yesterday", TODAY - DAY),
            ("noon_yesterday", TODAY - DAY / 2),
            ("noon tomorrow", TODAY + DAY + DAY / 2),
            ("04:30_20150924", TODAY - DAY + 16_200),
            ("4:30pm", TODAY + 16 * 3_600 + 1_800),
            ("6am", TODAY + 6 * 3_600),
            ("6pm+today", 0),
            ("09/24/2015", TODAY - DAY),
            ("09/24/15", TODAY - DAY),
            ("sep24", TODAY - DAY),
            ("september 24", TODAY - DAY),
            ("friday", TODAY),
            ("monday", TODAY - 4 * DAY),
            ("saturday", TODAY - 6 * DAY),
            ("today-1h", TODAY - 3_600),
            ("20150925-1d", TODAY - DAY),
        ] {
            if expected == 0 {
                assert!(parse_time(text, &TimeZone::UTC, NOW).is_err(), "{text}");
            } else {
                check(text, expected);
            }
        }
    }

    #[test]
    fn days_begin_at_midnight_of_their_zone() {
        let berlin = zone("Europe/Berlin").expect("a zone");
        assert_eq!(parse_time("today", &berlin, NOW), Ok(TODAY - 7_200));
        // Summer time ends on 2015-10-25: midnight is at +2, the next midnight at +1.
        assert_eq!(parse_time("20151025", &berlin, NOW), Ok(1_445_724_000));
        assert_eq!(parse_time("20151026", &berlin, NOW), Ok(1_445_724_000 + 25 * 3_600));
        assert!(zone("utc").is_ok() && zone("Mars/Base").is_err());
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        for (text, reason) in [
            ("-5m", "unit"),
            ("-1", "unit"),
            ("-h", "offset"),
            ("someday", "day"),
            ("1443197361000", "milliseconds"),
            ("99999999999999999999", "milliseconds"),
            ("-9999999y", "milliseconds"),
            ("-99999999999999y", "too far"),
            ("25:00_20150925", "time of day"),
            ("jan", "must follow"),
            ("20150931", "day"),
        ] {
            let error = parse_time(text, &TimeZone::UTC, NOW).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(parse_interval("1h30min"), Ok(5_400));
        assert_eq!(parse_interval("-1d"), Ok(-DAY));
        assert!(parse_interval("soon").is_err());
        let error = parse_interval("101y").expect_err("too long").to_string();
        assert!(error.contains("100 years"), "{error}");
    }

    proptest! {
        #[test]
        fn no_time_panics(text in "[0-9a-z:/+_ -]{0,20}|\\PC{0,20}") {
            let _ = parse_time(&text, &TimeZone::UTC, NOW);
            let _ = parse_interval(&text);
        }
    }
}
