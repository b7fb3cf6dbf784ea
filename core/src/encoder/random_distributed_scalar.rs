//! A value on an open range: each bucket has some random bits (21 of 400 in the standard model), neighbours share all
//! but one, and far apart buckets share at most two.
//!
//! Buckets are invented when a value first needs them, walking outwards from those that exist, so the order in
//! which values come decides the draws. Bucket 500 stands for the first value ever encoded; 0 and 999 also take
//! everything beyond them.
//!
//! Source: `random_distributed_scalar.py` of nupic's encoders. Departure: overlaps of a new bucket are counted
//! directly instead of incrementally, with the same result.

use htm_kernels::random::Random;
use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::encoder::EncodeError;
use crate::params::ParamsError;
use crate::sdr::Sdr;

/// Bits set for each bucket of the standard model.
pub const STANDARD_RUN_BITS: usize = 21;
/// Most bits set for a bucket.
pub const MAX_RUN_BITS: usize = 127;
/// Buckets there can be.
pub const MAX_BUCKETS: usize = 1000;
/// Bucket of the first value.
pub const MIDDLE_BUCKET: usize = MAX_BUCKETS / 2;
/// Draws for one bucket before giving up. The standard model's buckets need a little over two draws each, never more than a few
/// dozen; encoders with hardly more than 6 bits for each that is set run out of buckets, where the reference draws for ever.
const MAX_TRIES: usize = 10_000;
/// Bits that buckets may share that are so far apart that no bit was handed on from one to the other.
const MAX_OVERLAP: usize = 2;
/// Buckets that room is made for at once, on either side.
const HEADROOM_BUCKETS: usize = 16;

/// Fixed numbers of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomDistributedScalarParams {
    /// Number of bits.
    pub width: usize,
    /// Bits set for each bucket.
    pub run_bits: usize,
    /// Input units per bucket.
    pub resolution: f64,
    /// The value that the middle bucket stands for; the first value encoded if `None`.
    pub offset: Option<f64>,
    /// Seed of the bucket draws.
    pub seed: u64,
}

impl RandomDistributedScalarParams {
    /// The standard 400 bits and seed 42.
    ///
    /// # Errors
    /// If `resolution` is not finite or not above 0.
    pub fn with_resolution(resolution: f64) -> Result<Self, ParamsError> {
        let standard = Self { width: 400, run_bits: STANDARD_RUN_BITS, resolution, offset: None, seed: 42 };
        standard.check()?;
        Ok(standard)
    }

    /// Whether there can be such an encoder.
    ///
    /// # Errors
    /// [`ParamsError`] names the number, as nupic's constructor does.
    pub fn check(&self) -> Result<(), ParamsError> {
        if !self.resolution.is_finite() || self.resolution <= 0.0 {
            return Err(ParamsError::Resolution { found: self.resolution });
        }
        let (w, n) = (self.run_bits, self.width);
        if w % 2 == 0 || w > MAX_RUN_BITS {
            return Err(ParamsError::out_of_range("w", w, format!("an odd number up to {MAX_RUN_BITS}")));
        }
        // The reference asks for this too: with less, buckets that share at most two bits are soon not to be found.
        if n <= 6 * w || n > usize::from(u16::MAX) {
            return Err(ParamsError::out_of_range("n", n, format!("{} to 65535 (more than 6 w)", 6 * w + 1)));
        }
        if self.offset.is_some_and(|offset| !offset.is_finite()) {
            return Err(ParamsError::out_of_range(
                "offset",
                self.offset.unwrap_or(f64::NAN),
                "a finite number",
            ));
        }
        if self.seed == 0 {
            return Err(ParamsError::out_of_range("seed", self.seed, "a number from 1 on"));
        }
        Ok(())
    }
}

/// The encoder and the buckets it has so far.
#[derive(Debug, Clone)]
pub struct RandomDistributedScalarEncoder {
    params: RandomDistributedScalarParams,
    random: Random,
    offset: Option<f64>,
    min_bucket: usize,
    max_bucket: usize,
    /// The bucket whose bits come first in `bits`; at most `min_bucket`.
    first_bucket: usize,
    /// `buckets x run_bits` from `first_bucket` on; only `min_bucket..=max_bucket` are defined. The order of a
    /// bucket's bits decides which one its neighbour replaces.
    bits: Array<u16>,
}

