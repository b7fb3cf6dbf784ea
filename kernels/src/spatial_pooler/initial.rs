//! The template: potential pools and initial permanences, a pure function of the parameters.
//!
//! Every model with the same parameters starts from the same 2048 columns, so they are drawn once and shared.
//!
//! Source: the constructor of `SpatialPooler.cpp`, `mapPotential_` and `initPermanence_`; `Topology.cpp` for the
//! order of candidates. Departure: only a potential radius as wide as the input, which is what every user of the
//! reference's anomaly models has.

use super::{SpatialPoolerParams, narrow};
use crate::random::Random;
use crate::word;

/// Fills `permanences` (`columns x stride`, packed) and `pools` (`columns x input_words`) and returns the generator
/// after the last draw.
///
/// # Panics
/// If a length differs from its shape.
pub fn fill_columns(params: &SpatialPoolerParams, permanences: &mut [f32], pools: &mut [u64]) -> Random {
    params.assert_usable();
    assert_eq!(permanences.len(), params.columns * params.stride(), "columns x stride");
    assert_eq!(pools.len(), params.columns * params.input_words(), "columns x input words");
    permanences.fill(0.0);
    pools.fill(0);
    let mut random = Random::new(params.seed);
    // The reference draws a tie-breaker for each column and never reads it again.
    for _ in 0..params.columns {
        random.real();
    }
    for column in 0..params.columns {
        draw_pool(params, column, &mut random, &mut pools[column * params.input_words()..]);
        for value in &mut permanences[column * params.stride()..][..params.pool_size()] {
            *value = initial_permanence(params, &mut random);
        }
    }
    random
}

/// Fills `connected_rows` (`input_bits x row_words`) from the permanences of all columns.
///
/// # Panics
/// If a length differs from its shape.
pub fn fill_connected_rows(
    params: &SpatialPoolerParams,
    permanences: &[f32],
    pools: &[u64],
    connected_rows: &mut [u64],
) {
    let (stride, input_words, row_words) = (params.stride(), params.input_words(), params.row_words());
    assert_eq!(permanences.len(), params.columns * stride, "columns x stride");
    assert_eq!(pools.len(), params.columns * input_words, "columns x input words");
    assert_eq!(connected_rows.len(), params.input_bits * row_words, "inputs x row words");
    connected_rows.fill(0);
    let threshold = params.connected_threshold();
    for column in 0..params.columns {
        let pool = word::ones(&pools[column * input_words..][..input_words]);
        for (input, &value) in pool.zip(&permanences[column * stride..]) {
            if value >= threshold {
                word::set(&mut connected_rows[input * row_words..][..row_words], column);
            }
        }
    }
}

/// Sets the bit of each input of the column's potential pool.
fn draw_pool(params: &SpatialPoolerParams, column: usize, random: &mut Random, pool: &mut [u64]) {
    let inputs = params.input_bits;
    let start = centre(params, column);
    let pool_size = u32::try_from(params.pool_size()).expect("at most 4095 inputs");
    let population = u32::try_from(inputs).expect("at most 4095 inputs");
    // The candidates are a whole turn of the ring of inputs, from the column's centre on.
    random.sample(population, pool_size, |position| word::set(pool, (start + position as usize) % inputs));
}

fn centre(params: &SpatialPoolerParams, column: usize) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "at most 2048 columns and 4095 inputs")]
    let (column, inputs, columns) = (column as f32, params.input_bits as f32, params.columns as f32);
    let centre = (f64::from(column) + 0.5) * f64::from(inputs / columns);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=4095 after the floor")]
    let centre = narrow(centre).floor() as usize;
    centre % params.input_bits
}

fn initial_permanence(params: &SpatialPoolerParams, random: &mut Random) -> f32 {
    let connected = params.connected_permanence;
    let drawn = if random.real() <= 0.5 {
        f64::from(connected) + f64::from(1.0 - connected) * random.real()
    } else {
        f64::from(connected) * random.real()
    };
    let permanence = truncate_to_5_digits(narrow(drawn));
    if permanence < params.trim_threshold() { 0.0 } else { permanence }
}

