//! The memory of one spatial pooler, and its step.

use std::sync::Arc;

use htm_kernels::spatial_pooler::learning::Flip;
use htm_kernels::spatial_pooler::{
    NO_SLOT, SpatialPoolerParams, SpatialPoolerScalars, SpatialPoolerState, duty_cycle, inhibition, learning,
    overlap,
};

use super::template::Template;
use super::workspace::Workspace;
use crate::array::Array;

/// Private columns or rows made room for at once, so that growing is rare.
const SLOT_HEADROOM: usize = 16;

/// Private columns of a first step that take more than this are made room for in a new pooler; the standard model's
/// take less.
const LARGE_FIRST_STEP_BYTES: usize = 128 << 10;

/// A spatial pooler: the shared template and the columns that have learned.
#[derive(Debug, Clone)]
pub struct SpatialPooler {
    pub(crate) params: SpatialPoolerParams,
    pub(crate) template: Arc<Template>,
    pub(crate) scalars: SpatialPoolerScalars,
    pub(crate) column_slots: Array<u16>,
    pub(crate) private_permanences: Array<f32>,
    pub(crate) row_slots: Array<u16>,
    pub(crate) private_rows: Array<u64>,
    pub(crate) overlap_duty: Array<f32>,
    pub(crate) active_duty: Array<f32>,
}

impl SpatialPooler {
    /// A pooler that has seen nothing.
    pub fn new(params: SpatialPoolerParams, template: Arc<Template>) -> Self {
        Self {
            scalars: SpatialPoolerScalars {
                iteration: 0,
                min_overlap_duty: 0.0,
                slot_count: 0,
                row_count: 0,
            },
            column_slots: Array::filled(params.columns, NO_SLOT),
            private_permanences: Array::zeroed(room_at_start(&params)),
            row_slots: Array::filled(params.input_bits, NO_SLOT),
            private_rows: Array::empty(),
            overlap_duty: Array::zeroed(params.columns),
            active_duty: Array::zeroed(params.columns),
            params,
            template,
        }
    }

    /// Pools `active_inputs` (ascending) and learns; returns the active columns, ascending.
    ///
    /// # Panics
    /// If an input is out of range.
    pub fn compute<'w>(&mut self, workspace: &'w mut Workspace, active_inputs: &[u16]) -> &'w [u16] {
        workspace.fit_spatial_pooler(&self.params);
        workspace.active_inputs.clear();
        workspace.active_inputs.extend_from_slice(active_inputs);
        self.step(workspace);
        &workspace.active_columns
    }

    pub(super) fn step(&mut self, workspace: &mut Workspace) {
        let params = self.params;
        let Workspace { active_inputs, active_columns, overlap_planes, flips, isa, .. } = workspace;
        let isa = *isa;
        self.scalars.iteration += 1;
        let state = self.view();
        let used_planes = overlap::count(isa, state.connected_rows(&params), active_inputs, overlap_planes);
        inhibition::select(isa, overlap_planes, used_planes, params.columns, active_columns);
        let missing = state.slots_missing(active_columns);
        self.reserve_slots(missing);
        let count = learning::adapt(isa, &params, &mut self.view(), active_inputs, active_columns, flips);
        self.apply(&flips[..count]);
        let is_any_starving =
            duty_cycle::update(isa, &params, &mut self.view(), overlap_planes, used_planes, active_columns);
        if is_any_starving {
            let mut starving = Vec::new();
            duty_cycle::for_each_starving(&self.view(), |column| starving.push(column));
            let missing = self.view().slots_missing(&starving);
            self.reserve_slots(missing);
            for column in starving {
                let count = learning::bump_up(&params, &mut self.view(), column, flips);
                self.apply(&flips[..count]);
            }
        }
        if self.scalars.iteration.is_multiple_of(duty_cycle::UPDATE_PERIOD) {
            duty_cycle::update_minimum(&params, &mut self.view());
        }
    }

    /// The state as the kernels see it.
    pub fn view(&mut self) -> SpatialPoolerState<'_> {
        SpatialPoolerState {
            scalars: &mut self.scalars,
            column_slots: &mut self.column_slots,
            private_permanences: &mut self.private_permanences,
            template_permanences: &self.template.permanences,
            pools: &self.template.pools,
            row_slots: &mut self.row_slots,
            private_rows: &mut self.private_rows,
            template_rows: &self.template.connected_rows,
            overlap_duty: &mut self.overlap_duty,
            active_duty: &mut self.active_duty,
        }
    }

    /// Fixed numbers.
    pub fn params(&self) -> &SpatialPoolerParams {
        &self.params
    }

    /// The initial state it shares.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Bytes of memory that are no section of a file, without the template.
    pub fn own_bytes(&self) -> usize {
        self.column_slots.own_bytes()
            + self.private_permanences.own_bytes()
            + self.row_slots.own_bytes()
            + self.private_rows.own_bytes()
            + self.overlap_duty.own_bytes()
            + self.active_duty.own_bytes()
    }

    fn apply(&mut self, flips: &[Flip]) {
        let params = self.params;
        let rows = self.scalars.row_count as usize + self.view().rows_missing(flips);
        if rows * params.row_words() > self.private_rows.len() {
            let roomy = (rows + rows / 8 + SLOT_HEADROOM).min(params.input_bits);
            self.private_rows.grow(roomy * params.row_words());
        }
        learning::apply_flips(&params, &mut self.view(), flips);
    }

    fn reserve_slots(&mut self, missing: usize) {
        let slots = self.scalars.slot_count as usize + missing;
        if slots * self.params.stride() > self.private_permanences.len() {
            let roomy = (slots + slots / 8 + SLOT_HEADROOM).min(self.params.columns);
            self.private_permanences.grow(roomy * self.params.stride());
        }
    }
}

/// Private permanences that a new pooler has room for: none, unless the input is so wide that its first columns would
/// make a small model grow out of proportion. Who reserves memory for a step goes by what the model holds.
fn room_at_start(params: &SpatialPoolerParams) -> usize {
    let room = (params.active_columns + SLOT_HEADROOM) * params.stride();
    if room * size_of::<f32>() > LARGE_FIRST_STEP_BYTES { room } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::standard_spatial_pooler;

    #[test]
    fn the_first_columns_of_a_wide_pooler_lie_in_room_that_it_holds_from_the_start() {
        for (input_bits, is_wide) in [(454, false), (643, false), (1000, true), (4095, true)] {
            let params = standard_spatial_pooler(input_bits);
            let mut pooler = SpatialPooler::new(params, Arc::new(Template::new(params)));
            let at_start = pooler.private_permanences.own_bytes();
            assert_eq!(at_start > 0, is_wide, "{input_bits} bits: {at_start} bytes at the start");
            pooler.compute(&mut Workspace::new(), &[3, 40, 400]);
            let later = pooler.private_permanences.own_bytes();
            assert_eq!(pooler.scalars.slot_count, 40);
            assert!(
                later == at_start || later <= LARGE_FIRST_STEP_BYTES,
                "{input_bits} bits: {later} bytes later"
            );
        }
    }
}
