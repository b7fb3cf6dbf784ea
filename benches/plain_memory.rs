//! The plain temporal memory after all of `nyc_taxi`: whole steps, and counting active synapses through the postings of
//! the active columns beside a scan over all segments. One element is one record.
//!
//! Steps learn, so each sample starts from a copy of the trained memory, which a sample finds in no near cache.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use htm_bench::series::{NYC_TAXI, Series};
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::plain_memory::PlainMemory;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::standard_plain_memory;
use htm_kernels::backtracking_tm::CELL_STRIDE;
use htm_kernels::temporal_memory::predict;
use htm_kernels::temporal_memory::state::TemporalMemoryState;

/// Records whose columns are kept for stepping copies.
const KEPT_ROWS: usize = 512;

fn main() {
    let (memory, rows) = train(&Series::read(NYC_TAXI));
    let mut criterion = Criterion::default().configure_from_args();
    bench_step(&mut criterion, &memory, &rows);
    bench_count(&mut criterion, &memory, &rows);
    criterion.final_summary();
}

/// A memory that has seen the series, and the active columns of its last records.
fn train(series: &Series) -> (PlainMemory, Vec<Vec<u16>>) {
    // The spatial pooler does not depend on the memory behind it.
    let mut model = Model::new(series.params.clone(), &Templates::new());
    let (mut of_model, mut of_memory) = (Workspace::new(), Workspace::new());
    let mut memory = PlainMemory::new(standard_plain_memory());
    let mut rows = Vec::new();
    for (row_id, record) in (1..).map(RowId).zip(&series.records) {
        model.step(&mut of_model, row_id, *record).expect("bundled rows are valid");
        memory.compute(&mut of_memory, of_model.active_columns());
        rows.push(of_model.active_columns().to_vec());
    }
    let rows = rows.split_off(rows.len().saturating_sub(KEPT_ROWS));
    (memory, rows)
}

fn bench_step(criterion: &mut Criterion, memory: &PlainMemory, rows: &[Vec<u16>]) {
    let mut workspace = Workspace::new();
    let mut group = criterion.benchmark_group("plain_memory/step");
    group.throughput(Throughput::Elements(rows.len() as u64)).sample_size(20);
    group.bench_function("nyc_taxi_trained", |bencher| {
        bencher.iter_batched(
            || memory.clone(),
            |mut memory| {
                for columns in rows {
                    memory.compute(&mut workspace, columns);
                }
                memory
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn bench_count(criterion: &mut Criterion, memory: &PlainMemory, rows: &[Vec<u16>]) {
    let mut memory = memory.clone();
    let mut workspace = Workspace::new();
    let active: Vec<Vec<u32>> = rows
        .iter()
        .map(|columns| {
            memory.compute(&mut workspace, columns);
            memory.active_cells().to_vec()
        })
        .collect();
    let mut counters = vec![0; memory.scalars().slot_count as usize];
    let view = memory.view();
    let mut group = criterion.benchmark_group("plain_memory/count_active");
    group.throughput(Throughput::Elements(1));
    for (name, count) in [
        ("postings", predict::count as fn(&TemporalMemoryState<'_>, &mut [u16])),
        ("baseline_all_segments", count_naively),
    ] {
        let mut sets = active.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                view.active_cells.copy_from_slice(sets.next().expect("a cycle does not end"));
                count(&view, black_box(&mut counters));
            });
        });
    }
    group.finish();
}

/// Counts by looking at every synapse of every segment: what the postings save.
fn count_naively(state: &TemporalMemoryState<'_>, counters: &mut [u16]) {
    for (counter, info) in counters.iter_mut().zip(&*state.segments) {
        let cells = &state.presynaptic_cells[info.synapse_start as usize..][..info.synapse_count.into()];
        let bit = |&cell: &u16| state.active_cells[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1;
        *counter = cells.iter().map(|cell| u16::from(bit(cell) == 1)).sum();
    }
}