/// What a checkpoint keeps of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomDistributedScalarState {
    /// Generator of the bucket draws.
    pub random: Random,
    /// The first value, which bucket 500 stands for.
    pub offset: Option<f64>,
    /// Lowest bucket that exists.
    pub min_bucket: usize,
    /// `(max_bucket - min_bucket + 1) x run_bits` bits.
    pub bits: Array<u16>,
}

impl RandomDistributedScalarEncoder {
    /// An encoder with the middle bucket only.
    ///
    /// # Panics
    /// If it is wider than 65,535 bits.
    pub fn new(params: RandomDistributedScalarParams) -> Self {
        let mut random = Random::new(params.seed);
        let mut order: Vec<u16> = (0..u16::try_from(params.width).expect("at most 65,535 bits")).collect();
        random.shuffle(&mut order);
        Self {
            params,
            random,
            offset: params.offset,
            min_bucket: MIDDLE_BUCKET,
            max_bucket: MIDDLE_BUCKET,
            first_bucket: MIDDLE_BUCKET,
            bits: Array::copy_of(&order[..params.run_bits]),
        }
    }

    /// An encoder with a checkpoint's state, which it works on in place; `None` if it cannot be one of an encoder
    /// with these numbers.
    pub fn with_state(
        params: RandomDistributedScalarParams,
        state: RandomDistributedScalarState,
    ) -> Option<Self> {
        let count = state.bits.len() / params.run_bits;
        let is_valid = state.bits.len().is_multiple_of(params.run_bits)
            && state.min_bucket <= MIDDLE_BUCKET
            && state.min_bucket + count > MIDDLE_BUCKET
            && state.min_bucket + count <= MAX_BUCKETS
            && state.offset.is_none_or(f64::is_finite)
            && state.random.is_valid();
        let RandomDistributedScalarState { random, offset, min_bucket, bits } = state;
        let max_bucket = (min_bucket + count).wrapping_sub(1);
        is_valid.then_some(Self {
            params,
            random,
            offset,
            min_bucket,
            max_bucket,
            first_bucket: min_bucket,
            bits,
        })
    }

    /// The fixed numbers.
    pub fn params(&self) -> &RandomDistributedScalarParams {
        &self.params
    }

    /// The first value encoded.
    pub fn offset(&self) -> Option<f64> {
        self.offset
    }

    /// The buckets that exist.
    pub fn buckets(&self) -> std::ops::RangeInclusive<usize> {
        self.min_bucket..=self.max_bucket
    }

    /// Two values between which lies everything encoded so far; `None` before the first value, and once an outermost
    /// bucket exists, which takes everything beyond it.
    pub fn value_bounds(&self) -> Option<(f64, f64)> {
        if self.min_bucket == 0 || self.max_bucket == MAX_BUCKETS - 1 {
            return None;
        }
        let offset = self.offset?;
        // A bucket reaches half a step to either side; a whole one leaves room for rounding.
        let steps = |from: usize, to: usize| u16::try_from(to - from).map_or(f64::INFINITY, f64::from) + 1.0;
        let below = steps(self.min_bucket, MIDDLE_BUCKET) * self.params.resolution;
        let above = steps(MIDDLE_BUCKET, self.max_bucket) * self.params.resolution;
        Some((offset - below, offset + above))
    }

    /// The bits of a bucket that exists, in the order they were drawn.
    ///
    /// # Panics
    /// If it does not exist.
    pub fn bucket_bits(&self, bucket: usize) -> &[u16] {
        assert!(self.buckets().contains(&bucket), "bucket {bucket} does not exist");
        &self.bits[(bucket - self.first_bucket) * self.run_bits()..][..self.run_bits()]
    }

    /// The bits of all buckets that exist, lowest bucket first.
    pub fn all_bits(&self) -> &[u16] {
        let count = self.max_bucket + 1 - self.min_bucket;
        &self.bits[(self.min_bucket - self.first_bucket) * self.run_bits()..][..count * self.run_bits()]
    }

    fn run_bits(&self) -> usize {
        self.params.run_bits
    }

