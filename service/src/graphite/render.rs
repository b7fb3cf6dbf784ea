//! Series as the body of an answer: JSON, CSV, raw, and `msgpack` for a graphite-web that has this engine in its cluster.
//!
//! JSON may hold fewer points than the series have: `maxDataPoints` makes one of several, by each series' own consolidation.
//!
//! Invariants: what is written is at most [`MAX_ANSWER_BYTES`]; numbers are finite or null; a name never becomes a formula of
//! a spreadsheet.
//!
//! Source: graphite-web's `render/views`; the edges of consolidated points are those of its `renderViewJson`, so that they
//! stay where they are when a chart is refreshed. Departure: numbers that are not finite are null.

use std::fmt::Write;

use htm_core::float_text::repr;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::series::Series;
use crate::operations::OperationError;

/// Longest answer.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Media type of `msgpack`, as graphite-web's peers tell it.
pub(crate) const MSGPACK_MEDIA_TYPE: &str = "application/x-msgpack";

/// How series are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenderFormat {
    /// `[{"target", "tags", "datapoints": [[value, time], ..]}, ..]`
    Json,
    /// `name,time,value` a line.
    Csv,
    /// `name,start,end,step|value,..` a line.
    Raw,
    /// A list of maps, as graphite-web reads them from its peers.
    MsgPack,
}

impl RenderFormat {
    /// The format with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "csv" => Self::Csv,
            "raw" => Self::Raw,
            "msgpack" => Self::MsgPack,
            _ => return None,
        })
    }

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Raw => "text/plain; charset=utf-8",
            Self::MsgPack => MSGPACK_MEDIA_TYPE,
        }
    }
}

/// What else is asked of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RenderOptions {
    /// The format.
    pub(crate) format: RenderFormat,
    /// In JSON, at most so many points of each series.
    pub(crate) max_points: Option<usize>,
    /// In JSON, leave out points without a value, and series without a point.
    pub(crate) is_without_nulls: bool,
    /// Zone of the times in CSV.
    pub(crate) zone: TimeZone,
}

/// The body of an answer.
///
/// # Errors
/// [`OperationError::InvalidArgument`] when it is longer than [`MAX_ANSWER_BYTES`].
pub(crate) fn body(mut all: Vec<Series>, options: &RenderOptions) -> Result<Vec<u8>, OperationError> {
    let mut text = String::new();
    match options.format {
        RenderFormat::Json => {
            if let Some(max_points) = options.max_points {
                consolidate(&mut all, max_points);
            }
            text.push('[');
            let mut is_first = true;
            for series in &all {
                if options.is_without_nulls && series.points().all(|(_, value)| value.is_none()) {
                    continue;
                }
                if !is_first {
                    text.push_str(", ");
                }
                is_first = false;
                write_json(&mut text, series, options.is_without_nulls);
                within_bound(text.len())?;
            }
            text.push(']');
        }
        RenderFormat::Csv => {
            for series in &all {
                write_csv(&mut text, series, &options.zone);
                within_bound(text.len())?;
            }
        }
        RenderFormat::Raw => {
            for series in &all {
                write_raw(&mut text, series);
                within_bound(text.len())?;
            }
        }
        RenderFormat::MsgPack => {
            let list: Vec<Packed<'_>> = all.iter().map(Packed::from).collect();
            let bytes = packed(&list)?;
            within_bound(bytes.len())?;
            return Ok(bytes);
        }
    }
    Ok(text.into_bytes())
}

/// A series as graphite-web reads it from a peer.
#[derive(Serialize)]
struct Packed<'a> {
    name: &'a str,
    #[serde(rename = "pathExpression")]
    path: &'a str,
    start: i64,
    end: i64,
    step: i64,
    values: &'a [Option<f64>],
    #[serde(rename = "valuesPerPoint")]
    values_per_point: i64,
    #[serde(rename = "consolidationFunc")]
    consolidation: &'static str,
    #[serde(rename = "xFilesFactor")]
    x_files_factor: f64,
}

impl<'a> From<&'a Series> for Packed<'a> {
    fn from(series: &'a Series) -> Self {
        Self {
            name: &series.name,
            path: &series.path,
            start: series.start,
            end: series.end,
            step: series.step,
            values: &series.values,
            values_per_point: 1,
            consolidation: series.consolidation.name(),
            x_files_factor: 0.0,
        }
    }
}

