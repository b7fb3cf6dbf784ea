//! Every instruction set against a model that keeps one permanence per input and column and no connected rows.

use proptest::prelude::*;

use super::*;
use crate::spatial_pooler::{MAX_INPUT_BITS, SpatialPoolerScalars, initial};

/// A pooler's memory with room for everything.
#[derive(Clone)]
struct Memory {
    scalars: SpatialPoolerScalars,
    column_slots: Vec<u16>,
    private_permanences: Vec<f32>,
    template_permanences: Vec<f32>,
    pools: Vec<u64>,
    row_slots: Vec<u16>,
    private_rows: Vec<u64>,
    template_rows: Vec<u64>,
    duty: [Vec<f32>; 2],
}

impl Memory {
    fn new(params: &SpatialPoolerParams) -> Self {
        let (columns, row_words) = (params.columns, params.row_words());
        let mut template_permanences = vec![0.0; columns * params.stride()];
        let mut pools = vec![0; columns * params.input_words()];
        initial::fill_columns(params, &mut template_permanences, &mut pools);
        let mut template_rows = vec![0; params.input_bits * row_words];
        initial::fill_connected_rows(params, &template_permanences, &pools, &mut template_rows);
        Self {
            scalars: SpatialPoolerScalars {
                iteration: 0,
                min_overlap_duty: 0.0,
                slot_count: 0,
                row_count: 0,
            },
            column_slots: vec![NO_SLOT; columns],
            private_permanences: vec![f32::NAN; template_permanences.len()],
            template_permanences,
            pools,
            row_slots: vec![NO_SLOT; params.input_bits],
            private_rows: vec![u64::MAX; template_rows.len()],
            template_rows,
            duty: [vec![0.0; columns], vec![0.0; columns]],
        }
    }

    fn view(&mut self) -> SpatialPoolerState<'_> {
        let [overlap_duty, active_duty] = &mut self.duty;
        SpatialPoolerState {
            scalars: &mut self.scalars,
            column_slots: &mut self.column_slots,
            private_permanences: &mut self.private_permanences,
            template_permanences: &self.template_permanences,
            pools: &self.pools,
            row_slots: &mut self.row_slots,
            private_rows: &mut self.private_rows,
            template_rows: &self.template_rows,
            overlap_duty,
            active_duty,
        }
    }
}

/// Per column and input: the permanence, if the input is in the pool.
type Naive = Vec<Vec<Option<f32>>>;

fn naive_of(params: &SpatialPoolerParams, view: &SpatialPoolerState<'_>) -> Naive {
    let column_of = |column: usize| {
        let mut permanences = vec![None; params.input_bits];
        for (input, &permanence) in view.pool(params, column).zip(view.permanences(params, column)) {
            permanences[input] = Some(permanence);
        }
        permanences
    };
    (0..params.columns).map(column_of).collect()
}

/// Moves one permanence as the reference does, clipping at both ends; returns whether it crossed.
fn move_naively(params: &SpatialPoolerParams, permanence: &mut f32, delta: f32) -> bool {
    let threshold = params.connected_threshold();
    let was_connected = *permanence >= threshold;
    let clipped = (*permanence + delta).clamp(0.0, 1.0);
    *permanence = if clipped < params.trim_threshold() { 0.0 } else { clipped };
    was_connected != (clipped >= threshold)
}

fn assert_same(params: &SpatialPoolerParams, memory: &mut Memory, naive: &Naive, context: &str) {
    let view = memory.view();
    let bits = |permanences: &Naive| -> Vec<Option<u32>> {
        permanences.iter().flatten().map(|permanence| permanence.map(f32::to_bits)).collect()
    };
    assert_eq!(bits(&naive_of(params, &view)), bits(naive), "{context}: permanences");
    let rows = view.connected_rows(params);
    for (column, permanences) in naive.iter().enumerate() {
        for (permanence, input) in permanences.iter().zip(0..) {
            let expected = permanence.is_some_and(|permanence| permanence >= params.connected_threshold());
            assert_eq!(word::get(rows.row(input), column), expected, "{context}: {input} to {column}");
        }
    }
    let (stride, pool_size) = (params.stride(), params.pool_size());
    let used = &view.private_permanences[..view.scalars.slot_count as usize * stride];
    let is_clean = |column: &[f32]| column[pool_size..].iter().all(|value| value.to_bits() == 0);
    assert!(stride == 0 || used.chunks_exact(stride).all(is_clean), "{context}: beyond the pool");
}

/// Applies what a call reported, after checking it and the room it asks for.
fn apply(params: &SpatialPoolerParams, memory: &mut Memory, mut found: Vec<Flip>, expected: &[Flip]) {
    found.sort_unstable();
    assert_eq!(found, expected, "flips");
    let (missing, before) = (memory.view().rows_missing(&found), memory.scalars.row_count as usize);
    apply_flips(params, &mut memory.view(), &found);
    assert_eq!(memory.scalars.row_count as usize, before + missing, "rows opened");
}

