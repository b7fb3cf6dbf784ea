//! The spatial pooler's initial state: the same for every model with the same parameters, so it is drawn once
//! and shared.

use std::sync::{Arc, Mutex, PoisonError};

use htm_kernels::random::Random;
use htm_kernels::spatial_pooler::{SpatialPoolerParams, initial};

/// Initial permanences and the connected rows that follow from them.
#[derive(Debug)]
pub struct Template {
    params: SpatialPoolerParams,
    /// `columns x stride`, packed by pool.
    pub(super) permanences: Vec<f32>,
    /// `columns x input_words`.
    pub(super) pools: Vec<u64>,
    /// `input_bits x row_words`.
    pub(super) connected_rows: Vec<u64>,
    /// The generator after the last draw; nothing draws from it again.
    random: Random,
}

impl Template {
    /// Draws the template; some 15 ms for the standard size.
    pub fn new(params: SpatialPoolerParams) -> Self {
        let mut permanences = vec![0.0; params.columns * params.stride()];
        let mut pools = vec![0; params.columns * params.input_words()];
        let random = initial::fill_columns(&params, &mut permanences, &mut pools);
        let mut connected_rows = vec![0; params.input_bits * params.row_words()];
        initial::fill_connected_rows(&params, &permanences, &pools, &mut connected_rows);
        Self { params, permanences, pools, connected_rows, random }
    }

    /// The generator after construction, which the reference exposes.
    pub fn random(&self) -> &Random {
        &self.random
    }
}

/// The templates in use, one per parameter set.
#[derive(Debug, Default)]
pub struct Templates {
    all: Mutex<Vec<Arc<Template>>>,
}

impl Templates {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The template for `params`, drawn if this is the first model that needs it.
    pub fn get(&self, params: &SpatialPoolerParams) -> Arc<Template> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = all.iter().find(|template| template.params == *params) {
            return Arc::clone(template);
        }
        let template = Arc::new(Template::new(*params));
        all.push(Arc::clone(&template));
        template
    }
}