fn truncate_to_5_digits(value: f32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the reference truncates a value of 0..=100,000")]
    let steps = (value * 100_000.0) as i32;
    #[expect(clippy::cast_precision_loss, reason = "0..=100,000 is exact")]
    let steps = steps as f32;
    narrow(f64::from(steps) / 100_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spatial_pooler::MAX_INPUT_BITS;

    fn standard() -> SpatialPoolerParams {
        SpatialPoolerParams {
            input_bits: 454,
            columns: 2048,
            active_columns: 40,
            potential_share: 0.8,
            active_increment: 0.003,
            inactive_decrement: 0.0005,
            connected_permanence: 0.2,
            min_overlap_duty_share: 0.001,
            duty_cycle_period: 1000,
            seed: 1956,
        }
    }

    fn drawn(params: &SpatialPoolerParams) -> (Vec<f32>, Vec<u64>) {
        let mut permanences = vec![f32::NAN; params.columns * params.stride()];
        let mut pools = vec![u64::MAX; params.columns * params.input_words()];
        fill_columns(params, &mut permanences, &mut pools);
        (permanences, pools)
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the values must be equal to the bit")]
    fn the_first_columns_equal_the_reference() {
        let params = standard();
        let (permanences, pools) = drawn(&params);
        let check = |column: usize, inputs: [usize; 6], values: [f64; 6], connected: usize| {
            let row = &permanences[column * params.stride()..][..params.stride()];
            let pool: Vec<usize> = word::ones(&pools[column * 8..][..8]).collect();
            assert_eq!((pool.len(), row.len()), (363, 368));
            assert_eq!(pool[..6], inputs);
            assert_eq!(std::array::from_fn(|index| f64::from(row[index])), values);
            assert_eq!(row.iter().filter(|&&value| value >= params.connected_threshold()).count(), connected);
            assert_eq!(row[363..], [0.0; 5], "beyond the pool");
        };
        let first = [
            0.973_550_021_648_407,
            0.926_240_026_950_836_2,
            0.136_179_998_517_036_44,
            0.042_619_999_498_128_89,
            0.033_399_999_141_693_115,
            0.979_510_009_288_787_8,
        ];
        check(0, [0, 1, 2, 3, 4, 5], first, 191);
        let second = [
            0.241_679_996_252_059_94,
            0.075_039_997_696_876_53,
            0.058_649_998_158_216_476,
            0.968_129_992_485_046_4,
            0.159_930_005_669_593_8,
            0.994_660_019_874_572_8,
        ];
        check(1, [0, 1, 3, 4, 7, 8], second, 189);
    }

    #[test]
    fn rows_and_permanences_agree() {
        // The widest input there can be, over fewer columns: their centres lie many inputs apart.
        for (input_bits, columns) in [(101, 130), (512, 65), (643, 130), (MAX_INPUT_BITS, 70)] {
            check_rows(&SpatialPoolerParams { input_bits, columns, ..standard() });
        }
    }

    fn check_rows(params: &SpatialPoolerParams) {
        let (permanences, pools) = drawn(params);
        let mut rows = vec![0; params.input_bits * params.row_words()];
        fill_connected_rows(params, &permanences, &pools, &mut rows);
        for column in 0..params.columns {
            let pool = &pools[column * params.input_words()..][..params.input_words()];
            let pool: Vec<usize> = word::ones(pool).collect();
            assert_eq!(pool.len(), params.pool_size(), "column {column} of {params:?}");
            assert!(pool.iter().all(|&input| input < params.input_bits), "column {column} of {params:?}");
            for input in 0..params.input_bits {
                let permanence = pool.iter().position(|&member| member == input);
                let permanence = permanence.map(|index| permanences[column * params.stride() + index]);
                let is_connected = permanence.is_some_and(|value| value >= 0.2 - 0.000_001);
                assert_eq!(word::get(&rows[input * params.row_words()..], column), is_connected);
            }
        }
    }
}