fn check(params: &SpatialPoolerParams, steps: &[(Vec<u16>, Vec<u16>, u16)]) {
    let start = Memory::new(params);
    for isa in Isa::available() {
        let mut memory = start.clone();
        let mut naive = naive_of(params, &memory.view());
        let mut flips = vec![Flip { input: 0, column: 0 }; max_flips(params)];
        for (step, (inputs, columns, raised)) in steps.iter().enumerate() {
            let mut is_active = vec![false; params.input_bits];
            for &input in inputs {
                is_active[usize::from(input)] = true;
            }
            let mut expected = Vec::new();
            for &column in columns {
                for (permanence, input) in naive[usize::from(column)].iter_mut().zip(0..) {
                    let is_active = is_active[usize::from(input)];
                    let delta = if is_active { params.active_increment } else { -params.inactive_decrement };
                    if permanence.as_mut().is_some_and(|value| move_naively(params, value, delta)) {
                        expected.push(Flip { input, column });
                    }
                }
            }
            expected.sort_unstable();
            let missing = memory.view().slots_missing(columns);
            let before = memory.scalars.slot_count as usize;
            let count = adapt(isa, params, &mut memory.view(), inputs, columns, &mut flips);
            assert_eq!(memory.scalars.slot_count as usize, before + missing, "columns opened");
            apply(params, &mut memory, flips[..count].to_vec(), &expected);
            assert_same(params, &mut memory, &naive, &format!("{isa}, step {step}"));

            expected.clear();
            for (permanence, input) in naive[usize::from(*raised)].iter_mut().zip(0..) {
                if permanence.as_mut().is_some_and(|value| move_naively(params, value, params.bump())) {
                    expected.push(Flip { input, column: *raised });
                }
            }
            let count = bump_up(params, &mut memory.view(), *raised, &mut flips);
            apply(params, &mut memory, flips[..count].to_vec(), &expected);
            assert_same(params, &mut memory, &naive, &format!("{isa}, step {step}, raised"));
        }
    }
}

/// Large steps, so that permanences often cross the threshold and reach both ends.
fn lively(input_bits: usize, pool_size: usize, columns: usize) -> SpatialPoolerParams {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let potential_share = pool_size as f32 / input_bits as f32;
    let params = SpatialPoolerParams {
        input_bits,
        columns,
        active_columns: columns.min(5),
        potential_share,
        active_increment: 0.09,
        inactive_decrement: 0.04,
        connected_permanence: 0.2,
        min_overlap_duty_share: 0.001,
        duty_cycle_period: 1000,
        seed: 7,
    };
    assert_eq!(params.pool_size(), pool_size);
    params
}

#[test]
fn pools_at_the_edges_of_lanes_and_words_learn_as_one_by_one() {
    for (input_bits, pool_size) in [
        (1, 1),
        (7, 0),
        (16, 15),
        (16, 16),
        (17, 17),
        (63, 31),
        (64, 64),
        (65, 33),
        (100, 63),
        (128, 65),
        (454, 363),
        (511, 1),
        (511, 511),
        (512, 512),
        (643, 514),
        (1025, 1024),
        (4095, 3276),
        (4095, 4095),
    ] {
        let params = lively(input_bits, pool_size, 6);
        let width = u16::try_from(input_bits).expect("small");
        let step = |step: u16| {
            let inputs = (0..width).filter(|input| (input * 7 + step) % 5 < 2).collect();
            (inputs, vec![step % 6, (step + 2) % 6], (step + 1) % 6)
        };
        check(&params, &(0..12).map(step).collect::<Vec<_>>());
    }
}

#[test]
fn a_forged_state_reports_nothing_outside_the_pool_and_is_the_same_everywhere() {
    let params = lively(40, 19, 3);
    let mut start = Memory::new(&params);
    start.template_permanences.fill(0.19);
    start.template_permanences[3] = f32::NAN;
    start.template_permanences[20] = f32::INFINITY;
    start.template_permanences[21] = 0.21;
    let inputs: Vec<u16> = (0..40).collect();
    let results: Vec<(Vec<Flip>, Vec<u32>)> = Isa::available()
        .map(|isa| {
            let mut memory = start.clone();
            let mut flips = vec![Flip { input: 0, column: 0 }; max_flips(&params)];
            let count = adapt(isa, &params, &mut memory.view(), &inputs, &[0, 2], &mut flips);
            let private = memory.private_permanences[..2 * params.stride()].iter();
            (flips[..count].to_vec(), private.map(|value| value.to_bits()).collect())
        })
        .collect();
    assert_eq!(results[0].0.len(), 18 + 19);
    assert!(results.iter().all(|result| *result == results[0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn learns_what_one_by_one_learns(
        (input_bits, pool_size) in prop_oneof![4 => 1usize..200, 1 => 200..=MAX_INPUT_BITS]
            .prop_flat_map(|bits| (Just(bits), 0..=bits)),
        columns in 1usize..70,
        seeds in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..6),
    ) {
        let params = lively(input_bits, pool_size, columns);
        let chosen = |seed: u64, limit: usize, among: u64| -> Vec<u16> {
            let is_chosen = |index: &u16| seed.rotate_left(u32::from(*index) * 5).is_multiple_of(among);
            (0..u16::try_from(limit).expect("small")).filter(is_chosen).collect()
        };
        let steps: Vec<_> = seeds
            .into_iter()
            .map(|(inputs, active)| {
                let mut active_columns = chosen(active, columns, 6);
                active_columns.truncate(params.active_columns);
                let raised = u16::try_from(active % columns as u64).expect("small");
                (chosen(inputs, input_bits, 3), active_columns, raised)
            })
            .collect();
        check(&params, &steps);
    }
}
