//! What a seed stands for: backends, processes, limits, metrics with their models, and how often what goes wrong.
//!
//! A run has few metrics with few rows and mostly small models, so that thousands of runs fit into a minute; every so many
//! seeds there is a model of the standard size, over a declared range or one that it learns and outgrows.

use htmengine::bus::rabbitmq::WINDOW_MESSAGES;
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::role::RoleKind;
use crate::seeded_random::SeededRandom;

/// Rows of a metric whose range is learned: what that takes, and some more.
const LEARNED_ROWS: usize = 20;
/// One seed in so many has models of the standard size.
const STANDARD_ONE_IN: usize = 24;
/// Begins a second stream of a seed, for what was added later. Chosen so that the seeds which were kept for what they found draw
/// nothing there that changes them.
const SECOND_STREAM: u64 = 0x010c_7d11_0000_0000;
/// What any one of the small models needs in order to be stepped, also one that is not known yet.
const SMALL_MODEL_BYTES: usize = 1_500 << 10;

/// Where roles meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// In their process, with which it dies.
    Memory,
    /// At a broker.
    Broker,
}

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// In a file of this process: nobody else writes, and no answer gets lost.
    File,
    /// At a server.
    Server,
}

/// How a metric gets its model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ModelPlan {
    /// It has none.
    None,
    /// With all parameters given.
    Complete(Map<String, Value>),
    /// Over a declared range, of the standard size.
    Declared { min: f64, max: f64 },
    /// Over a range that is learned from the first rows, of the standard size; asked for by a pattern of its name.
    Learned,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricPlan {
    pub(super) name: String,
    pub(super) model: ModelPlan,
    /// Samples that are sent.
    pub(super) sample_count: usize,
    /// Samples that come before anybody asks for a model.
    pub(super) monitored_after: usize,
    /// Whether its model is given up and asked for again.
    pub(super) is_monitored_twice: bool,
    /// What its values are drawn from.
    pub(super) seed: u64,
}

/// How often what goes wrong: once in so many occasions, 0 for never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    one_in: [usize; Fault::ALL.len()],
    interruption_one_in: usize,
}

impl Rates {
    pub(super) fn of(&self, fault: Fault) -> usize {
        self.one_in[fault as usize]
    }

    pub(super) fn interruption_one_in(&self) -> usize {
        self.interruption_one_in
    }

