//! `sensorParams.encoders` as the encoder of a model.
//!
//! An encoder whose `fieldname` is neither that of the timestamp (date encoders) nor that of the value (all others)
//! makes a model that refuses its first row and names the field. The original behaves so too: it defines any model, and
//! its metric goes into error with the first row.
//!
//! How many bits all encoders may have together is a limit of `htm_core::params`, which names it.
//!
//! Source: `multi.py`, `scalar.py`, `date.py`, `random_distributed_scalar.py` of nupic's encoders.

use htm_core::encoder::date::{self, CHRISTMAS, DateEncoder, Holiday};
use htm_core::encoder::random_distributed_scalar::{RandomDistributedScalarParams, STANDARD_RUN_BITS};
use htm_core::encoder::scalar::{ScalarEncoder, ScalarParams, ScalarSize};
use htm_core::encoder::{EncoderParams, FieldParams, UnknownField};
use serde_json::Value;

use super::SpecError;
use super::json_section::{Section, whole_of};

/// Narrowest run that a scalar encoder may have unless it is `forced`.
const MIN_UNFORCED_RUN: usize = 21;
/// Names of weekdays in custom days, Monday first; their first three letters do too.
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What the fields of a record are called.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldNames<'a> {
    pub(super) timestamp: &'a str,
    pub(super) value: &'a str,
}

/// All encoders; those that are `null`, and those for a classifier only, count for nothing.
pub(super) fn encoder(mut section: Section<'_>, names: FieldNames<'_>) -> Result<EncoderParams, SpecError> {
    let mut fields = Vec::new();
    for (key, value) in section.all() {
        let path = format!("{}.{}", section.path(), key.escape_debug());
        if let Some(field) = field(Section::of(&path, value)?, names)? {
            fields.push((key.clone(), field));
        }
    }
    if fields.is_empty() {
        let path = section.path();
        return Err(SpecError::new(format!("{path} has no encoder; expected one that reads the value")));
    }
    Ok(EncoderParams::new(fields))
}

fn field(mut section: Section<'_>, names: FieldNames<'_>) -> Result<Option<FieldParams>, SpecError> {
    if section.flag("classifierOnly", false)? {
        return Ok(None);
    }
    let missing = |key: &str, path: &str| SpecError::new(format!("{path}.{key} is missing"));
    let kind = section.text("type")?.ok_or_else(|| missing("type", section.path()))?;
    let name = section.text("fieldname")?.ok_or_else(|| missing("fieldname", section.path()))?;
    section.without_effect(&["name", "verbosity"]);
    let (params, reads) = match kind {
        "DateEncoder" => (FieldParams::Date(Box::new(date_encoder(&mut section)?)), names.timestamp),
        "ScalarEncoder" => (FieldParams::Scalar(scalar_encoder(&mut section)?), names.value),
        "RandomDistributedScalarEncoder" => {
            (FieldParams::RandomDistributedScalar(random_distributed_scalar(&mut section)?), names.value)
        }
        other => {
            let expected = "DateEncoder, ScalarEncoder or RandomDistributedScalarEncoder";
            return Err(section.refusal("type", &Value::from(other), expected));
        }
    };
    let path = section.path().to_owned();
    section.finish()?;
    if params.width() == 0 {
        return Err(SpecError::new(format!("{path} has no bits; expected at least one part of the date")));
    }
    let is_known = name == reads;
    let unknown = || FieldParams::Unknown(UnknownField { name: name.to_owned(), width: params.width() });
    Ok(Some(if is_known { params.clone() } else { unknown() }))
}

fn random_distributed_scalar(section: &mut Section<'_>) -> Result<RandomDistributedScalarParams, SpecError> {
    let Some(resolution) = section.value("resolution") else {
        let path = section.path();
        return Err(SpecError::new(format!("{path}.resolution is missing; expected a number above 0")));
    };
    let number = resolution.as_f64().filter(|number| number.is_finite() && *number > 0.0);
    let params = RandomDistributedScalarParams {
        width: section.size("n", 400)?,
        run_bits: section.size("w", STANDARD_RUN_BITS)?,
        resolution: number.ok_or_else(|| section.refusal("resolution", resolution, "a number above 0"))?,
        offset: section.number("offset")?,
        seed: section.whole("seed")?.unwrap_or(42),
    };
    params.check().map_err(|error| within(section, &error))?;
    Ok(params)
}

