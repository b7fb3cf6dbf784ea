//! The spatial pooler's kernels on a pooler trained on `nyc_taxi`, one after the other with each instruction set that
//! the machine has, beside the naive form of the same work. One element is one record.
//!
//! What changes state starts each sample from a copy of the trained pooler and goes once through the kept rows, so
//! that all samples see the same states. `cold` steps one pooler after the other, in a shuffled order, of so many that
//! no cache holds them: that is how a service finds them, once every few minutes each.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use htm_bench::series::{NYC_TAXI, Series};
use htm_bench::trained::{KEPT_ROWS, Trained};
use htm_core::model::spatial_pooler::SpatialPooler;
use htm_core::model::workspace::Workspace;
use htm_kernels::isa::Isa;
use htm_kernels::spatial_pooler::learning::{Flip, max_flips};
use htm_kernels::spatial_pooler::{
    MAX_PLANES, SpatialPoolerParams, duty_cycle, inhibition, learning, overlap,
};
use htm_tests::naive_spatial_pooler::NaiveSpatialPooler;

/// Poolers of the cold bench; about 0.8 MiB each.
const COLD_POOLERS: usize = 224;

struct Bench {
    pooler: SpatialPooler,
    naive: NaiveSpatialPooler,
    /// Per record: active inputs, and the columns they activated.
    rows: Vec<(Vec<u16>, Vec<u16>)>,
}

fn main() {
    let trained = Trained::on(&Series::read(NYC_TAXI));
    let mut pooler = trained.model.spatial_pooler().clone();
    let naive = NaiveSpatialPooler::of(&mut pooler);
    let rows = trained.rows.into_iter().map(|row| (row.active_inputs, row.active_columns)).collect();
    let bench = Bench { pooler, naive, rows };
    let mut criterion = Criterion::default().configure_from_args();
    bench_overlap(&mut criterion, &bench);
    bench_inhibition(&mut criterion, &bench);
    bench_learning(&mut criterion, &bench);
    bench_duty_cycle(&mut criterion, &bench);
    bench_compute(&mut criterion, &bench);
    bench_cold(&mut criterion, &bench);
    criterion.final_summary();
}

fn bench_overlap(criterion: &mut Criterion, bench: &Bench) {
    let mut pooler = bench.pooler.clone();
    let params = *pooler.params();
    let mut group = criterion.benchmark_group("spatial_pooler/overlap");
    group.throughput(Throughput::Elements(1));
    let mut planes = vec![0; MAX_PLANES * params.row_words()];
    let view = pooler.view();
    for isa in Isa::available() {
        let mut rows = bench.rows.iter().cycle();
        group.bench_function(isa.to_string(), |bencher| {
            bencher.iter(|| {
                let (inputs, _) = rows.next().expect("a cycle does not end");
                overlap::count(isa, view.connected_rows(&params), inputs, black_box(&mut planes))
            });
        });
    }
    let words: Vec<Vec<u64>> = bench.rows.iter().map(|(inputs, _)| bench.naive.input_words(inputs)).collect();
    let mut words = words.iter().cycle();
    let mut overlaps = vec![0; params.columns];
    group.bench_function("baseline_and_popcount", |bencher| {
        bencher.iter(|| {
            let input = words.next().expect("a cycle does not end");
            bench.naive.count_overlaps(input, black_box(&mut overlaps));
        });
    });
    group.finish();
}

fn bench_inhibition(criterion: &mut Criterion, bench: &Bench) {
    let mut pooler = bench.pooler.clone();
    let params = *pooler.params();
    let view = pooler.view();
    let counted: Vec<(usize, Vec<u64>)> = bench
        .rows
        .iter()
        .map(|(inputs, _)| {
            let mut planes = vec![0; MAX_PLANES * params.row_words()];
            let rows = view.connected_rows(&params);
            let used = overlap::count(Isa::SCALAR, rows, inputs, &mut planes);
            (used, planes)
        })
        .collect();
    let mut group = criterion.benchmark_group("spatial_pooler/inhibition");
    group.throughput(Throughput::Elements(1));
    let mut winners = vec![0; params.active_columns];
    for isa in Isa::available() {
        let mut rows = counted.iter().cycle();
        group.bench_function(isa.to_string(), |bencher| {
            bencher.iter(|| {
                let (used, planes) = rows.next().expect("a cycle does not end");
                inhibition::select(isa, planes, *used, params.columns, black_box(&mut winners));
            });
        });
    }
    let overlaps_of = |(used, planes): &(usize, Vec<u64>)| overlaps_of(&params, planes, *used);
    let overlaps: Vec<Vec<u32>> = counted.iter().map(overlaps_of).collect();
    let mut rows = overlaps.iter().cycle();
    group.bench_function("baseline_sort", |bencher| {
        bencher.iter(|| bench.naive.select(rows.next().expect("a cycle does not end")));
    });
    group.finish();
}

/// The overlap of each column.
fn overlaps_of(params: &SpatialPoolerParams, planes: &[u64], used_planes: usize) -> Vec<u32> {
    let planes = &planes[..used_planes * params.row_words()];
    (0..params.columns).map(|column| overlap::of_column(planes, params.row_words(), column)).collect()
}

