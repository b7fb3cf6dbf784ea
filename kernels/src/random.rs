//! NuPIC's random generator: an additive lagged Fibonacci generator of degree 31 and separation 3, like BSD's
//! `random()` but with the modulus 2^32 - 1.
//!
//! Its state is part of a model: the same state gives the same draws for ever. Spatial pooler, temporal memory
//! and the random distributed scalar encoder each own one.
//!
//! Source: `Random` of nupic.core (`utils/Random.cpp`). Departure: seed 0 ("seed me from the clock") does not
//! exist here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const DEGREE: usize = 31;
const SEPARATION: u32 = 3;
const WARM_UP_DRAWS: usize = 310;
const MODULUS: u64 = 0xFFFF_FFFF;

/// The generator's whole state: 33 words, in the order the reference writes them.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Random {
    words: [u32; DEGREE],
    rear: u32,
    front: u32,
}

impl Random {
    /// The generator for `seed`.
    ///
    /// # Panics
    /// If `seed` is 0.
    pub fn new(seed: u64) -> Self {
        assert!(seed != 0, "seed 0 means 'from the clock' in the reference and does not exist here");
        let mut words = [0u32; DEGREE];
        words[0] = low_32(seed % MODULUS);
        for index in 1..DEGREE {
            // Park and Miller's generator by Schrage's method, in 32-bit signed arithmetic.
            let previous = i64::from(words[index - 1]);
            let next = 16_807 * (previous % 127_773) - 2_836 * (previous / 127_773);
            let next = if next < 0 { next + 2_147_483_647 } else { next };
            words[index] = low_32(next.cast_unsigned());
        }
        let mut random = Self { words, rear: 0, front: SEPARATION };
        for _ in 0..WARM_UP_DRAWS {
            random.draw();
        }
        random
    }

    /// Whether the positions lie inside the state; to be asked of a state read from a file.
    pub fn is_valid(&self) -> bool {
        (self.rear as usize) < DEGREE && (self.front as usize) < DEGREE
    }

    /// The 33 words: state, rear position, front position.
    pub fn words(&self) -> [u32; DEGREE + 2] {
        let mut all = [0; DEGREE + 2];
        all[..DEGREE].copy_from_slice(&self.words);
        all[DEGREE] = self.rear;
        all[DEGREE + 1] = self.front;
        all
    }

    /// One raw draw: 31 bits.
    #[inline]
    pub fn draw(&mut self) -> u32 {
        let front = self.front as usize;
        let rear = self.rear as usize;
        let sum = u64::from(self.words[front]) + u64::from(self.words[rear]);
        let sum = if sum >= MODULUS { sum - MODULUS } else { sum };
        self.words[front] = low_32(sum);
        self.front = if front + 1 == DEGREE { 0 } else { self.front + 1 };
        self.rear = if rear + 1 == DEGREE { 0 } else { self.rear + 1 };
        self.words[front] >> 1
    }

    /// A number in `0..limit`; one raw draw.
    ///
    /// # Panics
    /// If `limit` is 0 or above 2^31 (where the reference would start to reject draws).
    #[inline]
    pub fn below(&mut self, limit: u32) -> u32 {
        assert!(limit > 0 && limit <= 1 << 31, "limit {limit} must be 1..=2^31");
        let draw = self.draw();
        match RECIPROCALS.get(limit as usize) {
            Some(&reciprocal) => remainder(draw, limit, reciprocal),
            None => draw % limit,
        }
    }

    /// A number in `0.0..1.0`; two raw draws. Of its 48 bits, bit 31 is always 0.
    pub fn real(&mut self) -> f64 {
        let low = u64::from(self.draw());
        let high = u64::from(self.draw());
        let bits = (low | high << 32) & ((1 << 48) - 1);
        #[expect(clippy::cast_precision_loss, reason = "48 bits are exact in an f64")]
        let real = bits as f64 / (1u64 << 48) as f64;
        real
    }

    /// Selection sampling: calls `take` with the positions of `count` of `population` items, ascending.
    pub fn sample(&mut self, population: u32, count: u32, mut take: impl FnMut(u32)) {
        let mut taken = 0;
        for position in 0..population {
            if taken == count {
                return;
            }
            if self.below(population - position) < count - taken {
                take(position);
                taken += 1;
            }
        }
    }

