//! Parts of a timestamp, each through a scalar encoder: season, day of week, weekend, time of day, in this order.
//!
//! Timestamps are read as they are (UTC); seconds never matter.
//!
//! Source: `date.py` of nupic's encoders. Departure: custom days and holidays are left out; no model here uses
//! them.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

use super::scalar::ScalarEncoder;
use crate::params::ParamsError;
use crate::sdr::Sdr;

/// The encoder; it has no state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DateEncoder {
    /// See [`season`].
    pub season: Option<ScalarEncoder>,
    /// See [`day_of_week`].
    pub day_of_week: Option<ScalarEncoder>,
    /// See [`weekend`].
    pub weekend: Option<ScalarEncoder>,
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

/// 1 on Saturday, Sunday and Friday after 18:00, else 0.
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
        for (encoder, value) in [
            (&self.season, f64::from(time.date().day_of_year() - 1)),
            (&self.day_of_week, weekday_and_time(time)),
            (&self.weekend, is_weekend(time)),
            (&self.time_of_day, hours(time)),
        ] {
            if let Some(encoder) = encoder {
                encoder.encode(value, offset, sdr).expect("every part of a date lies in its range");
                offset += encoder.width();
            }
        }
    }

    fn parts(&self) -> impl Iterator<Item = &ScalarEncoder> {
        [&self.season, &self.day_of_week, &self.weekend, &self.time_of_day].into_iter().flatten()
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
            time_of_day: Some(time_of_day(21, 9.49).expect("valid")),
        };
        let found = bits(&all, TUESDAY + 12 * 3600);
        let runs = [0..84, 84..231, 231..273, 273..327];
        for run in runs {
            assert_eq!(found.iter().filter(|&&bit| run.contains(&bit)).count(), 21);
        }
        assert_eq!(found[63..], (273 + 17..=273 + 37).collect::<Vec<_>>());
    }
}
