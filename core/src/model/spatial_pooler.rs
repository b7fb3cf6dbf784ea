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
            private_permanences: Array::empty(),
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
