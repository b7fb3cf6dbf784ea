//! One seed's run, from its plan to what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use htmengine::repository::Repository;

use super::canary::Canary;
use super::fault::Fault;
use super::plan::{BusKind, DatabaseKind, Plan};
use super::repository::SimulatedRepository;
use super::stage::Stage;
use super::trace::Trace;
use super::verdict::Violation;
use super::verification::Reader;
use super::world::{World, lock};

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Where roles met.
    pub bus: BusKind,
    /// Where rows lay.
    pub database: DatabaseKind,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// What happened.
    pub trace: Trace,
    /// What went wrong on purpose, and how often.
    pub faults: BTreeMap<Fault, u64>,
    /// Samples that had to be stored, and were unless there is a violation.
    pub rows: usize,
    /// Rows published, repetitions included.
    pub published_rows: u64,
}

/// Runs a seed, with a bug on purpose if one is named. `keeps_trace` keeps every event as a line.
pub fn run(seed: u64, canary: Option<Canary>, keeps_trace: bool) -> Outcome {
    let world = World::new(seed, canary, keeps_trace);
    let mut reader = Reader::new(&world.bus.results);
    world.live_roughly();
    world.verify();
    let (read, sent) = (reader.count(), world.bus.results.arrived());
    if read != sent {
        let what = format!("a reader was sent {sent} messages and knows of {read}");
        world.stage.violate(Violation::Results { metric: "all".to_owned(), what });
    }
    world.end();
    let rows = lock(&world.expectation).sample_count();
    let published_rows = lock(&world.results).row_count();
    Outcome {
        seed,
        bus: world.plan.bus,
        database: world.plan.database,
        violations: world.stage.violations(),
        trace: world.stage.take_trace(),
        faults: world.stage.counts(),
        rows,
        published_rows,
    }
}

/// A database of this world in which nothing goes wrong, to see that it is one.
pub fn calm_repository() -> Box<dyn Repository> {
    let stage = Stage::new(0, Plan::of(0).rates, None, false);
    Box::new(SimulatedRepository::new(stage.begin_life(0, None), Arc::default()))
}
