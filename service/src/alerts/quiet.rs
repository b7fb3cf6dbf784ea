//! Times at which people are not to be woken: quiet hours that come every week, and maintenance that comes once.
//!
//! Quiet hours are told in the local time of a zone and follow it over changes of the clock: a time that a change skips
//! is moved on by the length of the gap, one that comes twice is meant the first time. Hours that end at or before they
//! begin end on the next day; the days are those on which they begin.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::timestamp::{format_seconds, parse_time};

/// Windows that follow on one another and are taken for one.
const MAX_CHAINED_WINDOWS: usize = 16;
/// Days of the week by their words, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Quiet hours as they are written in a settings file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietFile {
    days: Option<Vec<String>>,
    from: String,
    until: String,
    time_zone: Option<String>,
}

/// Maintenance as it is written in a settings file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceFile {
    from: String,
    until: String,
}

/// Quiet hours.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietHours {
    /// On which days they begin, Monday first.
    days: [bool; 7],
    from: Time,
    until: Time,
    zone: TimeZone,
    zone_name: String,
}

/// Maintenance: once, from and until, unix seconds; the end is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintenance {
    from: i64,
    until: i64,
}

impl QuietHours {
    /// From a settings file.
    ///
    /// # Errors
    /// Found and expected.
    pub fn from_file(file: &QuietFile) -> Result<Self, String> {
        let time = |text: &str| {
            text.parse::<Time>()
                .map_err(|_| format!("quiet hours have the time '{text}'; expected one such as \"22:00\""))
        };
        let zone_name = file.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = TimeZone::get(&zone_name).map_err(|_| {
            format!(
                "quiet hours have the unknown time zone '{zone_name}'; expected one such as \"Europe/Berlin\""
            )
        })?;
        let mut days = [file.days.is_none(); 7];
        for day in file.days.iter().flatten() {
            let found = DAYS.iter().position(|known| *known == day.to_lowercase());
            let idx = found.ok_or_else(|| {
                format!("quiet hours have the day '{day}'; expected some of {}", DAYS.join(", "))
            })?;
            days[idx] = true;
        }
        Ok(Self { days, from: time(&file.from)?, until: time(&file.until)?, zone, zone_name })
    }

    /// When the hours end that hold at this time, unix seconds; `None` if none do.
    pub fn end_of(&self, now: i64) -> Option<i64> {
        let local = Timestamp::from_second(now).ok()?.to_zoned(self.zone.clone());
        let today = local.date();
        let days = [today.checked_sub(1.day()).ok(), Some(today)];
        let windows = days.into_iter().flatten().filter_map(|day| self.beginning_on(day));
        windows.filter(|(from, until)| (*from..*until).contains(&now)).map(|(_, until)| until).max()
    }

    /// The hours that begin on this day, if any do.
    fn beginning_on(&self, day: Date) -> Option<(i64, i64)> {
        let is_named = |weekday: Weekday| {
            let idx = usize::try_from(weekday.to_monday_zero_offset()).unwrap_or_default();
            self.days[idx]
        };
        if !is_named(day.weekday()) {
            return None;
        }
        let last_day = if self.until > self.from { day } else { day.checked_add(1.day()).ok()? };
        Some((self.seconds(day.to_datetime(self.from))?, self.seconds(last_day.to_datetime(self.until))?))
    }

    fn seconds(&self, local: DateTime) -> Option<i64> {
        Some(local.to_zoned(self.zone.clone()).ok()?.timestamp().as_second())
    }

    /// As JSON, for people.
    pub fn shown(&self) -> Value {
        let days: Vec<&str> =
            DAYS.into_iter().zip(self.days).filter(|(_, is_on)| *is_on).map(|(day, _)| day).collect();
        json!({
            "days": days,
            "from": self.from.to_string(),
            "until": self.until.to_string(),
            "time_zone": self.zone_name,
        })
    }
}

impl Maintenance {
    /// From a settings file.
    ///
    /// # Errors
    /// Found and expected.
    pub fn from_file(file: &MaintenanceFile) -> Result<Self, String> {
        let time =
            |text: &str| parse_time(text).map_err(|error| format!("maintenance has a bad time: {error}"));
        let (from, until) = (time(&file.from)?, time(&file.until)?);
        if until <= from {
            return Err(format!(
                "maintenance from '{}' until '{}' is over before it begins; swap them",
                file.from, file.until
            ));
        }
        Ok(Self { from, until })
    }

    /// Whether it goes on at this time.
    pub fn contains(self, now: i64) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// As JSON, for people.
    pub fn shown(self) -> Value {
        let text = |time: i64| format_seconds(time).unwrap_or_else(|_| time.to_string());
        json!({"from": text(self.from), "until": text(self.until)})
    }
}

