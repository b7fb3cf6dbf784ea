//! Encoders: a record becomes an SDR.
//!
//! A multi encoder puts the bits of its fields one after the other, in the order of the fields' keys. The
//! standard model has two: time of day (54 bits) and value (400 bits).
//!
//! A field whose source no record has makes a model that can be made and saved, but refuses its first record, as the
//! reference does.
//!
//! Source: `multi.py`, `date.py`, `scalar.py`, `random_distributed_scalar.py` of nupic's encoders.

pub mod date;
pub mod random_distributed_scalar;
pub mod scalar;

use serde::{Deserialize, Serialize};

use self::date::DateEncoder;
use self::random_distributed_scalar::{RandomDistributedScalarEncoder, RandomDistributedScalarParams};
use self::scalar::ScalarEncoder;
use crate::params::ParamsError;
use crate::sdr::Sdr;

/// One sample as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// Unix seconds UTC.
    pub timestamp: i64,
    /// The value; must be finite.
    pub value: f64,
}

/// What an encoder reads and how.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldParams {
    /// Parts of the timestamp.
    Date(Box<DateEncoder>),
    /// The value on a fixed range.
    Scalar(ScalarEncoder),
    /// The value on an open range.
    RandomDistributedScalar(RandomDistributedScalarParams),
    /// Something that records do not have.
    Unknown(UnknownField),
}

/// A field that no record has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnknownField {
    /// What it was to read.
    pub name: String,
    /// Bits of its encoder.
    pub width: usize,
}

impl FieldParams {
    /// Number of bits.
    pub fn width(&self) -> usize {
        match self {
            Self::Date(encoder) => encoder.width(),
            Self::Scalar(encoder) => encoder.width(),
            Self::RandomDistributedScalar(params) => params.width,
            Self::Unknown(field) => field.width,
        }
    }
}

/// A multi encoder: fields by key.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderParams {
    fields: Vec<(String, FieldParams)>,
}

impl EncoderParams {
    /// Fields under their keys; the keys' order as plain strings is the order of the bits.
    pub fn new(mut fields: Vec<(String, FieldParams)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self { fields }
    }

    /// The standard model's encoder.
    ///
    /// # Errors
    /// If `resolution` is not finite or not above 0.
    pub fn time_of_day_and_value(resolution: f64) -> Result<Self, ParamsError> {
        let time = DateEncoder { time_of_day: Some(date::time_of_day(21, 9.49)?), ..DateEncoder::default() };
        let value = RandomDistributedScalarParams::with_resolution(resolution)?;
        Ok(Self::new(vec![
            ("c0_timeOfDay".to_owned(), FieldParams::Date(Box::new(time))),
            ("c1".to_owned(), FieldParams::RandomDistributedScalar(value)),
        ]))
    }

    /// The fields with their keys, in the order of their bits.
    pub fn fields(&self) -> &[(String, FieldParams)] {
        &self.fields
    }

    /// Whether a field has buckets of values, which a classifier needs. A field that no record has may be one: no
    /// record will tell.
    pub fn has_value(&self) -> bool {
        self.fields.iter().any(|(_, field)| !matches!(field, FieldParams::Date(_)))
    }

    /// Bits of all fields together.
    pub fn width(&self) -> usize {
        self.fields.iter().map(|(_, field)| field.width()).sum()
    }
}

/// An encoder with its state: the random distributed scalar encoder invents buckets as they are needed.
#[derive(Debug, Clone)]
pub struct MultiEncoder {
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
enum Field {
    Date(Box<DateEncoder>),
    Scalar(ScalarEncoder),
    RandomDistributedScalar(Box<RandomDistributedScalarEncoder>),
    Unknown(UnknownField),
}

impl MultiEncoder {
    /// An encoder that has seen nothing.
    #[expect(clippy::missing_panics_doc, reason = "a new encoder is always possible")]
    pub fn new(params: &EncoderParams) -> Self {
        let new = |params| Some(RandomDistributedScalarEncoder::new(params));
        Self::with(params, new).expect("a new encoder needs no state")
    }

    /// An encoder whose random distributed scalar encoders come from `make`, in the order of their bits; `None` if it
    /// returns that.
    pub fn with(
        params: &EncoderParams,
        mut make: impl FnMut(RandomDistributedScalarParams) -> Option<RandomDistributedScalarEncoder>,
    ) -> Option<Self> {
        let field_of = |(_, field): &(String, FieldParams)| match field {
            FieldParams::Date(encoder) => Some(Field::Date(encoder.clone())),
            FieldParams::Scalar(encoder) => Some(Field::Scalar(encoder.clone())),
            FieldParams::RandomDistributedScalar(params) => {
                make(*params).map(|encoder| Field::RandomDistributedScalar(Box::new(encoder)))
            }
            FieldParams::Unknown(field) => Some(Field::Unknown(field.clone())),
        };
        let fields: Option<Vec<Field>> = params.fields.iter().map(field_of).collect();
        Some(Self { fields: fields? })
    }