    /// The generator of the bucket draws.
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// Whether every bit of every bucket is one of the encoder's, which encoding checks again.
    pub fn are_bits_valid(&self) -> bool {
        self.all_bits().iter().all(|&bit| usize::from(bit) < self.params.width)
    }

    /// Sets the value's bits at `offset` and returns its bucket.
    ///
    /// # Errors
    /// If no bits can be found for a bucket, as there are too few or because the state is not an encoder's. Nothing has
    /// changed then.
    ///
    /// # Panics
    /// If `value` is not finite.
    pub fn encode(&mut self, value: f64, offset: usize, sdr: &mut Sdr) -> Result<usize, EncodeError> {
        let first = self.offset.unwrap_or(value);
        let bucket = self.bucket_of(value, first);
        self.create_up_to(bucket)?;
        self.offset = Some(first);
        for &bit in self.bucket_bits(bucket) {
            sdr.set(offset + usize::from(bit));
        }
        Ok(bucket)
    }

    fn bucket_of(&self, value: f64, offset: f64) -> usize {
        assert!(value.is_finite(), "the value {value} is not finite");
        // Python 2 rounds half away from zero, as `f64::round` does. The difference of two finite values may
        // overflow to infinity, which the clamp takes to the outermost bucket.
        let steps = ((value - offset) / self.params.resolution).round();
        #[expect(clippy::cast_possible_truncation, reason = "clamped to -500..=499")]
        let steps = steps.clamp(-500.0, 499.0) as isize;
        MIDDLE_BUCKET.checked_add_signed(steps).expect("500 - 500 is 0")
    }

    fn create_up_to(&mut self, bucket: usize) -> Result<(), EncodeError> {
        if self.buckets().contains(&bucket) {
            return Ok(());
        }
        self.make_room_for(bucket);
        let before = (self.random.clone(), self.min_bucket, self.max_bucket);
        let created = self.create_missing(bucket);
        if created.is_err() {
            (self.random, self.min_bucket, self.max_bucket) = before;
        }
        created
    }

    fn create_missing(&mut self, bucket: usize) -> Result<(), EncodeError> {
        while bucket > self.max_bucket {
            self.create(self.max_bucket + 1, self.max_bucket)?;
            self.max_bucket += 1;
        }
        while bucket < self.min_bucket {
            self.create(self.min_bucket - 1, self.min_bucket)?;
            self.min_bucket -= 1;
        }
        Ok(())
    }

    fn make_room_for(&mut self, bucket: usize) {
        let run_bits = self.run_bits();
        let end = self.first_bucket + self.bits.len() / run_bits;
        if (self.first_bucket..end).contains(&bucket) {
            return;
        }
        let first = bucket.saturating_sub(HEADROOM_BUCKETS).min(self.first_bucket);
        let end = (bucket + HEADROOM_BUCKETS).max(end).min(MAX_BUCKETS);
        let mut roomy = Array::zeroed((end - first) * run_bits);
        roomy[(self.first_bucket - first) * run_bits..][..self.bits.len()].copy_from_slice(&self.bits);
        self.first_bucket = first;
        self.bits = roomy;
    }

    /// Draws the bits of bucket `new` from its existing neighbour `old`: one of the bits is replaced.
    fn create(&mut self, new: usize, old: usize) -> Result<(), EncodeError> {
        let run_bits = self.run_bits();
        let mut candidate = [0u16; MAX_RUN_BITS];
        let candidate = &mut candidate[..run_bits];
        candidate.copy_from_slice(self.bucket_bits(old));
        let position = new % run_bits;
        let width = u32::try_from(self.params.width).expect("at most 65,535 bits");
        let is_found = (0..MAX_TRIES).any(|_| {
            let bit = u16::try_from(self.random.below(width)).expect("at most 65,535 bits");
            candidate[position] = bit;
            !self.bucket_bits(old).contains(&bit) && self.is_apart(candidate, new)
        });
        if !is_found {
            return Err(EncodeError::NoBits { bucket: new, width: self.params.width, run_bits });
        }
        self.bits[(new - self.first_bucket) * run_bits..][..run_bits].copy_from_slice(candidate);
        Ok(())
    }