fn scalar_encoder(section: &mut Section<'_>) -> Result<ScalarEncoder, SpecError> {
    let needed = |section: &mut Section<'_>, key| {
        let number = section.number(key)?;
        number
            .ok_or_else(|| SpecError::new(format!("{}.{key} is missing; expected a number", section.path())))
    };
    let (min, max) = (needed(section, "minval")?, needed(section, "maxval")?);
    let run_bits = section.size("w", MIN_UNFORCED_RUN)?;
    if run_bits < MIN_UNFORCED_RUN && !section.flag("forced", false)? {
        let expected = format!("at least {MIN_UNFORCED_RUN}, or `forced`: true");
        return Err(section.refusal("w", &Value::from(run_bits), &expected));
    }
    section.without_effect(&["forced"]);
    let is_periodic = section.flag("periodic", false)?;
    let clips = section.flag("clipInput", false)? && !is_periodic;
    let bits = section.size("n", 0)?;
    let radius = section.number("radius")?.unwrap_or(0.0);
    let resolution = section.number("resolution")?.unwrap_or(0.0);
    let sizes = [
        (bits > 0).then_some(ScalarSize::Bits(bits)),
        (radius.abs() > 0.0).then_some(ScalarSize::Radius(radius)),
        (resolution.abs() > 0.0).then_some(ScalarSize::Resolution(resolution)),
    ];
    let given: Vec<ScalarSize> = sizes.into_iter().flatten().collect();
    let [size] = given[..] else {
        let path = section.path();
        let count = given.len();
        return Err(SpecError::new(format!(
            "{path} has {count} of n, radius and resolution; expected exactly one of them, above 0"
        )));
    };
    ScalarEncoder::new(ScalarParams { run_bits, min, max, is_periodic, clips, size })
        .map_err(|error| within(section, &error))
}

fn date_encoder(section: &mut Section<'_>) -> Result<DateEncoder, SpecError> {
    type Make = fn(usize, f64) -> Result<ScalarEncoder, htm_core::params::ParamsError>;
    section.without_effect(&["forced"]);
    let mut part = |key, make: Make, default: f64| {
        let Some(value) = section.value(key) else { return Ok(None) };
        let expected = "a number of bits, or [bits, radius]";
        let (run, radius) = match value.as_array().map(Vec::as_slice) {
            Some([run, radius]) => (whole_of(run), radius.as_f64()),
            _ => (whole_of(value), Some(default)),
        };
        let run = run.and_then(|run| usize::try_from(run).ok());
        let (Some(run), Some(radius)) = (run, radius) else {
            return Err(section.refusal(key, value, expected));
        };
        // Without bits the part is off.
        if run == 0 {
            return Ok(None);
        }
        make(run, radius).map(Some).map_err(|error| within(section, &error))
    };
    let mut encoder = DateEncoder {
        season: part("season", date::season, 91.5)?,
        day_of_week: part("dayOfWeek", date::day_of_week, 1.0)?,
        weekend: part("weekend", date::weekend, 1.0)?,
        time_of_day: part("timeOfDay", date::time_of_day, 4.0)?,
        ..DateEncoder::default()
    };
    let holiday = part("holiday", date::weekend, 1.0)?;
    let holidays = holidays(section)?;
    encoder.holiday = holiday.map(|encoder| (encoder, holidays));
    encoder.custom_days = custom_days(section)?;
    Ok(encoder)
}

fn custom_days(section: &mut Section<'_>) -> Result<Option<(ScalarEncoder, Vec<u8>)>, SpecError> {
    let Some(value) = section.value("customDays") else { return Ok(None) };
    let refused = |section: &Section<'_>| {
        section.refusal("customDays", value, "[bits, \"sat\"] or [bits, [\"sat\", \"sun\"]]")
    };
    let pair = value.as_array().filter(|pair| pair.len() == 2).ok_or_else(|| refused(section))?;
    let run = whole_of(&pair[0]).and_then(|run| usize::try_from(run).ok()).ok_or_else(|| refused(section))?;
    let names = pair[1].as_array().map_or(std::slice::from_ref(&pair[1]), Vec::as_slice);
    let day_of = |name: &Value| {
        let name = name.as_str()?.to_ascii_lowercase();
        let day = WEEKDAYS.iter().position(|day| *day == name || day[..3] == name)?;
        u8::try_from(day).ok()
    };
    let days: Option<Vec<u8>> = names.iter().map(day_of).collect();
    let days = days.ok_or_else(|| refused(section))?;
    let encoder = date::weekend(run, 1.0).map_err(|error| within(section, &error))?;
    Ok(Some((encoder, days)))
}

fn holidays(section: &mut Section<'_>) -> Result<Vec<Holiday>, SpecError> {
    let Some(value) = section.value("holidays") else { return Ok(vec![CHRISTMAS]) };
    let of = |parts: &Value| {
        let parts: Option<Vec<i16>> =
            parts.as_array()?.iter().map(|part| i16::try_from(part.as_i64()?).ok()).collect();
        let (year, month, day) = match parts?[..] {
            [month, day] => (None, month, day),
            [year, month, day] => (Some(year), month, day),
            _ => return None,
        };
        Some(Holiday { year, month: i8::try_from(month).ok()?, day: i8::try_from(day).ok()? })
    };
    let holidays = value.as_array().and_then(|list| list.iter().map(of).collect());
    holidays.ok_or_else(|| section.refusal("holidays", value, "a list of [month, day] or [year, month, day]"))
}

fn within(section: &Section<'_>, error: &htm_core::params::ParamsError) -> SpecError {
    SpecError::new(format!("{}: {error}", section.path()))
}
