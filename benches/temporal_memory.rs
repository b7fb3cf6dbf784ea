//! The backtracking temporal memory after all of `nyc_taxi`: whole steps, and counting active synapses through
//! the presynaptic index beside a scan over all segments. One element is one record.
//!
//! Steps learn, so each sample starts from a copy of the trained memory; the first records of a sample find the
//! copy in cache no better than a model stepped in turn would be.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use htm_bench::naive_memory;
use htm_bench::series::{NYC_TAXI, Series};
use htm_bench::trained::{KEPT_ROWS, KeptRow, Trained};
use htm_core::model::workspace::Workspace;
use htm_kernels::backtracking_tm::activity;
use htm_kernels::backtracking_tm::bank::{BANK_COUNTERS, banks_for};
use htm_kernels::backtracking_tm::scan::{After, SLACK, scan};
use htm_kernels::backtracking_tm::state::Found;
use htm_kernels::isa::Isa;

fn main() {
    let trained = Trained::on(&Series::read(NYC_TAXI));
    let mut criterion = Criterion::default().configure_from_args();
    bench_step(&mut criterion, &trained);
    bench_count_active(&mut criterion, &trained);
    criterion.final_summary();
}

fn bench_step(criterion: &mut Criterion, trained: &Trained) {
    let memory = trained.model.memory().backtracking().expect("the standard memory");
    let mut workspace = Workspace::new();
    let mut group = criterion.benchmark_group("temporal_memory/step");
    group.throughput(Throughput::Elements(KEPT_ROWS as u64)).sample_size(20);
    group.bench_function("nyc_taxi_trained", |bencher| {
        bencher.iter_batched(
            || memory.clone(),
            |mut memory| {
                for row in &trained.rows {
                    memory.compute(&mut workspace, &row.active_columns);
                }
                memory
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn bench_count_active(criterion: &mut Criterion, trained: &Trained) {
    let mut memory = trained.model.memory().backtracking().expect("the standard memory").clone();
    let synapse_stride = memory.params().synapse_stride();
    let segment_count = memory.scalars().segment_count as usize;
    let mut naive = vec![0; segment_count];
    let mut counters = vec![0; banks_for(segment_count) * BANK_COUNTERS];
    let columns_of = |row: &KeptRow| -> Vec<usize> {
        (0..).zip(&row.infer_active).filter(|(_, cells)| **cells != 0).map(|(column, _)| column).collect()
    };
    let sets: Vec<(&[u32], Vec<usize>)> =
        trained.rows.iter().map(|row| (&*row.infer_active, columns_of(row))).collect();
    let view = memory.view();
    let mut group = criterion.benchmark_group("temporal_memory/count_active");
    group.throughput(Throughput::Elements(1));
    let mut rows = sets.iter().cycle();
    group.bench_function("postings", |bencher| {
        bencher.iter(|| {
            let (cells, columns) = rows.next().expect("a cycle does not end");
            counters.fill(0);
            let columns = columns.iter().copied();
            activity::count(&view.posting_lists(), cells, &columns, segment_count, black_box(&mut counters));
        });
    });
    let mut rows = sets.iter().cycle();
    group.bench_function("baseline_all_segments", |bencher| {
        bencher.iter(|| {
            let (cells, _) = rows.next().expect("a cycle does not end");
            naive_memory::count_active(&view, synapse_stride, cells, black_box(&mut naive));
        });
    });
    let (mut segments, mut found_activity) = (vec![0; segment_count + SLACK], vec![0; segment_count + SLACK]);
    for isa in Isa::available() {
        group.bench_function(format!("threshold_scan_{isa}"), |bencher| {
            bencher.iter(|| {
                let mut found = Found { segments: &mut segments, activity: &mut found_activity, count: 0 };
                scan(isa, black_box(&mut counters), segment_count, 13, After::Keep, &mut found);
                found.count
            });
        });
    }
    group.finish();
}
