//! Ids and generations of a run, repeated by its seed.

use std::sync::Arc;

use htmengine::monitoring::RandomBytes;

use super::stage::Stage;

/// The stage's generator.
pub(super) struct SimulatedRandom {
    stage: Arc<Stage>,
}

impl SimulatedRandom {
    pub(super) fn new(stage: &Arc<Stage>) -> Self {
        Self { stage: Arc::clone(stage) }
    }
}

impl RandomBytes for SimulatedRandom {
    fn random_bytes(&self) -> [u8; 16] {
        self.stage.bytes()
    }
}