fn bench_learning(criterion: &mut Criterion, bench: &Bench) {
    let params = *bench.pooler.params();
    let mut flips = vec![Flip { input: 0, column: 0 }; max_flips(&params)];
    let mut group = criterion.benchmark_group("spatial_pooler/learning");
    group.throughput(Throughput::Elements(KEPT_ROWS as u64));
    for isa in Isa::available() {
        group.bench_function(isa.to_string(), |bencher| {
            let adapt_all = |mut pooler: SpatialPooler| {
                let mut view = pooler.view();
                for (inputs, columns) in &bench.rows {
                    let count = learning::adapt(isa, &params, &mut view, inputs, columns, &mut flips);
                    // Rows that would have to be opened are left out; their columns are changed all the same.
                    if view.rows_missing(&flips[..count]) == 0 {
                        learning::apply_flips(&params, &mut view, &flips[..count]);
                    }
                }
                pooler
            };
            bencher.iter_batched(|| bench.pooler.clone(), adapt_all, BatchSize::LargeInput);
        });
    }
    let words: Vec<Vec<u64>> = bench.rows.iter().map(|(inputs, _)| bench.naive.input_words(inputs)).collect();
    group.bench_function("baseline_pool_by_pool", |bencher| {
        let adapt_all = |mut naive: NaiveSpatialPooler| {
            for (input, (_, columns)) in words.iter().zip(&bench.rows) {
                naive.adapt(input, columns);
            }
            naive
        };
        bencher.iter_batched(|| bench.naive.clone(), adapt_all, BatchSize::LargeInput);
    });
    group.finish();
}

fn bench_duty_cycle(criterion: &mut Criterion, bench: &Bench) {
    let mut pooler = bench.pooler.clone();
    let params = *pooler.params();
    let (inputs, _) = &bench.rows[0];
    let mut planes = vec![0; MAX_PLANES * params.row_words()];
    let used = overlap::count(Isa::SCALAR, pooler.view().connected_rows(&params), inputs, &mut planes);
    let mut group = criterion.benchmark_group("spatial_pooler/duty_cycle");
    group.throughput(Throughput::Elements(KEPT_ROWS as u64));
    // Columns that were active once, long ago: on their way through the subnormal numbers, and at its end.
    let faded = |duty: f32| {
        let mut pooler = bench.pooler.clone();
        pooler.view().active_duty.fill(duty);
        pooler
    };
    let fading = faded(1e-38);
    let faded = faded(f32::from_bits(400));
    for isa in Isa::available() {
        for (name, start) in [("", &bench.pooler), ("_fading", &fading), ("_faded", &faded)] {
            group.bench_function(format!("{isa}{name}"), |bencher| {
                let update_all = |mut pooler: SpatialPooler| {
                    let mut view = pooler.view();
                    for (_, columns) in &bench.rows {
                        let planes = black_box(&planes);
                        black_box(duty_cycle::update(isa, &params, &mut view, planes, used, columns));
                    }
                    pooler
                };
                bencher.iter_batched(|| start.clone(), update_all, BatchSize::LargeInput);
            });
        }
    }
    let overlaps = overlaps_of(&params, &planes, used);
    group.bench_function("baseline_column_by_column", |bencher| {
        let update_all = |mut naive: NaiveSpatialPooler| {
            for (_, columns) in &bench.rows {
                naive.update_duty_cycles(black_box(&overlaps), columns);
            }
            naive
        };
        bencher.iter_batched(|| bench.naive.clone(), update_all, BatchSize::LargeInput);
    });
    group.finish();
}

fn bench_compute(criterion: &mut Criterion, bench: &Bench) {
    let mut group = criterion.benchmark_group("spatial_pooler/compute");
    group.throughput(Throughput::Elements(KEPT_ROWS as u64));
    for isa in Isa::available() {
        let mut workspace = Workspace::new().with_isa(isa);
        group.bench_function(isa.to_string(), |bencher| {
            let compute_all = |mut pooler: SpatialPooler| {
                for (inputs, _) in &bench.rows {
                    black_box(pooler.compute(&mut workspace, inputs));
                }
                pooler
            };
            bencher.iter_batched(|| bench.pooler.clone(), compute_all, BatchSize::LargeInput);
        });
    }
    group.bench_function("baseline_naive_pooler", |bencher| {
        let compute_all = |mut naive: NaiveSpatialPooler| {
            for (inputs, _) in &bench.rows {
                black_box(naive.compute(inputs));
            }
            naive
        };
        bencher.iter_batched(|| bench.naive.clone(), compute_all, BatchSize::LargeInput);
    });
    group.finish();
}

fn bench_cold(criterion: &mut Criterion, bench: &Bench) {
    let mut group = criterion.benchmark_group("spatial_pooler/compute_cold");
    group.throughput(Throughput::Elements(1));
    let mut poolers = vec![bench.pooler.clone(); COLD_POOLERS];
    // A stride without common divisor visits all of them in an order that no prefetcher foresees.
    let mut order = (0..COLD_POOLERS).map(|index| index * 85 % COLD_POOLERS).cycle();
    let mut rows = bench.rows.iter().cycle();
    for isa in Isa::available() {
        let mut workspace = Workspace::new().with_isa(isa);
        group.bench_function(isa.to_string(), |bencher| {
            bencher.iter(|| {
                let index = order.next().expect("a cycle does not end");
                let (inputs, _) = rows.next().expect("a cycle does not end");
                black_box(poolers[index].compute(&mut workspace, inputs));
            });
        });
    }
    group.finish();
}
