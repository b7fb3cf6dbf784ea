//! One metric sample and the Graphite plaintext line it is read from.
//!
//! The storer calls [`parse_line`] on each line the listener framed; whoever takes lines in calls [`dated`] first, so that
//! "now" is when they came. Pure: bytes and a time in, a sample or a reason out. Whether the sample is late or a duplicate
//! is the storer's business, not decided here.
//!
//! Invariants: never panics, whatever the bytes; the value is finite; the name is canonical, so that one series
//! has one name however its sender ordered the tags; a name that is canonical already is borrowed, not copied.
//!
//! Source: the record grammar of htmengine's metric storer (three whitespace-separated fields, Python floats) and
//! carbon's tagged series. Departures: only ASCII whitespace separates (the original also split on U+00A0) and
//! only ASCII digits count; fractions of a second are dropped; NaN, infinity, milliseconds and times before 1970
//! are refused by name; `-1` and `N` mean now.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::reject::RejectReason;
use crate::repository::metric::MAX_NAME_CHARS;

/// Largest timestamp taken as seconds (the year 5138); anything above must be milliseconds or finer.
pub const MAX_TIMESTAMP_S: f64 = 1e11;
/// Default of [`SampleLimits::max_future_seconds`]: one day.
pub const DEFAULT_MAX_FUTURE_SECONDS: i64 = 86_400;

/// One value of one metric at one time, as a sender meant it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// Metric name, canonical (tags sorted).
    pub name: Cow<'a, str>,
    /// Finite.
    pub value: f64,
    /// Unix seconds UTC; fractions of a second are dropped.
    pub timestamp: i64,
}

/// What a well-formed sample may still not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleLimits {
    /// How far a sample may be ahead of the clock, in seconds; 0 or more.
    pub max_future_seconds: i64,
}

impl Default for SampleLimits {
    fn default() -> Self {
        Self { max_future_seconds: DEFAULT_MAX_FUTURE_SECONDS }
    }
}

/// Reads `name value timestamp`, with or without whitespace around it; `Ok(None)` for a blank line.
/// `now_unix_seconds` is what `-1` and `N` stand for and what the future is measured from.
///
/// # Errors
/// The first reason that applies, looking at text, field count, name, value and timestamp in this order.
pub fn parse_line<'a>(
    line: &'a [u8],
    now_unix_seconds: i64,
    limits: &SampleLimits,
) -> Result<Option<Sample<'a>>, RejectReason> {
    let text = str::from_utf8(line).map_err(|_| RejectReason::NotText)?;
    let mut fields = text.split_ascii_whitespace();
    let Some(name) = fields.next() else { return Ok(None) };
    let (Some(value), Some(timestamp), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(RejectReason::WrongFieldCount);
    };
    Ok(Some(Sample {
        name: canonical_name(name)?,
        value: parse_value(value)?,
        timestamp: parse_timestamp(timestamp, now_unix_seconds, limits.max_future_seconds)?,
    }))
}

/// The line with the time of its arrival, if it has three fields and the last one means now; at most 20 bytes longer. A
/// line waits for a database that is away, and may be delivered or stored again: then "now" would be another second, the
/// same for all that waited, and the sample not known again.
pub fn dated(line: &[u8], arrived_unix_seconds: impl FnOnce() -> i64) -> Cow<'_, [u8]> {
    let line_end = line.trim_ascii_end();
    let start = line_end.iter().rposition(u8::is_ascii_whitespace).map_or(0, |blank| blank + 1);
    let (head, timestamp) = line_end.split_at(start);
    let means_now = || {
        str::from_utf8(timestamp).is_ok_and(is_now)
            && head.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).count() == 2
    };
    match timestamp.first() {
        Some(b'-' | b'N' | b'n') if means_now() => {
            Cow::Owned([head, arrived_unix_seconds().to_string().as_bytes()].concat())
        }
        _ => Cow::Borrowed(line),
    }
}

/// `N`, and -1 however it is written.
fn is_now(timestamp: &str) -> bool {
    matches!(timestamp, "N" | "n")
        || timestamp.parse::<f64>().is_ok_and(|seconds| seconds.total_cmp(&-1.0).is_eq())
}