/// Anything as `msgpack`, with the names of its fields.
///
/// # Errors
/// [`OperationError::InvalidArgument`]; never of what is all numbers and texts.
pub(crate) fn packed(value: &impl Serialize) -> Result<Vec<u8>, OperationError> {
    let bytes = rmp_serde::to_vec_named(value);
    bytes.map_err(|error| OperationError::invalid(format!("the answer has no MessagePack form: {error}")))
}

fn within_bound(bytes: usize) -> Result<(), OperationError> {
    if bytes <= MAX_ANSWER_BYTES {
        return Ok(());
    }
    Err(OperationError::invalid(format!(
        "the answer is longer than {MAX_ANSWER_BYTES} bytes; ask for a shorter time, for fewer series, or for \
         maxDataPoints"
    )))
}

/// Makes one point of several where a series has more than `max_points`.
///
/// Consolidated points stand at multiples of their step and are made of the points up to and with that time, so that the
/// same points are together whenever one asks; those before the first multiple are left out.
pub(crate) fn consolidate(all: &mut [Series], max_points: usize) {
    let (Some(start), Some(end)) =
        (all.iter().map(|series| series.start).min(), all.iter().map(|series| series.end).max())
    else {
        return;
    };
    let max = i64::try_from(max_points.max(1)).unwrap_or(i64::MAX);
    let range = end - start;
    for series in all {
        if max_points <= 1 {
            series.consolidate(series.values.len());
            continue;
        }
        let most = max.saturating_mul(series.step);
        if range <= most {
            continue;
        }
        // Points for one: the range's number of points over `max`, rounded up.
        let together = range / most + i64::from(range % most != 0);
        let step = together.saturating_mul(series.step);
        let nudge = step + series.start.rem_euclid(series.step) - series.start.rem_euclid(step);
        series.start += nudge;
        let lost = usize::try_from(nudge / series.step - 1).unwrap_or(0);
        series.values.drain(..lost.min(series.values.len()));
        series.consolidate(usize::try_from(together).unwrap_or(usize::MAX));
    }
}

fn write_json(text: &mut String, series: &Series, is_without_nulls: bool) {
    text.push_str("{\"target\": ");
    push_json_text(text, &series.name);
    text.push_str(", \"tags\": {");
    for (number, (tag, value)) in series.tags.iter().enumerate() {
        text.push_str(if number == 0 { "" } else { ", " });
        push_json_text(text, tag);
        text.push_str(": ");
        push_json_text(text, value);
    }
    text.push_str("}, \"datapoints\": [");
    let mut is_first = true;
    for (time, value) in series.points() {
        if is_without_nulls && value.is_none() {
            continue;
        }
        text.push_str(if is_first { "[" } else { ", [" });
        is_first = false;
        match value.filter(|value| value.is_finite()) {
            Some(value) => text.push_str(&repr(value)),
            None => text.push_str("null"),
        }
        // A string takes all.
        let _ = write!(text, ", {time}]");
    }
    text.push_str("]}");
}