    /// Shuffles `items`; one draw for each of them, the last included.
    ///
    /// # Panics
    /// If there are more than 2^31 items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        let count = u32::try_from(items.len()).expect("a shuffle of at most 2^31 items");
        for position in 0..count {
            let other = position + self.below(count - position);
            items.swap(position as usize, other as usize);
        }
    }
}

/// `2^64 / limit`, rounded up, for the small limits that learning draws below thousands of times a record.
static RECIPROCALS: [u64; 65] = {
    let mut reciprocals = [0; 65];
    let mut limit = 1;
    while limit < 65 {
        reciprocals[limit] = (u64::MAX / limit as u64).wrapping_add(1);
        limit += 1;
    }
    reciprocals
};

/// `value % limit` by two multiplications instead of a division: the fraction of `value / limit`, times `limit`.
/// Exact for every 32-bit value (Lemire, Kaser, Kurz: "Faster remainder by direct computation", 2019).
#[inline]
fn remainder(value: u32, limit: u32, reciprocal: u64) -> u32 {
    let fraction = reciprocal.wrapping_mul(u64::from(value));
    low_32(((u128::from(fraction) * u128::from(limit)) >> 64) as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass values below 2^32")]
fn low_32(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "the draws must be equal to the bit")]
    fn draws_equal_the_reference() {
        for (seed, raws, reals) in [
            (
                42,
                [91_716_700, 729_225_899, 1_505_223_544, 930_964_946, 467_588_745],
                [0.104_172_078_772_862_16, 0.397_740_943_331_399_4, 0.736_741_773_513_617_9],
            ),
            (
                1956,
                [2_108_973_445, 1_003_922_628, 2_080_764_699, 1_333_809_478, 2_040_411_817],
                [0.643_623_215_235_056_3, 0.317_481_757_595_583_5, 0.303_138_352_514_597_64],
            ),
            (
                1960,
                [889_696_819, 252_451_760, 383_714_562, 859_261_317, 1_467_944_023],
                [0.108_157_457_713_058_85, 0.287_187_032_173_285_7, 0.568_456_142_919_185_2],
            ),
        ] {
            let mut random = Random::new(seed);
            assert_eq!(raws.map(|_| random.draw()), raws);
            let mut random = Random::new(seed);
            assert_eq!(reals.map(|_| random.real()), reals);
        }
    }

    #[test]
    fn shuffles_equal_the_reference() {
        for (seed, expected) in [
            (42, [0, 9, 2, 5, 7, 3, 8, 4, 6, 1]),
            (1956, [5, 7, 0, 4, 2, 3, 6, 9, 8, 1]),
            (1960, [9, 6, 4, 8, 5, 3, 2, 0, 1, 7]),
        ] {
            let mut items = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
            Random::new(seed).shuffle(&mut items);
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn samples_equal_the_reference() {
        let mut taken = Vec::new();
        Random::new(42).sample(20, 5, |position| taken.push(position));
        assert_eq!(taken, [0, 5, 7, 9, 10]);
    }

    #[test]
    fn remainders_by_multiplication_are_exact() {
        for limit in 1..=64u32 {
            let reciprocal = RECIPROCALS[limit as usize];
            let near = |value: u32| [value.wrapping_sub(1), value, value.wrapping_add(1)];
            let multiples = (0..2000).flat_map(|n: u32| near(limit.wrapping_mul(n.wrapping_mul(2_147_483))));
            for value in multiples.chain([0, u32::MAX, u32::MAX - 1, 1 << 31, (1 << 31) - 1]) {
                assert_eq!(remainder(value, limit, reciprocal), value % limit, "{value} % {limit}");
            }
        }
    }

    #[test]
    fn a_fresh_state_equals_the_reference() {
        let words = Random::new(1960).words();
        assert_eq!(words[..5], [4_105_130_665, 4_223_036_261, 1_167_820_264, 1_969_230_268, 576_834_554]);
        assert_eq!(words[31..], [0, 3]);
    }
}