    /// Whether the candidate shares with every existing bucket exactly as many bits as it should.
    fn is_apart(&self, candidate: &[u16], new: usize) -> bool {
        let run_bits = candidate.len();
        let mut is_on = vec![false; self.params.width];
        for &bit in candidate {
            is_on[usize::from(bit)] = true;
        }
        self.buckets().all(|bucket| {
            let shared = self.bucket_bits(bucket).iter().filter(|&&bit| is_on[usize::from(bit)]).count();
            let distance = bucket.abs_diff(new);
            if distance < run_bits { shared == run_bits - distance } else { shared <= MAX_OVERLAP }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(resolution: f64) -> RandomDistributedScalarEncoder {
        RandomDistributedScalarEncoder::new(
            RandomDistributedScalarParams::with_resolution(resolution).expect("valid"),
        )
    }

    #[test]
    fn everything_encoded_lies_between_the_bounds() {
        let mut encoder = encoder(0.5);
        let mut sdr = Sdr::new(400);
        assert_eq!(encoder.value_bounds(), None);
        for value in [10.0, 10.2, 3.3, 17.6, 9.9] {
            encode(&mut encoder, value, &mut sdr);
        }
        let (low, high) = encoder.value_bounds().expect("values");
        assert!((2.3..=3.3).contains(&low) && (17.6..=18.6).contains(&high), "{low} to {high}");
        encode(&mut encoder, 1e9, &mut sdr);
        assert_eq!(encoder.value_bounds(), None, "the last bucket has no end");
    }

    #[test]
    fn buckets_equal_the_reference() {
        let mut encoder = encoder(1.0);
        let middle = [
            300, 333, 282, 346, 265, 100, 94, 316, 312, 331, 80, 66, 218, 120, 171, 235, 149, 361, 314, 41,
            119,
        ];
        assert_eq!(encoder.bucket_bits(500), middle);
        let mut sdr = Sdr::new(400);
        for value in [0.0, 1.0, -1.0, 2.0, 20.0, 21.0] {
            encode(&mut encoder, value, &mut sdr);
        }
        let mut expected = middle;
        expected[18] = 69;
        assert_eq!(encoder.bucket_bits(501), expected);
        expected[19] = 385;
        assert_eq!(encoder.bucket_bits(502), expected);
        let mut expected = middle;
        expected[16] = 288;
        assert_eq!(encoder.bucket_bits(499), expected);
        let mut expected = [
            236, 175, 356, 38, 33, 354, 169, 271, 286, 27, 40, 157, 338, 239, 381, 90, 116, 361, 69, 385, 238,
        ];
        assert_eq!(encoder.bucket_bits(520), expected);
        expected[17] = 143;
        assert_eq!(encoder.bucket_bits(521), expected);
    }

    #[test]
    fn halves_round_away_from_zero() {
        let encoder = encoder(2.0);
        for (value, bucket) in
            [(10.0, 500), (11.0, 501), (9.0, 499), (15.0, 503), (5.0, 497), (10.999_999, 500)]
        {
            assert_eq!(encoder.bucket_of(value, 10.0), bucket, "{value}");
        }
    }

    #[test]
    fn extreme_values_land_in_the_outermost_buckets() {
        let encoder = encoder(0.001);
        assert_eq!(encoder.bucket_of(0.0, 0.0), 500);
        for (value, bucket) in
            [(1e300, 999), (-1e300, 0), (f64::MAX, 999), (0.499, 999), (0.5, 999), (-0.5, 0)]
        {
            assert_eq!(encoder.bucket_of(value, 0.0), bucket, "{value}");
        }
    }

    #[test]
    fn every_bucket_can_be_created() {
        let mut encoder = encoder(1.0);
        let mut sdr = Sdr::new(400);
        for value in [0.0, 1e9, -1e9] {
            encode(&mut encoder, value, &mut sdr);
        }
        assert_eq!(encoder.buckets(), 0..=999);
        let distinct = |bucket: usize| {
            let mut bits = encoder.bucket_bits(bucket).to_vec();
            bits.sort_unstable();
            bits.dedup();
            bits.len()
        };
        assert!((0..1000).all(|bucket| distinct(bucket) == STANDARD_RUN_BITS));
    }

    fn encode(encoder: &mut RandomDistributedScalarEncoder, value: f64, sdr: &mut Sdr) -> usize {
        encoder.encode(value, 0, sdr).expect("enough bits")
    }

    fn state_of(encoder: &RandomDistributedScalarEncoder) -> RandomDistributedScalarState {
        RandomDistributedScalarState {
            random: encoder.random().clone(),
            offset: encoder.offset(),
            min_bucket: *encoder.buckets().start(),
            bits: Array::copy_of(encoder.all_bits()),
        }
    }

    fn restored(state: RandomDistributedScalarState) -> Option<RandomDistributedScalarEncoder> {
        RandomDistributedScalarEncoder::with_state(*encoder(1.0).params(), state)
    }

    #[test]
    fn a_restored_encoder_goes_on_as_if_nothing_had_happened() {
        let mut original = encoder(1.0);
        let mut sdr = Sdr::new(400);
        encode(&mut original, 5.0, &mut sdr);
        encode(&mut original, 40.0, &mut sdr);
        let mut copy = restored(state_of(&original)).expect("an encoder's state");
        for value in [-30.0, 70.0, -31.0, 300.0, -200.0] {
            encode(&mut original, value, &mut sdr);
            encode(&mut copy, value, &mut sdr);
        }
        assert_eq!(state_of(&original), state_of(&copy));
        let mut broken = state_of(&original);
        broken.bits[0] = 400;
        assert!(!restored(broken).expect("possible so far").are_bits_valid());
        let mut broken = state_of(&original);
        broken.min_bucket = 990;
        assert!(restored(broken).is_none());
    }

    #[test]
    fn a_forged_state_cannot_make_it_draw_for_ever() {
        let mut forged = encoder(1.0);
        let mut sdr = Sdr::new(400);
        encode(&mut forged, 0.0, &mut sdr);
        encode(&mut forged, 30.0, &mut sdr);
        let mut state = state_of(&forged);
        // Bucket 500 with the bits of bucket 530: a neighbour of one is too near to the other.
        let last = state.bits.len() - STANDARD_RUN_BITS;
        state.bits.copy_within(last.., 0);
        let mut forged = restored(state).expect("each bit by itself is possible");
        let before = state_of(&forged);
        let error = EncodeError::NoBits { bucket: 499, width: 400, run_bits: STANDARD_RUN_BITS };
        assert_eq!(forged.encode(-1.0, 0, &mut sdr), Err(error));
        assert_eq!(state_of(&forged), before);
    }

    /// Each bucket after the first brings 15 triples of bits that no other may have: more than 43 bits have.
    #[test]
    fn an_encoder_that_runs_out_of_bits_refuses_the_value_and_is_unchanged() {
        let standard = *encoder(1.0).params();
        let params = RandomDistributedScalarParams { width: 43, run_bits: 7, ..standard };
        assert_eq!(params.check(), Ok(()), "the reference takes it, and it does for few buckets");
        let mut narrow = RandomDistributedScalarEncoder::new(params);
        let mut sdr = Sdr::new(43);
        encode(&mut narrow, 0.0, &mut sdr);
        encode(&mut narrow, 3.0, &mut sdr);
        let before = state_of(&narrow);
        let error = narrow.encode(499.0, 0, &mut sdr).expect_err("too few bits").to_string();
        assert!(error.contains("43 bits are too few"), "{error}");
        assert_eq!(state_of(&narrow), before);
        encode(&mut narrow, 4.0, &mut sdr);
    }

    #[test]
    fn an_offset_and_other_sizes_are_kept() {
        let params = RandomDistributedScalarParams {
            width: 200,
            run_bits: 11,
            resolution: 2.0,
            offset: Some(100.0),
            seed: 7,
        };
        assert_eq!(params.check(), Ok(()));
        let mut encoder = RandomDistributedScalarEncoder::new(params);
        let mut sdr = Sdr::new(200);
        assert_eq!(encode(&mut encoder, 104.0, &mut sdr), 502);
        assert_eq!(sdr.active_bits().count(), 11);
        let refused = |params: RandomDistributedScalarParams, name: &str| {
            let error = params.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        };
        refused(RandomDistributedScalarParams { width: 66, ..params }, "n is 66");
        refused(RandomDistributedScalarParams { run_bits: 10, ..params }, "w is 10");
        refused(RandomDistributedScalarParams { offset: Some(f64::NAN), ..params }, "offset");
        refused(RandomDistributedScalarParams { seed: 0, ..params }, "seed");
    }
}