fn push_json_text(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

fn write_csv(text: &mut String, series: &Series, zone: &TimeZone) {
    let name = csv_field(&series.name);
    let times = std::iter::successors(Some(series.start), |time| time.checked_add(series.step));
    for (time, value) in times.zip(&series.values) {
        let shown = Timestamp::from_second(time)
            .map(|time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
            .unwrap_or_default();
        let value = value.map(repr).unwrap_or_default();
        text.extend([&name, ",", &shown, ",", &value, "\r\n"]);
    }
}

/// A field with its quotes where it needs them. What spreadsheets would take for a formula gets an apostrophe before it.
fn csv_field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn write_raw(text: &mut String, series: &Series) {
    // A string takes all.
    let _ = write!(text, "{},{},{},{}|", series.name, series.start, series.end, series.step);
    for (number, value) in series.values.iter().enumerate() {
        text.push_str(if number == 0 { "" } else { "," });
        text.push_str(&value.map_or_else(|| "None".to_owned(), repr));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::consolidation::Consolidation;
    use super::super::series::tests::series;
    use super::*;

    fn options(format: RenderFormat) -> RenderOptions {
        RenderOptions { format, max_points: None, is_without_nulls: false, zone: TimeZone::UTC }
    }

    fn written(all: Vec<Series>, options: &RenderOptions) -> String {
        String::from_utf8(body(all, options).expect("short")).expect("text")
    }

    #[test]
    fn json_is_that_of_graphite() {
        let one = series("a\"b;k=v", 60, 60, &[Some(1.0), None, Some(0.1 + 0.2)]);
        let empty = series("e", 60, 60, &[None]);
        let json = written(vec![one.clone(), empty.clone()], &options(RenderFormat::Json));
        assert_eq!(
            json,
            "[{\"target\": \"a\\\"b;k=v\", \"tags\": {\"k\": \"v\", \"name\": \"a\\\"b\"}, \"datapoints\": \
             [[1.0, 60], [null, 120], [0.30000000000000004, 180]]}, {\"target\": \"e\", \"tags\": {\"name\": \"e\"}, \
             \"datapoints\": [[null, 60]]}]"
        );
        let without_nulls = RenderOptions { is_without_nulls: true, ..options(RenderFormat::Json) };
        let json: serde_json::Value =
            serde_json::from_str(&written(vec![empty, one], &without_nulls)).expect("JSON");
        assert_eq!(json[0]["datapoints"], serde_json::json!([[1.0, 60], [0.300_000_000_000_000_04, 180]]));
        assert_eq!(json.as_array().map(Vec::len), Some(1));
        let infinite = series("i", 0, 1, &[Some(f64::INFINITY)]);
        assert!(written(vec![infinite], &options(RenderFormat::Json)).contains("[[null, 0]]"));
        assert_eq!(written(vec![], &options(RenderFormat::Json)), "[]");
    }

    #[test]
    fn csv_and_raw_are_those_of_graphite() {
        let one = series("a,b", 60, 60, &[Some(1.5), None]);
        let berlin = RenderOptions {
            zone: TimeZone::get("Europe/Berlin").expect("a zone"),
            ..options(RenderFormat::Csv)
        };
        assert_eq!(
            written(vec![one.clone()], &berlin),
            "\"a,b\",1970-01-01 01:01:00,1.5\r\n\"a,b\",1970-01-01 01:02:00,\r\n"
        );
        let formula = series("=cmd()", 0, 60, &[Some(1.0)]);
        assert_eq!(
            written(vec![formula], &options(RenderFormat::Csv)),
            "'=cmd(),1970-01-01 00:00:00,1.0\r\n"
        );
        assert_eq!(written(vec![one], &options(RenderFormat::Raw)), "a,b,60,180,60|1.5,None\n");
    }

    #[test]
    fn peers_read_maps() {
        let one = series("a", 60, 60, &[Some(1.5), None]);
        let bytes = body(vec![one], &options(RenderFormat::MsgPack)).expect("short");
        let read: serde_json::Value = rmp_serde::from_slice(&bytes).expect("MessagePack");
        assert_eq!(
            read,
            serde_json::json!([{"name": "a", "pathExpression": "a", "start": 60, "end": 180, "step": 60,
                "values": [1.5, null], "valuesPerPoint": 1, "consolidationFunc": "average", "xFilesFactor": 0.0}])
        );
    }

    #[test]
    fn consolidated_points_stay_where_they_are() {
        let points = |from: i64, to: i64| {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let values: Vec<Option<f64>> = (from..=to).map(|minute| Some(minute as f64)).collect();
            let mut one = series("a", from * 60, 60, &values);
            one.consolidation = Consolidation::Max;
            let mut all = [one];
            consolidate(&mut all, 5);
            let [one] = all;
            one.points().collect::<Vec<_>>()
        };
        // 10 minutes in at most 5 points: two minutes each, at the even ones.
        assert_eq!(
            points(1, 10),
            [(120, Some(2.0)), (240, Some(4.0)), (360, Some(6.0)), (480, Some(8.0)), (600, Some(10.0))]
        );
        assert_eq!(
            points(2, 11),
            [(240, Some(4.0)), (360, Some(6.0)), (480, Some(8.0)), (600, Some(10.0)), (720, Some(11.0))]
        );
        assert_eq!(points(1, 5).len(), 5);
    }

    #[test]
    fn one_point_takes_all() {
        let mut all = [series("a", 60, 60, &[Some(1.0), None, Some(3.0)])];
        consolidate(&mut all, 1);
        assert_eq!(all[0].points().collect::<Vec<_>>(), [(60, Some(2.0))]);
    }
}