    fn set(&mut self, random: &mut SeededRandom, fault: Fault, one_in: usize) {
        // Around that, so that seeds differ.
        self.one_in[fault as usize] = one_in / 2 + 1 + random.below(one_in);
    }
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) bus: BusKind,
    pub(super) database: DatabaseKind,
    /// Which roles share a process.
    pub(super) processes: Vec<Vec<RoleKind>>,
    pub(super) metrics: Vec<MetricPlan>,
    pub(super) rates: Rates,
    /// Calls to the outside that a process lives for, on average; `None` if none is killed.
    pub(super) calls_per_life: Option<usize>,
    /// Turns that are taken while things go wrong.
    pub(super) rough_turns: usize,
    pub(super) data_messages: usize,
    pub(super) hints: usize,
    pub(super) score_messages: usize,
    /// Messages on their way to the broker.
    pub(super) window: usize,
    pub(super) checkpoint_rows: i64,
    pub(super) memory_budget_bytes: usize,
    pub(super) max_resident_models: usize,
    pub(super) learning_rows: u32,
    /// Whether old rows are deleted. Then no file may get lost: nothing could build its model again.
    pub(super) collects_garbage: bool,
    /// Messages delivered and not acknowledged, of each queue at the broker; `None` for as many as the engine asks for.
    pub(super) prefetch: Option<usize>,
    /// Results on their way to the broker.
    pub(super) results_window: usize,
    /// What samples about as far ahead of the clock as may be are drawn from, if there are any.
    pub(super) future_seed: Option<u64>,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let bus = [BusKind::Memory, BusKind::Broker][random.below(2)];
        let database = [DatabaseKind::File, DatabaseKind::Server][random.below(2)];
        let is_standard = random.below(STANDARD_ONE_IN) == 0;
        let processes = processes(bus, database, &mut random);
        let collects_garbage = !is_standard && random.below(5) == 0;
        let calls_per_life = (random.below(4) > 0).then(|| [10, 40, 150][random.below(3)]);
        let mut second = SeededRandom::new(seed ^ SECOND_STREAM);
        Self {
            bus,
            database,
            processes,
            metrics: metrics(is_standard, &mut random),
            rates: rates((bus, database), (calls_per_life.is_some(), collects_garbage), &mut random),
            calls_per_life,
            rough_turns: 100 + random.below(250),
            data_messages: [2, 4, 1_000][random.below(3)],
            hints: [1, 3, 1_000][random.below(3)],
            score_messages: [1, 3, 1_000][random.below(3)],
            window: [1, 3, 256][random.below(3)],
            checkpoint_rows: [1, 3, 10, 1_000][random.below(4)],
            memory_budget_bytes: [1, 700 << 10, SMALL_MODEL_BYTES, 1 << 30][random.below(4)],
            max_resident_models: [1, 2, 1_000][random.below(3)],
            learning_rows: u32::try_from(LEARNED_ROWS).expect("a few"),
            collects_garbage,
            prefetch: [Some(1), Some(3), None, None][second.below(4)],
            results_window: [1, WINDOW_MESSAGES][second.below(2)],
            future_seed: (second.below(4) == 0).then(|| second.bits()),
        }
    }

    /// Whether no line that was read is lost: nothing dies, and no process is stopped.
    pub(super) fn loses_no_line(&self) -> bool {
        self.calls_per_life.is_none()
    }

    /// Whether the budget has room for any model, so that never one has to be stepped beyond it.
    pub(super) fn every_model_fits(&self) -> bool {
        let is_small = |metric: &MetricPlan| matches!(metric.model, ModelPlan::None | ModelPlan::Complete(_));
        let needed = if self.metrics.iter().all(is_small) { SMALL_MODEL_BYTES } else { 1 << 30 };
        self.memory_budget_bytes >= needed
    }

    /// Whether no refused line is counted twice: none is delivered or written again.
    pub(super) fn repeats_no_count(&self) -> bool {
        let repeated = [Fault::CommitAnswerLost, Fault::ConnectionLost, Fault::ConfirmationLost];
        repeated.into_iter().all(|fault| self.rates.of(fault) == 0)
    }
}

fn processes(bus: BusKind, database: DatabaseKind, random: &mut SeededRandom) -> Vec<Vec<RoleKind>> {
    let all = RoleKind::ALL.to_vec();
    if bus == BusKind::Memory {
        return vec![all];
    }
    match (database, random.below(3)) {
        (_, 0) => vec![all],
        (_, 1) => {
            vec![vec![RoleKind::Intake], vec![RoleKind::Storer, RoleKind::Anomaly], vec![RoleKind::Scheduler]]
        }
        _ => all.into_iter().map(|role| vec![role]).collect(),
    }
}

fn metrics(is_standard: bool, random: &mut SeededRandom) -> Vec<MetricPlan> {
    let count = if is_standard { 1 + random.below(2) } else { 1 + random.below(4) };
    let metric = |number: usize| {
        let model = match (is_standard, random.below(8)) {
            (true, 0..4) => ModelPlan::Declared { min: 0.0, max: 120.0 },
            (true, _) => ModelPlan::Learned,
            (false, 0) => ModelPlan::None,
            (false, _) => ModelPlan::Complete(complete_params(random)),
        };
        // The storer monitors metrics of such names.
        let kind = if model == ModelPlan::Learned { "learned" } else { "metric" };
        let is_complete = matches!(model, ModelPlan::Complete(_));
        let sample_count = if is_complete { 10 + random.below(50) } else { 25 + random.below(30) };
        MetricPlan {
            name: format!("{kind}.{number}"),
            model,
            sample_count,
            monitored_after: if random.below(2) == 0 { 0 } else { random.below(sample_count) },
            is_monitored_twice: is_complete && random.below(4) == 0,
            seed: random.bits(),
        }
    };
    (0..count).map(metric).collect()
}