/// The one spelling of a metric name. Without `;` a name is kept as it is, case included. With tags
/// (`name;key=value;...`), as carbon does it: the last of several equal keys wins, the name loses its leading
/// `~`, a tag called `name` gives way to the name itself; then tags are sorted by key.
///
/// # Errors
/// [`RejectReason::BadName`] for an empty name, whitespace or control characters, or a malformed tag: a key is
/// one or more characters without `!` and `^`, a value one or more that do not start with `~`.
/// [`RejectReason::NameTooLong`] for more than [`MAX_NAME_CHARS`] characters in the canonical form.
pub fn canonical_name(name: &str) -> Result<Cow<'_, str>, RejectReason> {
    if name.is_empty() || name.chars().any(|c| c == ' ' || c.is_control()) {
        return Err(RejectReason::BadName);
    }
    let canonical = match name.split_once(';') {
        None => Cow::Borrowed(name),
        Some((series, tags)) => {
            let sorted = with_sorted_tags(series, tags)?;
            if sorted == name { Cow::Borrowed(name) } else { Cow::Owned(sorted) }
        }
    };
    if canonical.chars().count() > MAX_NAME_CHARS {
        return Err(RejectReason::NameTooLong);
    }
    Ok(canonical)
}

fn with_sorted_tags(series: &str, tags: &str) -> Result<String, RejectReason> {
    let series = series.trim_start_matches('~');
    if series.is_empty() {
        return Err(RejectReason::BadName);
    }
    let mut value_of_key = BTreeMap::new();
    for tag in tags.split(';') {
        let (key, value) = tag.split_once('=').ok_or(RejectReason::BadName)?;
        if key.is_empty() || key.contains(['!', '^']) || value.is_empty() || value.starts_with('~') {
            return Err(RejectReason::BadName);
        }
        value_of_key.insert(key, value);
    }
    value_of_key.remove("name");
    let mut canonical = String::with_capacity(series.len() + 1 + tags.len());
    canonical.push_str(series);
    for (key, value) in value_of_key {
        canonical.extend([";", key, "=", value]);
    }
    Ok(canonical)
}

fn parse_value(text: &str) -> Result<f64, RejectReason> {
    // Rust's float grammar is Python 2's: sign, digits with a point anywhere, exponent, inf, infinity, nan.
    let value: f64 = text.parse().map_err(|_| RejectReason::BadValue)?;
    if value.is_nan() {
        return Err(RejectReason::NanValue);
    }
    if value.is_infinite() {
        return Err(RejectReason::InfiniteValue);
    }
    Ok(value)
}

