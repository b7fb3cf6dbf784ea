//! Whole steps of a model, encoder to likelihood, learning. One element is one record.
//!
//! `whole_file` steps a new model through all rows of a series, as a replay does: the mean over a model's youth.
//! `fleet` steps 64 copies of a model that has seen all of `nyc_taxi` through the same rows in two orders: model after
//! model, where all but the first row of each find the model in cache, and one row of each model in turn, shuffled,
//! where every row finds it cold; each with every instruction set that the machine has, portable code being the
//! baseline. Real models differ, so the branch predictor is still flattered.

use criterion::{BatchSize, Criterion, SamplingMode, Throughput};
use htm_bench::series::{ALL, NYC_TAXI, Series};
use htm_bench::trained::Trained;
use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_kernels::isa::Isa;
use htm_kernels::random::Random;

const MODELS: usize = 64;
/// Rows that each model of the fleet steps in one sample.
const ROUNDS: usize = 32;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_whole_files(&mut criterion);
    bench_fleet(&mut criterion);
    criterion.final_summary();
}

fn bench_whole_files(criterion: &mut Criterion) {
    let templates = Templates::new();
    let mut workspace = Workspace::new();
    let mut group = criterion.benchmark_group("model_step/whole_file");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for name in ALL {
        let series = Series::read(name);
        group.throughput(Throughput::Elements(series.records.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || Model::new(series.params.clone(), &templates),
                |mut model| {
                    for (row_id, record) in (1..).map(RowId).zip(&series.records) {
                        model.step(&mut workspace, row_id, *record).expect("bundled rows are valid");
                    }
                    model
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn bench_fleet(criterion: &mut Criterion) {
    let series = Series::read(NYC_TAXI);
    let trained = Trained::on(&series).model;
    let records = &series.records[..ROUNDS];
    let model_after_model: Vec<usize> =
        (0..MODELS).flat_map(|model| std::iter::repeat_n(model, ROUNDS)).collect();
    let mut random = Random::new(1);
    let mut round: Vec<usize> = (0..MODELS).collect();
    let round_robin: Vec<usize> = (0..ROUNDS)
        .flat_map(|_| {
            random.shuffle(&mut round);
            round.clone()
        })
        .collect();
    let mut group = criterion.benchmark_group("model_step/fleet_of_64");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements((MODELS * ROUNDS) as u64));
    for (name, order) in [("hot_model_after_model", model_after_model), ("cold_round_robin", round_robin)] {
        for isa in Isa::available() {
            let mut workspace = Workspace::new().with_isa(isa);
            group.bench_function(format!("{name}/{isa}"), |bencher| {
                bencher.iter_batched(
                    || vec![trained.clone(); MODELS],
                    |mut models| {
                        step_in_order(&mut models, &order, records, &mut workspace);
                        models
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// Steps the models named by `order`, each through `records` from the first on.
fn step_in_order(models: &mut [Model], order: &[usize], records: &[Record], workspace: &mut Workspace) {
    let mut next = vec![0; models.len()];
    for &model in order {
        let row_id = RowId(models[model].last_stepped_row_id().0 + 1);
        let record = records[next[model]];
        next[model] += 1;
        models[model].step(workspace, row_id, record).expect("bundled rows are valid");
    }
}