/// When quiet ends that holds at this time; `None` if it is not quiet. Hours that touch are one.
pub fn quiet_until(hours: &[QuietHours], now: i64) -> Option<i64> {
    let mut end = None;
    for _ in 0..MAX_CHAINED_WINDOWS {
        let at = end.unwrap_or(now);
        match hours.iter().filter_map(|it| it.end_of(at)).max() {
            Some(later) => end = Some(later),
            None => break,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days: Option<&[&str]>, from: &str, until: &str, zone: &str) -> QuietHours {
        let days = days.map(|days| days.iter().map(|day| (*day).to_owned()).collect());
        let (from, until, time_zone) = (from.to_owned(), until.to_owned(), Some(zone.to_owned()));
        QuietHours::from_file(&QuietFile { days, from, until, time_zone }).expect("valid")
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_second()
    }

    #[test]
    fn hours_end_on_the_next_day_if_they_end_before_they_begin() {
        let night = hours(None, "22:00", "06:00", "UTC");
        for (now, end) in [
            ("2026-03-10T21:59:59Z", None),
            ("2026-03-10T22:00:00Z", Some("2026-03-11T06:00:00Z")),
            ("2026-03-11T05:59:59Z", Some("2026-03-11T06:00:00Z")),
            ("2026-03-11T06:00:00Z", None),
        ] {
            assert_eq!(night.end_of(at(now)), end.map(at), "{now}");
        }
        let noon = hours(None, "12:00", "13:00", "UTC");
        assert_eq!(noon.end_of(at("2026-03-10T12:30:00Z")), Some(at("2026-03-10T13:00:00Z")));
        assert_eq!(noon.end_of(at("2026-03-10T13:30:00Z")), None);
    }

    #[test]
    fn days_are_those_on_which_hours_begin() {
        // 2026-03-13 is a Friday.
        let friday = hours(Some(&["fri"]), "22:00", "06:00", "UTC");
        assert_eq!(friday.end_of(at("2026-03-14T03:00:00Z")), Some(at("2026-03-14T06:00:00Z")));
        assert_eq!(friday.end_of(at("2026-03-13T03:00:00Z")), None, "Thursday's night");
        assert_eq!(friday.end_of(at("2026-03-14T23:00:00Z")), None, "Saturday's night");
    }

    #[test]
    fn hours_follow_the_changes_of_the_clock() {
        let night = hours(None, "22:00", "06:00", "Europe/Berlin");
        // Winter: UTC+1. Summer: UTC+2. On 2026-03-29 the clock jumps from 2 to 3, on 2026-10-25 back from 3 to 2.
        for (now, end) in [
            ("2026-03-27T21:00:00Z", Some("2026-03-28T05:00:00Z")),
            ("2026-03-28T21:00:00Z", Some("2026-03-29T04:00:00Z")),
            ("2026-03-28T20:30:00Z", None),
            ("2026-03-29T20:30:00Z", Some("2026-03-30T04:00:00Z")),
            ("2026-10-24T20:00:00Z", Some("2026-10-25T05:00:00Z")),
            ("2026-10-25T20:30:00Z", None),
        ] {
            assert_eq!(night.end_of(at(now)), end.map(at), "{now}");
        }
        // A time that is skipped is moved on, one that comes twice is meant the first time.
        let skipped = hours(None, "02:30", "05:00", "Europe/Berlin");
        assert_eq!(skipped.end_of(at("2026-03-29T01:29:59Z")), None);
        assert_eq!(skipped.end_of(at("2026-03-29T01:30:00Z")), Some(at("2026-03-29T03:00:00Z")));
        let twice = hours(None, "02:30", "05:00", "Europe/Berlin");
        assert_eq!(twice.end_of(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T04:00:00Z")));
        assert_eq!(twice.end_of(at("2026-10-25T00:29:59Z")), None);
    }

    #[test]
    fn windows_that_touch_are_one_and_those_without_end_are_bounded() {
        let weekend = [
            hours(Some(&["sat", "sun"]), "00:00", "00:00", "UTC"),
            hours(Some(&["fri"]), "18:00", "00:00", "UTC"),
        ];
        let end = quiet_until(&weekend, at("2026-03-13T19:00:00Z"));
        assert_eq!(end, Some(at("2026-03-16T00:00:00Z")));
        assert_eq!(quiet_until(&weekend, at("2026-03-16T00:00:00Z")), None);
        let always = [hours(None, "00:00", "00:00", "UTC")];
        assert_eq!(quiet_until(&always, at("2026-03-13T19:00:00Z")), Some(at("2026-03-29T00:00:00Z")));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let file = |days: Option<&str>, from: &str, zone: &str| QuietFile {
            days: days.map(|day| vec![day.to_owned()]),
            from: from.to_owned(),
            until: "06:00".to_owned(),
            time_zone: Some(zone.to_owned()),
        };
        for (file, part) in [
            (file(Some("someday"), "22:00", "UTC"), "'someday'"),
            (file(None, "25:00", "UTC"), "'25:00'"),
            (file(None, "22:00", "Europe/Nowhere"), "'Europe/Nowhere'"),
        ] {
            let error = QuietHours::from_file(&file).expect_err("refused");
            assert!(error.contains(part) && error.contains("expected"), "{error}");
        }
        let backwards = MaintenanceFile {
            from: "2026-03-02 00:00:00".to_owned(),
            until: "2026-03-01 00:00:00".to_owned(),
        };
        assert!(Maintenance::from_file(&backwards).expect_err("refused").contains("over before"));
        let once = MaintenanceFile {
            from: "2026-03-01 00:00:00".to_owned(),
            until: "2026-03-02 00:00:00".to_owned(),
        };
        let once = Maintenance::from_file(&once).expect("valid");
        assert!(once.contains(at("2026-03-01T00:00:00Z")) && !once.contains(at("2026-03-02T00:00:00Z")));
    }
}
