//! Promise: whatever a spatial pooler sees, and however wide its input is, it equals a naive one to the bit, on every
//! instruction set of this machine: the columns it chooses, what they learn, and what it does for columns that starve.

use std::sync::Arc;

use htm_core::isa::Isa;
use htm_core::model::spatial_pooler::SpatialPooler;
use htm_core::model::template::Template;
use htm_core::model::workspace::Workspace;
use htm_core::params::standard_spatial_pooler;
use htm_kernels::spatial_pooler::{MAX_INPUT_BITS, SpatialPoolerParams};
use htm_tests::naive_spatial_pooler::NaiveSpatialPooler;
use proptest::collection::vec;
use proptest::prelude::*;

/// Steps both through `inputs` with each instruction set; returns one of the poolers, which are all alike.
fn check(params: SpatialPoolerParams, inputs: &[Vec<u16>]) -> SpatialPooler {
    let start = SpatialPooler::new(params, Arc::new(Template::new(params)));
    let mut naive = NaiveSpatialPooler::of(&mut start.clone());
    let expected: Vec<Vec<u16>> = inputs.iter().map(|active| naive.compute(active)).collect();
    let poolers = Isa::available().map(|isa| {
        let mut pooler = start.clone();
        let mut workspace = Workspace::new().with_isa(isa);
        for (step, (active, expected)) in inputs.iter().zip(&expected).enumerate() {
            let found = pooler.compute(&mut workspace, active);
            assert_eq!(found, expected, "{isa}, step {step} of {params:?}");
        }
        naive.assert_equals(&mut pooler);
        pooler
    });
    poolers.last().expect("there is portable code")
}

/// Every input with a chance of `eighths` / 8.
fn some_inputs(params: &SpatialPoolerParams, seed: u64, eighths: u64) -> Vec<u16> {
    let mix = |input: u16| (seed ^ u64::from(input)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let is_active = |input: &u16| mix(*input).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 61 < eighths;
    (0u16..).take(params.input_bits).filter(is_active).collect()
}

prop_compose! {
    fn params()(
        input_bits in prop_oneof![1..=130usize, 440..=700usize, 4000..=MAX_INPUT_BITS],
        columns in 1..=130usize,
        active_columns in 1..=12usize,
        potential_share in 0.05..=1.0f32,
        active_increment in prop_oneof![Just(0.003f32), Just(0.09)],
        inactive_decrement in prop_oneof![Just(0.0005f32), Just(0.04)],
        connected_permanence in prop_oneof![Just(0.2f32), Just(0.5)],
        duty_cycle_period in prop_oneof![Just(7u32), Just(1000)],
        seed in 1..1000u64,
    ) -> SpatialPoolerParams {
        SpatialPoolerParams {
            columns,
            active_columns: active_columns.min(columns),
            potential_share,
            active_increment,
            inactive_decrement,
            connected_permanence,
            duty_cycle_period,
            seed,
            ..standard_spatial_pooler(input_bits)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pooler_of_any_width_equals_a_naive_one(
        params in params().prop_filter("an input for each column", |params| params.pool_size() > 0),
        steps in vec((0..5u64, prop_oneof![4 => 0..=2u64, 1 => 3..=8u64]), 20..70),
    ) {
        let inputs: Vec<Vec<u16>> =
            steps.into_iter().map(|(seed, eighths)| some_inputs(&params, seed, eighths)).collect();
        check(params, &inputs);
    }
}

#[test]
fn a_pooler_of_the_standard_size_equals_a_naive_one_at_the_edges_of_words_and_planes() {
    for input_bits in [454, 511, 512, 643, MAX_INPUT_BITS] {
        let params = standard_spatial_pooler(input_bits);
        let width = u16::try_from(input_bits).expect("at most 4095");
        // Of 454 bits 42 are active, of 4095 at first a few hundred; and once all of them.
        let mut inputs: Vec<Vec<u16>> =
            (0..130u16).map(|step| (step % 24..width).step_by(11).collect()).collect();
        inputs.push((0..width).collect());
        check(params, &inputs);
    }
}

#[test]
fn columns_that_starve_over_a_wide_input_are_raised_as_a_naive_pooler_raises_them() {
    let params = SpatialPoolerParams {
        columns: 60,
        active_columns: 4,
        potential_share: 0.05,
        ..standard_spatial_pooler(MAX_INPUT_BITS)
    };
    // So few that most columns are connected to none of them.
    let input: Vec<u16> = (5..4095).step_by(409).collect();
    let mut pooler = check(params, &vec![input; 130]);
    let view = pooler.view();
    let was_active = view.active_duty.iter().filter(|&&duty| duty > 0.0).count();
    let changed = view.scalars.slot_count as usize;
    assert!(changed > was_active, "{changed} columns have changed, {was_active} were ever active");
}