fn parse_timestamp(text: &str, now_unix_seconds: i64, max_future_seconds: i64) -> Result<i64, RejectReason> {
    if is_now(text) {
        return Ok(now_unix_seconds);
    }
    let seconds: f64 = text.parse().map_err(|_| RejectReason::BadTimestamp)?;
    if !seconds.is_finite() {
        return Err(RejectReason::BadTimestamp);
    }
    if seconds < 0.0 {
        return Err(RejectReason::NegativeTimestamp);
    }
    if seconds > MAX_TIMESTAMP_S {
        return Err(RejectReason::TimestampNotSeconds);
    }
    #[expect(clippy::cast_possible_truncation, reason = "0..=1e11 fits, and dropping the fraction is meant")]
    let timestamp = seconds as i64;
    if timestamp.saturating_sub(now_unix_seconds) > max_future_seconds {
        return Err(RejectReason::FutureTimestamp);
    }
    Ok(timestamp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_500_000_000;

    fn parse(line: &[u8]) -> Result<Option<Sample<'_>>, RejectReason> {
        parse_line(line, NOW, &SampleLimits::default())
    }

    #[track_caller]
    fn check(line: &str, expected: Result<(&str, f64, i64), RejectReason>) {
        let found = parse(line.as_bytes()).map(|sample| sample.expect("not blank"));
        let expected =
            expected.map(|(name, value, timestamp)| Sample { name: name.into(), value, timestamp });
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn fields_are_split_on_any_ascii_whitespace() {
        for line in ["a.b 21 1443197361", "\t a.b\t 21 \t1443197361\r\n", "a.b  21\t\t1443197361 "] {
            check(line, Ok(("a.b", 21.0, 1_443_197_361)));
        }
        check("a\u{a0}b 1 2", Ok(("a\u{a0}b", 1.0, 2)));
    }

    #[test]
    fn a_blank_line_is_nothing() {
        for line in ["", " ", "\t\r\n"] {
            assert_eq!(parse(line.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn exactly_three_fields_are_required() {
        for line in ["a", "a 1", "a 1 2 3", "a 1 2 #"] {
            check(line, Err(RejectReason::WrongFieldCount));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_not_text() {
        assert_eq!(parse(b"a\xff 1 2"), Err(RejectReason::NotText));
        assert_eq!(parse(b" \xc3"), Err(RejectReason::NotText));
    }

    #[test]
    fn values_follow_python_floats() {
        let good =
            [("1e3", 1000.0), ("+1.", 1.0), (".5", 0.5), ("-2.5E-1", -0.25), ("4.0", 4.0), ("007", 7.0)];
        for (text, value) in good {
            check(&format!("a {text} 1"), Ok(("a", value, 1)));
        }
        for text in ["0x10", "1_000", "1,", "1,5", ".", "e5", "1e", "--1", "\u{0661}", "one", "1\u{b}"] {
            check(&format!("a {text} 1"), Err(RejectReason::BadValue));
        }
    }

    #[test]
    fn nan_and_infinity_are_refused_in_any_spelling() {
        for text in ["nan", "NaN", "NAN", "-nan", "+nan"] {
            check(&format!("a {text} 1"), Err(RejectReason::NanValue));
        }
        for text in ["inf", "Inf", "-INF", "+infinity", "Infinity", "1e400", "-1e400"] {
            check(&format!("a {text} 1"), Err(RejectReason::InfiniteValue));
        }
    }

    #[test]
    fn minus_one_and_n_mean_now() {
        for text in ["-1", "-1.0", "-1e0", "N", "n"] {
            check(&format!("a 1 {text}"), Ok(("a", 1.0, NOW)));
        }
    }

    #[test]
    fn a_line_of_now_is_dated_and_others_stay_as_they_are() {
        let dated = |line: &'static str| dated(line.as_bytes(), || NOW);
        for text in ["-1", "-1.0", "-1e0", "-01", "-10e-1", "N", "n"] {
            let line = format!("a;k=v \t1  {text}\r ");
            let line = super::dated(line.as_bytes(), || NOW);
            assert_eq!(line, b"a;k=v \t1  1500000000".as_slice(), "{text}");
        }
        let others = [
            "",
            "N",
            "a N",
            "a 1 N 2",
            "a 1 2 N",
            "a 1 -2",
            "a 1 -",
            "a 1 now",
            "a 1 n1",
            "a N 5 ",
            "\u{fc} -1 1",
        ];
        for line in others {
            assert!(matches!(dated(line), Cow::Borrowed(same) if same == line.as_bytes()), "{line}");
        }
        assert_eq!(super::dated(b"a\xff 1 N", || 7), b"a\xff 1 7".as_slice(), "its name is judged elsewhere");
        assert!(matches!(super::dated(b"a 1 -\xff", || 7), Cow::Borrowed(_)));
    }

    #[test]
    fn fractions_of_a_second_are_dropped() {
        for (text, timestamp) in
            [("0", 0), ("0.9", 0), ("1443197361.999", 1_443_197_361), ("1.4e9", 1_400_000_000)]
        {
            check(&format!("a 1 {text}"), Ok(("a", 1.0, timestamp)));
        }
    }

    #[test]
    fn other_timestamps_are_refused_by_name() {
        let rows = [
            (RejectReason::NegativeTimestamp, ["-2", "-0.5", "-1.5", "-1e300"].as_slice()),
            (RejectReason::BadTimestamp, &["nan", "inf", "-inf", "1e400", "now", "0x1", "NN", "12:00"]),
            (RejectReason::TimestampNotSeconds, &["100000000001", "1443197361000", "1e300"]),
            (RejectReason::FutureTimestamp, &["1500086401", "100000000000"]),
        ];
        for (reason, texts) in rows {
            for text in texts {
                check(&format!("a 1 {text}"), Err(reason));
            }
        }
        check("a 1 1500086400.9", Ok(("a", 1.0, NOW + DEFAULT_MAX_FUTURE_SECONDS)));
    }

    #[test]
    fn the_future_limit_is_the_configured_one() {
        let limits = SampleLimits { max_future_seconds: 10 };
        assert!(parse_line(b"a 1 110", 100, &limits).is_ok());
        assert_eq!(parse_line(b"a 1 111", 100, &limits), Err(RejectReason::FutureTimestamp));
        assert_eq!(parse_line(b"a 1 1", i64::MIN, &limits), Err(RejectReason::FutureTimestamp));
    }

    #[test]
    fn names_without_tags_are_kept_as_they_are() {
        for name in ["Foo.BAR", "~a", "a=b", "a..b", "\u{fc}ber.\u{4e2d}"] {
            check(&format!("{name} 1 2"), Ok((name, 1.0, 2)));
        }
        let parsed = parse(b"a;k=v 1 2").expect("good").expect("not blank");
        assert!(matches!(parsed.name, Cow::Borrowed(_)), "canonical names are not copied");
    }

    #[test]
    fn control_characters_in_names_are_refused() {
        for name in ["a\0b", "\u{7f}", "a\u{1b}[31m", "a\u{85}b", "a\u{b}b"] {
            check(&format!("{name} 1 2"), Err(RejectReason::BadName));
        }
    }

    #[test]
    fn tags_are_sorted_by_key() {
        let rows = [
            ("cpu;host=a;dc=b", "cpu;dc=b;host=a"),
            ("cpu;b=1;a=2;b=3", "cpu;a=2;b=3"),
            ("cpu;b=x=y;a=!^", "cpu;a=!^;b=x=y"),
            ("~~cpu;a=1", "cpu;a=1"),
            ("cpu;name=other;a=1", "cpu;a=1"),
            ("cpu;name=other", "cpu"),
            ("cpu;a1=1;a=2", "cpu;a=2;a1=1"),
        ];
        for (sent, canonical) in rows {
            check(&format!("{sent} 1 2"), Ok((canonical, 1.0, 2)));
        }
    }

    #[test]
    fn malformed_tags_are_refused() {
        let bad = [";a=b", "~;a=b", "cpu;", "cpu;;a=b", "cpu;a=b;", "cpu;a", "cpu;=b", "cpu;a=", "cpu;a=~b"];
        for name in bad.into_iter().chain(["cpu;a!=b", "cpu;a^b=c", "cpu;name=~x"]) {
            check(&format!("{name} 1 2"), Err(RejectReason::BadName));
        }
    }

    #[test]
    fn the_name_limit_counts_characters_of_the_canonical_form() {
        let longest = "\u{fc}".repeat(MAX_NAME_CHARS);
        check(&format!("{longest} 1 2"), Ok((&longest, 1.0, 2)));
        check(&format!("{longest}x 1 2"), Err(RejectReason::NameTooLong));
        check(&format!("a;k={longest};k=v 1 2"), Ok(("a;k=v", 1.0, 2)));
    }

    #[test]
    fn an_empty_or_spaced_name_has_no_canonical_form() {
        assert_eq!(canonical_name(""), Err(RejectReason::BadName));
        assert_eq!(canonical_name("a b"), Err(RejectReason::BadName));
    }

    fn any_name() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9._:#\u{fc}~-]{1,40}(;[a-f]{1,3}=[a-z0-9=.]{1,6}){0,4}"
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(line in proptest::collection::vec(any::<u8>(), 0..200), now in any::<i64>()) {
            let _ = parse_line(&line, now, &SampleLimits::default());
        }

        #[test]
        fn a_dated_line_says_what_it_said_on_arrival(
            line in "([a-z]{0,3}|\\PC{0,9})[ \t]{1,2}[-0-9]{1,3}[ \t]([-+0-9.eEnN]{1,5}|N|-1)[ \r]?",
            now in 0..NOW,
        ) {
            let kept = dated(line.as_bytes(), || now);
            let limits = SampleLimits { max_future_seconds: i64::MAX };
            prop_assert_eq!(parse_line(&kept, NOW, &limits), parse_line(line.as_bytes(), now, &limits));
        }

        #[test]
        fn any_three_fields_are_answered(line in "\\PC{1,9}[ \t]\\PC{1,9}[ \t][-+0-9.eEnN]{1,9}") {
            let _ = parse(line.as_bytes());
        }

        #[test]
        fn a_formatted_sample_parses_back(
            name in "[a-zA-Z0-9._\u{fc}-]{1,40}(;a=[a-z]{1,4}(;b=[a-z=]{1,4})?)?",
            value in any::<f64>().prop_filter("finite", |value| value.is_finite()),
            timestamp in 0..=NOW,
        ) {
            let sent = Sample { name: name.as_str().into(), value, timestamp };
            let line = format!("{name} {value} {timestamp}");
            prop_assert_eq!(parse(line.as_bytes()), Ok(Some(sent)));
        }

        #[test]
        fn whitespace_runs_do_not_matter(
            name in any_name(),
            value in "[-+]?[0-9]{1,5}(\\.[0-9]{0,3})?",
            timestamp in "-?[0-9]{1,13}",
            gaps in proptest::collection::vec("[ \t]{1,5}", 4),
            line_end in "\r?\n?",
        ) {
            let plain = format!("{name} {value} {timestamp}");
            let spaced =
                [&gaps[0], &name, &gaps[1], &value, &gaps[2], &timestamp, &gaps[3], &line_end].map(String::as_str);
            let spaced = spaced.concat();
            prop_assert_eq!(parse(spaced.as_bytes()), parse(plain.as_bytes()));
        }

        #[test]
        fn a_canonical_name_is_its_own_canonical_form(name in any_name()) {
            if let Ok(once) = canonical_name(&name) {
                prop_assert_eq!(canonical_name(&once), Ok(once.clone()));
            }
        }
    }
}
