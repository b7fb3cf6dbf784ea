//! Parts of a timestamp, each through a scalar encoder: season, day of week, weekend, custom days, holiday, time of
//! day, in this order.
//!
//! Timestamps are read as they are (UTC); seconds matter for holidays only.
//!
//! Source: `date.py` of nupic's encoders. Departure: at most [`MAX_HOLIDAYS`] holidays.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::scalar::ScalarEncoder;
use crate::params::ParamsError;
use crate::sdr::Sdr;

/// Most holidays of one encoder.
pub const MAX_HOLIDAYS: usize = 64;

const DAY_S: i64 = 86_400;

/// A day of every year, or of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    /// `None` for every year.
    pub year: Option<i16>,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

/// The holiday of the reference if none are given: 25 December.
pub const CHRISTMAS: Holiday = Holiday { year: None, month: 12, day: 25 };

impl Holiday {
    /// Whether there is such a day, in a leap year if it is of every year.
    pub fn is_possible(self) -> bool {
        Date::new(self.year.unwrap_or(2000), self.month, self.day).is_ok()
    }

    fn midnight(self, year: i16) -> Option<i64> {
        let date = Date::new(self.year.unwrap_or(year), self.month, self.day).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    }
}

/// The encoder; it has no state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DateEncoder {
    /// See [`season`].
    pub season: Option<ScalarEncoder>,
    /// See [`day_of_week`].
    pub day_of_week: Option<ScalarEncoder>,
    /// See [`weekend`].
    pub weekend: Option<ScalarEncoder>,
    /// See [`weekend`], and the weekdays that count, Monday being 0.
    pub custom_days: Option<(ScalarEncoder, Vec<u8>)>,
    /// See [`weekend`], and the holidays; the days before and after one count in part.
    pub holiday: Option<(ScalarEncoder, Vec<Holiday>)>,
    /// See [`time_of_day`].
    pub time_of_day: Option<ScalarEncoder>,
}

/// Day of the year, from 0, on a ring of 366; the reference's usual radius is 91.5.
///
/// # Errors
/// As [`ScalarEncoder::with_radius`].
pub fn season(run_bits: usize, radius_days: f64) -> Result<ScalarEncoder, ParamsError> {
    ScalarEncoder::with_radius(run_bits, 0.0, 366.0, radius_days, true)
}

/// Monday 0 to Sunday 6 plus the share of the day, on a ring of 7.
///
/// # Errors
/// As [`ScalarEncoder::with_radius`].
pub fn day_of_week(run_bits: usize, radius_days: f64) -> Result<ScalarEncoder, ParamsError> {
    ScalarEncoder::with_radius(run_bits, 0.0, 7.0, radius_days, true)
}

/// 1 on Saturday, Sunday and Friday after 18:00, else 0. Custom days and holidays have the same range.
///
/// # Errors
/// As [`ScalarEncoder::with_radius`].
pub fn weekend(run_bits: usize, radius: f64) -> Result<ScalarEncoder, ParamsError> {
    ScalarEncoder::with_radius(run_bits, 0.0, 1.0, radius, false)
}

/// Hours since midnight, minutes included, on a ring of 24.
///
/// # Errors
/// As [`ScalarEncoder::with_radius`].
pub fn time_of_day(run_bits: usize, radius_hours: f64) -> Result<ScalarEncoder, ParamsError> {
    ScalarEncoder::with_radius(run_bits, 0.0, 24.0, radius_hours, true)
}

impl DateEncoder {
    /// Number of bits.
    pub fn width(&self) -> usize {
        self.parts().map(ScalarEncoder::width).sum()
    }

    /// Sets the bits of `timestamp` (unix seconds UTC) at `offset`.
    ///
    /// # Panics
    /// If the timestamp lies outside the years -9999 to 9999.
    pub fn encode(&self, timestamp: i64, offset: usize, sdr: &mut Sdr) {
        let time = Timestamp::from_second(timestamp).expect("a timestamp between the years -9999 and 9999");
        let time = TimeZone::UTC.to_datetime(time);
        let mut offset = offset;
        for (encoder, value) in self.parts().zip(self.values(time, timestamp)) {
            encoder.encode(value, offset, sdr).expect("every part of a date lies in its range");
            offset += encoder.width();
        }
    }