    /// Encodes a record into `sdr`, which is cleared first, and returns the value's bucket (of the last value
    /// field).
    ///
    /// # Errors
    /// If the value lies outside a scalar encoder's range, a field reads what no record has, or a random distributed
    /// scalar encoder runs out of bits. Nothing has changed then, but for buckets of another such encoder before it.
    ///
    /// # Panics
    /// If `sdr` is narrower than the encoder, or the value is not finite.
    pub fn encode(&mut self, record: Record, sdr: &mut Sdr) -> Result<usize, EncodeError> {
        assert!(record.value.is_finite(), "the value {} is not finite", record.value);
        sdr.clear();
        let mut offset = 0;
        let mut bucket = 0;
        for field in &self.fields {
            match field {
                Field::Scalar(encoder) => encoder.check(record.value)?,
                Field::Unknown(field) => {
                    return Err(EncodeError::UnknownField { name: field.name.clone() });
                }
                Field::Date(_) | Field::RandomDistributedScalar(_) => {}
            }
        }
        for field in &mut self.fields {
            match field {
                Field::Date(encoder) => {
                    encoder.encode(record.timestamp, offset, sdr);
                    offset += encoder.width();
                }
                Field::Scalar(encoder) => {
                    bucket = encoder.encode(record.value, offset, sdr)?;
                    offset += encoder.width();
                }
                Field::RandomDistributedScalar(encoder) => {
                    bucket = encoder.encode(record.value, offset, sdr)?;
                    offset += encoder.params().width;
                }
                Field::Unknown(field) => offset += field.width,
            }
        }
        Ok(bucket)
    }

    /// The random distributed scalar encoders, in the order of their bits: the only part with state.
    pub fn random_distributed_scalars(&self) -> impl Iterator<Item = &RandomDistributedScalarEncoder> {
        self.fields.iter().filter_map(|field| match field {
            Field::RandomDistributedScalar(encoder) => Some(&**encoder),
            Field::Date(_) | Field::Scalar(_) | Field::Unknown(_) => None,
        })
    }
}

/// Why a record could not be encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum EncodeError {
    /// The value lies outside a scalar encoder's range.
    OutOfRange {
        /// The value found.
        value: f64,
        /// Smallest value the encoder takes.
        min: f64,
        /// Largest value the encoder takes.
        max: f64,
    },
    /// A random distributed scalar encoder has too few bits for so many buckets.
    NoBits {
        /// The bucket that none were found for.
        bucket: usize,
        /// Bits of the encoder.
        width: usize,
        /// Bits set for each bucket.
        run_bits: usize,
    },
    /// An encoder reads a field that is neither the timestamp nor the value.
    UnknownField {
        /// The field's name.
        name: String,
    },
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfRange { value, min, max } => write!(
                formatter,
                "the value {value} lies outside the encoder's range {min} to {max}; widen the range"
            ),
            Self::NoBits { bucket, width, run_bits } => write!(
                formatter,
                "no bits are to be found for bucket {bucket}: {width} bits are too few for so many buckets of {run_bits}; \
                 give the encoder more bits (n) or a larger resolution"
            ),
            Self::UnknownField { name } => write!(
                formatter,
                "an encoder reads the field `{name}`, which a row does not have; give it the name of the timestamp \
                 (date encoders) or of the value (all others)"
            ),
        }
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_the_order_of_their_keys() {
        let params = EncoderParams::time_of_day_and_value(1.0).expect("valid");
        assert_eq!(params.width(), 454);
        let mut encoder = MultiEncoder::new(&params);
        let mut sdr = Sdr::new(454);
        encoder.encode(Record { timestamp: 0, value: 3.0 }, &mut sdr).expect("in range");
        let bits: Vec<usize> = sdr.active_bits().collect();
        assert_eq!(bits.len(), 42);
        assert_eq!(bits.iter().filter(|&&bit| bit < 54).count(), 21);
    }

    #[test]
    fn a_value_outside_a_fixed_range_changes_nothing() {
        let scalar = ScalarEncoder::with_radius(21, 0.0, 100.0, 5.0, false).expect("valid");
        let rdse = RandomDistributedScalarParams::with_resolution(1.0).expect("valid");
        let params = EncoderParams::new(vec![
            ("a".to_owned(), FieldParams::RandomDistributedScalar(rdse)),
            ("b".to_owned(), FieldParams::Scalar(scalar)),
        ]);
        let mut encoder = MultiEncoder::new(&params);
        let mut sdr = Sdr::new(params.width());
        assert!(encoder.encode(Record { timestamp: 0, value: 101.0 }, &mut sdr).is_err());
        let untouched = encoder.random_distributed_scalars().all(|encoder| encoder.offset().is_none());
        assert!(untouched);
        assert!(encoder.encode(Record { timestamp: 0, value: 100.0 }, &mut sdr).is_ok());
    }
}
