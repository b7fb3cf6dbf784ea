//! Sums, means and variances with numpy's order of additions, so that they are equal to the last bit.
//!
//! Source: numpy 1.12: pairwise summation in blocks of at most 128 within chunks of 8192 (its buffer size).

/// Elements that numpy sums pairwise before it goes on one chunk after the other.
const CHUNK: usize = 8192;
/// Below this length pairwise summation stops halving.
const BLOCK: usize = 128;

/// Mean, 0/0 for no values.
pub fn mean(values: &[f64]) -> f64 {
    sum(values, |value| value) / count(values)
}

/// Population variance, 0/0 for no values.
pub fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    sum(values, |value| (value - mean) * (value - mean)) / count(values)
}

/// Sum of `map` over the values.
pub fn sum(values: &[f64], map: impl Fn(f64) -> f64 + Copy) -> f64 {
    values.chunks(CHUNK).fold(0.0, |total, chunk| total + pairwise(chunk, map))
}

fn pairwise(values: &[f64], map: impl Fn(f64) -> f64 + Copy) -> f64 {
    let count = values.len();
    if count < 8 {
        return values.iter().fold(0.0, |total, &value| total + map(value));
    }
    if count > BLOCK {
        let half = count / 2;
        let (left, right) = values.split_at(half - half % 8);
        return pairwise(left, map) + pairwise(right, map);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = eights[0].map(map);
    for eight in &eights[1..] {
        for (sum, &value) in sums.iter_mut().zip(eight) {
            *sum += map(value);
        }
    }
    let total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    rest.iter().fold(total, |total, &value| total + map(value))
}

#[expect(clippy::cast_precision_loss, reason = "a window of a few thousand values")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "small integers are exact")]
    fn sums_every_length_completely() {
        for len in (0..300).chain([8191, 8192, 8193, 20_000]) {
            let values: Vec<f64> = (0..len).map(f64::from).collect();
            let expected = f64::from(len) * (f64::from(len) - 1.0) / 2.0;
            assert_eq!(sum(&values, |value| value), expected, "{len}");
        }
        assert_eq!(variance(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the order of additions is the point")]
    fn adds_in_the_order_of_numpy() {
        // 1e16 swallows a lone 1.0; only the eight-fold accumulators keep these two apart from it.
        let mut values = vec![0.0; 16];
        values[0] = 1e16;
        values[1] = 1.0;
        values[9] = 1.0;
        assert_eq!(sum(&values, |value| value), 1e16 + 2.0);
        assert_eq!(values.iter().fold(0.0, |total, value| total + value), 1e16);
    }
}
