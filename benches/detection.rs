//! The fused score of one record, beside htmengine's likelihood of the same records and the discord summed anew. One
//! element is one record.
//!
//! `fused_score` goes on after all of `nyc_taxi`, so every window is full; `likelihood` does so too. `baseline_discord` is
//! the discord alone as its definition says it: 250 distances of 32 values each.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use htm_bench::series::{NYC_TAXI, Series};
use htm_bench::trained::{KEPT_ROWS, Trained};
use htm_core::anomaly::htmengine_likelihood::{HtmengineLikelihood, ScoredRow};
use htm_core::detection::Detector;
use htm_core::encoder::Record;

const WIDTH: usize = 32;
const MAX_LAG: usize = 281;

/// The smallest distance of the last 32 values to 32 values that ended 32 to 281 records before.
fn distance(values: &[f64]) -> f64 {
    let newest = &values[values.len() - WIDTH..];
    let before = values[..values.len() - WIDTH].windows(WIDTH).rev().take(MAX_LAG - WIDTH + 1);
    let sums = before.map(|before| {
        before.iter().zip(newest).fold(0.0, |sum, (before, now)| sum + (now - before) * (now - before))
    });
    sums.fold(f64::INFINITY, f64::min).sqrt()
}

fn main() {
    let series = Series::read(NYC_TAXI);
    let trained = Trained::on(&series);
    let detector = trained.model.detector();
    let likelihood = trained.model.likelihood();
    let first_row_id = trained.model.last_stepped_row_id().0 + 1;
    let last_timestamp = series.records.last().expect("a long series").timestamp;
    let timestamps = (last_timestamp..).step_by(1800).skip(1);
    let rows: Vec<(Record, ScoredRow)> = (first_row_id..)
        .zip(timestamps.zip(&trained.rows))
        .map(|(row_id, (timestamp, row))| {
            let record = Record { timestamp, value: row.value };
            (record, ScoredRow { row_id, value: row.value, raw_score: row.raw_score })
        })
        .collect();
    let values: Vec<f64> = series.records.iter().map(|record| record.value).collect();
    let mut scratch = Vec::new();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("detection");
    group.throughput(Throughput::Elements(KEPT_ROWS as u64));
    group.bench_function("fused_score", |bencher| {
        let score_all = |mut detector: Detector| {
            for (record, row) in &rows {
                black_box(detector.detect(*record, row.raw_score));
            }
            detector
        };
        bencher.iter_batched(|| detector.clone(), score_all, BatchSize::LargeInput);
    });
    group.bench_function("likelihood", |bencher| {
        let score_all = |mut likelihood: HtmengineLikelihood| {
            for (_, row) in &rows {
                black_box(likelihood.score(*row, &mut scratch));
            }
            likelihood
        };
        bencher.iter_batched(|| likelihood.clone(), score_all, BatchSize::LargeInput);
    });
    group.bench_function("baseline_discord", |bencher| {
        bencher.iter(|| {
            for last in values.len() - KEPT_ROWS..values.len() {
                black_box(distance(&values[last - MAX_LAG - WIDTH..=last]));
            }
        });
    });
    group.finish();
    criterion.final_summary();
}
