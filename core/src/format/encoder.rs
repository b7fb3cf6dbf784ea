//! The sections of the value encoders: the only encoders with state.
//!
//! One record for each random distributed scalar encoder, in the order of their bits, and the bits of all their buckets
//! one after the other. A model of one such encoder, which is every standard model, works on its buckets in place; those
//! of several are copied out.

use htm_kernels::random::Random;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::FormatError;
use super::image::{ImageReader, ImageWriter};
use crate::array::Array;
use crate::encoder::MultiEncoder;
use crate::encoder::random_distributed_scalar::{
    RandomDistributedScalarEncoder, RandomDistributedScalarParams, RandomDistributedScalarState,
};
use crate::params::ModelParams;

/// One value encoder.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct EncoderRecord {
    random: [u32; 33],
    min_bucket: u32,
    has_offset: u32,
    bucket_count: u32,
    offset: f64,
}

/// As FORMAT.md says.
const _: () = assert!(size_of::<EncoderRecord>() == 152);

pub(super) fn push<'a>(image: &mut ImageWriter<'a>, encoder: &'a MultiEncoder) {
    let encoders: Vec<_> = encoder.random_distributed_scalars().collect();
    let records: Vec<_> = encoders.iter().map(|encoder| record_of(encoder)).collect();
    image.push_owned(10, &records, records.len());
    if let [encoder] = *encoders {
        image.push(11, encoder.all_bits(), 0);
    } else {
        let bits: Vec<u16> = encoders.iter().flat_map(|encoder| encoder.all_bits()).copied().collect();
        image.push_owned(11, &bits, 0);
    }
}

fn record_of(encoder: &RandomDistributedScalarEncoder) -> EncoderRecord {
    let as_u32 = |bucket: usize| u32::try_from(bucket).expect("at most 1000 buckets");
    let buckets = encoder.buckets();
    EncoderRecord {
        random: encoder.random().words(),
        min_bucket: as_u32(*buckets.start()),
        has_offset: u32::from(encoder.offset().is_some()),
        bucket_count: as_u32(buckets.end() + 1 - buckets.start()),
        offset: encoder.offset().unwrap_or(0.0),
    }
}

pub(super) fn take(image: &mut ImageReader, params: &ModelParams) -> Result<MultiEncoder, FormatError> {
    let (records, count) = image.take::<EncoderRecord>(10)?;
    let (bits, used) = image.take::<u16>(11)?;
    let is_whole = records.len() == count && bits.len() == used;
    let is_lone = count == 1;
    let mut records = records.iter();
    let mut rest = Some(bits);
    let mut taken = 0_usize;
    let encoder = MultiEncoder::with(params.encoder(), |params| {
        let record = records.next()?;
        let len = (record.bucket_count as usize).checked_mul(params.run_bits)?;
        let bits = if is_lone {
            rest.take().filter(|bits| bits.len() == len)?
        } else {
            Array::copy_of(rest.as_ref()?.get(taken..taken.checked_add(len)?)?)
        };
        taken += len;
        encoder_of(record, params, bits)
    });
    encoder.filter(|_| is_whole && records.next().is_none() && taken == used).ok_or_else(|| {
        FormatError::Bounds { reason: "the value encoders' buckets are not possible".to_owned() }
    })
}

fn encoder_of(
    record: &EncoderRecord,
    params: RandomDistributedScalarParams,
    bits: Array<u16>,
) -> Option<RandomDistributedScalarEncoder> {
    let state = RandomDistributedScalarState {
        random: random_of(record.random),
        offset: (record.has_offset != 0).then_some(record.offset),
        min_bucket: record.min_bucket as usize,
        bits,
    };
    RandomDistributedScalarEncoder::with_state(params, state)
}

fn random_of(words: [u32; 33]) -> Random {
    zerocopy::transmute!(words)
}