    fn parts(&self) -> impl Iterator<Item = &ScalarEncoder> {
        let custom_days = self.custom_days.as_ref().map(|(encoder, _)| encoder);
        let holiday = self.holiday.as_ref().map(|(encoder, _)| encoder);
        let (season, day_of_week) = (self.season.as_ref(), self.day_of_week.as_ref());
        let (weekend, time_of_day) = (self.weekend.as_ref(), self.time_of_day.as_ref());
        [season, day_of_week, weekend, custom_days, holiday, time_of_day].into_iter().flatten()
    }

    /// The values of the parts there are, in their order.
    fn values(&self, time: DateTime, timestamp: i64) -> impl Iterator<Item = f64> {
        [
            self.season.as_ref().map(|_| f64::from(time.date().day_of_year() - 1)),
            self.day_of_week.as_ref().map(|_| weekday_and_time(time)),
            self.weekend.as_ref().map(|_| is_weekend(time)),
            self.custom_days.as_ref().map(|(_, days)| is_custom_day(time, days)),
            self.holiday.as_ref().map(|(_, holidays)| nearness_of_holiday(time, timestamp, holidays)),
            self.time_of_day.as_ref().map(|_| hours(time)),
        ]
        .into_iter()
        .flatten()
    }
}

fn hours(time: DateTime) -> f64 {
    f64::from(time.hour()) + f64::from(time.minute()) / 60.0
}

fn weekday_and_time(time: DateTime) -> f64 {
    f64::from(time.weekday().to_monday_zero_offset()) + hours(time) / 24.0
}

fn is_weekend(time: DateTime) -> f64 {
    let is_weekend = match time.weekday() {
        Weekday::Saturday | Weekday::Sunday => true,
        Weekday::Friday => hours(time) > 18.0,
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday => false,
    };
    f64::from(u8::from(is_weekend))
}

fn is_custom_day(time: DateTime, days: &[u8]) -> f64 {
    let weekday = time.weekday().to_monday_zero_offset();
    f64::from(u8::from(days.iter().any(|&day| i64::from(day) == i64::from(weekday))))
}