/// A small model of one of several kinds.
fn complete_params(random: &mut SeededRandom) -> Map<String, Value> {
    let value = if random.below(2) == 0 {
        json!({"type": "ScalarEncoder", "fieldname": "v", "minval": 0.0, "maxval": 120.0, "n": 48, "w": 5,
               "forced": true, "clipInput": true})
    } else {
        json!({"type": "RandomDistributedScalarEncoder", "fieldname": "v", "resolution": 4.0, "n": 64, "w": 7})
    };
    let memory = if random.below(3) == 0 {
        json!({"temporalImp": "tm_cpp", "cellsPerColumn": 4, "activationThreshold": 3, "minThreshold": 2,
               "newSynapseCount": 5, "maxSegmentsPerCell": 8, "maxSynapsesPerSegment": 8})
    } else {
        json!({"temporalImp": "cpp", "cellsPerColumn": 4, "activationThreshold": 3, "minThreshold": 2,
               "newSynapseCount": 4, "maxSegmentsPerCell": 8, "maxSynapsesPerSegment": 8})
    };
    let complete = json!({
        "timestampFieldName": "t", "valueFieldName": "v",
        "inferenceArgs": {"predictedField": "v", "predictionSteps": [1], "inputPredictedField": "auto"},
        "modelConfig": {
            "model": "HTMPrediction", "version": 1,
            "modelParams": {
                "inferenceType": "TemporalAnomaly", "clEnable": random.below(3) == 0,
                "sensorParams": {"encoders": {"v": value}},
                "spParams": {"columnCount": 64, "numActiveColumnsPerInhArea": 5},
                "tmParams": memory,
            }
        }
    });
    complete.as_object().expect("an object").clone()
}

fn rates(
    (bus, database): (BusKind, DatabaseKind),
    (has_kills, collects_garbage): (bool, bool),
    random: &mut SeededRandom,
) -> Rates {
    let interruption_one_in = [4, 16, 1_000_000][random.below(3)];
    let mut rates = Rates { one_in: [0; Fault::ALL.len()], interruption_one_in };
    let mut group = |is_possible: bool, faults: &[(Fault, usize)]| {
        // Drawn in any case, so that a seed stays what it is.
        let is_chosen = random.below(3) > 0;
        for (fault, one_in) in faults {
            if is_chosen && is_possible {
                rates.set(random, *fault, *one_in);
            }
        }
    };
    group(
        true,
        &[
            (Fault::TransactionRefused, 15),
            (Fault::TransactionConflict, 15),
            (Fault::TransactionUndone, 15),
            (Fault::ReadFailed, 40),
        ],
    );
    group(true, &[(Fault::DatabaseAway, 60)]);
    group(database == DatabaseKind::Server, &[(Fault::CommitAnswerLost, 20)]);
    group(bus == BusKind::Broker, &[(Fault::BrokerAway, 80), (Fault::ConnectionLost, 60)]);
    group(bus == BusKind::Broker, &[(Fault::ConfirmationLost, 8)]);
    group(bus == BusKind::Broker, &[(Fault::HintsLost, 100), (Fault::ScoresLost, 100)]);
    group(true, &[(Fault::QueueFull, 20), (Fault::ClientBroken, 20), (Fault::ClockSkew, 100)]);
    group(true, &[(Fault::DiskFull, 80), (Fault::WriteFailed, 5), (Fault::FileUnreadable, 5)]);
    group(has_kills, &[(Fault::PowerFailure, 60), (Fault::Restart, 100)]);
    group(
        has_kills && !collects_garbage,
        &[(Fault::FileTorn, 3), (Fault::FileDamaged, 3), (Fault::FileOld, 2), (Fault::FileGone, 3)],
    );
    rates
}
