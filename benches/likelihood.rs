//! The likelihood of one row with a full window (8,640 rows). One element is one row.
//!
//! `score` is the procedure: measure the past every 24 rows, carry the measurement on in between. The baseline
//! measures it at every row.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use htm_bench::series::{NYC_TAXI, Series};
use htm_bench::trained::{KEPT_ROWS, Trained};
use htm_core::anomaly::htmengine_likelihood::{HtmengineLikelihood, SKIP_ROWS, ScoredRow};
use htm_core::anomaly::likelihood::LikelihoodState;
use htm_core::anomaly::score_window::WINDOW_ROWS;

fn main() {
    let trained = Trained::on(&Series::read(NYC_TAXI));
    // nyc_taxi is longer than the window, so it is full.
    let likelihood = trained.model.likelihood();
    assert_eq!(likelihood.window().len(), WINDOW_ROWS, "a full window");
    let first_row_id = trained.model.last_stepped_row_id().0 + 1;
    let rows: Vec<ScoredRow> = (first_row_id..)
        .zip(&trained.rows)
        .map(|(row_id, row)| ScoredRow { row_id, value: row.value, raw_score: row.raw_score })
        .collect();
    let mut scratch = Vec::new();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("likelihood");
    group.throughput(Throughput::Elements(KEPT_ROWS as u64));
    group.bench_function("score", |bencher| {
        let score_all = |mut likelihood: HtmengineLikelihood| {
            for &row in &rows {
                black_box(likelihood.score(row, &mut scratch));
            }
            likelihood
        };
        bencher.iter_batched(|| likelihood.clone(), score_all, BatchSize::LargeInput);
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("baseline_measure_every_row", |bencher| {
        bencher.iter(|| {
            let mut state = LikelihoodState::estimate(likelihood.window(), SKIP_ROWS, &mut scratch);
            state.update(black_box(rows[0].raw_score))
        });
    });
    group.finish();
    criterion.final_summary();
}