/// 1 on a holiday, rising to it on the day before and falling on the day after. The first holiday that is at most
/// two days past ends the search, as in the reference; one ahead does not.
fn nearness_of_holiday(time: DateTime, timestamp: i64, holidays: &[Holiday]) -> f64 {
    let mut nearness = 0.0;
    for midnight in holidays.iter().filter_map(|holiday| holiday.midnight(time.year())) {
        let past = timestamp - midnight;
        #[expect(clippy::cast_precision_loss, reason = "seconds of a day")]
        let share_of_day = (past.unsigned_abs() % DAY_S.unsigned_abs()) as f64 / 86_400.0;
        match past {
            1..DAY_S => return 1.0,
            DAY_S..172_800 => return 1.0 - share_of_day,
            past if past <= 0 && past > -DAY_S => nearness = 1.0 - share_of_day,
            _ => {}
        }
    }
    nearness
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    /// 2014-07-01 00:00:00, a Tuesday.
    const TUESDAY: i64 = 1_404_172_800;

    fn bits(encoder: &DateEncoder, timestamp: i64) -> Vec<usize> {
        let mut sdr = Sdr::new(encoder.width());
        encoder.encode(timestamp, 0, &mut sdr);
        sdr.active_bits().collect()
    }

    fn time_bits(seconds: i64) -> Vec<usize> {
        let encoder = time_of_day(21, 9.49).expect("valid");
        bits(&DateEncoder { time_of_day: Some(encoder), ..DateEncoder::default() }, TUESDAY + seconds)
    }

    #[test]
    fn time_of_day_equals_the_reference() {
        assert_eq!(time_bits(0), (0..=10).chain(44..=53).collect::<Vec<_>>());
        assert_eq!(time_bits(30 * 60), (0..=11).chain(45..=53).collect::<Vec<_>>());
        assert_eq!(time_bits(12 * 3600), (17..=37).collect::<Vec<_>>());
        assert_eq!(time_bits(DAY - 60), (0..=9).chain(43..=53).collect::<Vec<_>>());
    }

    #[test]
    fn seconds_do_not_matter() {
        assert_eq!(time_bits(12 * 3600), time_bits(12 * 3600 + 59));
    }

    #[test]
    fn widths_equal_the_reference() {
        assert_eq!(time_of_day(21, 9.49).expect("valid").width(), 54);
        assert_eq!(season(21, 91.5).expect("valid").width(), 84);
        assert_eq!(day_of_week(21, 1.0).expect("valid").width(), 147);
        assert_eq!(weekend(21, 1.0).expect("valid").width(), 42);
    }

    #[test]
    fn the_weekend_starts_on_friday_after_six() {
        let encoder =
            || DateEncoder { weekend: Some(weekend(21, 1.0).expect("valid")), ..DateEncoder::default() };
        let weekday: Vec<usize> = (0..21).collect();
        let friday = TUESDAY + 3 * DAY;
        assert_eq!(bits(&encoder(), friday + 18 * 3600), weekday);
        let free: Vec<usize> = (21..42).collect();
        assert_eq!(bits(&encoder(), friday + 18 * 3600 + 60), free);
        assert_eq!(bits(&encoder(), friday + 2 * DAY), free);
        assert_eq!(bits(&encoder(), friday + 3 * DAY), weekday);
    }

    #[test]
    fn season_and_day_of_week_turn_on_their_ring() {
        let season = DateEncoder { season: Some(season(21, 91.5).expect("valid")), ..DateEncoder::default() };
        // 1 January is day 0: the run lies around bit 0.
        assert_eq!(bits(&season, 1_388_534_400), (0..=10).chain(74..=83).collect::<Vec<_>>());
        let week =
            DateEncoder { day_of_week: Some(day_of_week(21, 1.0).expect("valid")), ..DateEncoder::default() };
        // Tuesday 00:00 is 1.0 of 7 on 147 bits.
        assert_eq!(bits(&week, TUESDAY), (11..=31).collect::<Vec<_>>());
    }

    #[test]
    fn parts_come_in_the_order_of_the_reference() {
        let all = DateEncoder {
            season: Some(season(21, 91.5).expect("valid")),
            day_of_week: Some(day_of_week(21, 1.0).expect("valid")),
            weekend: Some(weekend(21, 1.0).expect("valid")),
            custom_days: Some((weekend(21, 1.0).expect("valid"), vec![1])),
            holiday: Some((weekend(21, 1.0).expect("valid"), vec![CHRISTMAS])),
            time_of_day: Some(time_of_day(21, 9.49).expect("valid")),
        };
        let found = bits(&all, TUESDAY + 12 * 3600);
        let runs = [0..84, 84..231, 231..273, 273..315, 315..357, 357..411];
        for run in runs {
            assert_eq!(found.iter().filter(|&&bit| run.contains(&bit)).count(), 21);
        }
        assert_eq!(found[63..84], (273 + 21..273 + 42).collect::<Vec<_>>(), "Tuesday is a custom day");
        assert_eq!(found[84..105], (315..315 + 21).collect::<Vec<_>>(), "1 July is no holiday");
        assert_eq!(found[105..], (357 + 17..=357 + 37).collect::<Vec<_>>());
    }

    #[test]
    fn holidays_come_near_and_go() {
        /// 2014-12-25 00:00:00.
        const HOLIDAY: i64 = 1_419_465_600;
        let nearness = |seconds: i64| {
            let timestamp = HOLIDAY + seconds;
            let time = TimeZone::UTC.to_datetime(Timestamp::from_second(timestamp).expect("a time"));
            nearness_of_holiday(time, timestamp, &[CHRISTMAS])
        };
        for (hours, expected) in
            [(-48, 0.0), (-24, 0.0), (-12, 0.5), (0, 1.0), (12, 1.0), (24, 1.0), (36, 0.5), (48, 0.0)]
        {
            let found = nearness(hours * 3600);
            assert!((found - expected).abs() < 1e-12, "{hours} hours: {found}");
        }
        let leap_day = Holiday { year: None, month: 2, day: 29 };
        assert!(leap_day.is_possible() && leap_day.midnight(2014).is_none());
        assert!(!Holiday { year: Some(2014), ..leap_day }.is_possible());
    }
}
