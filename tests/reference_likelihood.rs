//! Promise: the anomaly score equals htmengine's own helper to the bit, row by row and in larger batches.
//!
//! Layout of the recordings: see `tests/data/golden/README.md`.

use htm_core::anomaly::htmengine_likelihood::{HtmengineLikelihood, ScoredRow};
use htm_core::float_text::repr;
use htm_tests::recording::golden;

fn check(name: &str, batch_rows: impl Fn(usize) -> usize) {
    let text = golden(name);
    let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let rows: Vec<ScoredRow> = lines
        .iter()
        .map(|fields| {
            #[expect(clippy::cast_possible_truncation, reason = "recorded raw scores are f32 values")]
            let raw_score = fields[3].parse::<f64>().expect("a raw score") as f32;
            ScoredRow {
                row_id: fields[0].parse().expect("a row id"),
                value: fields[2].parse().expect("a value"),
                raw_score,
            }
        })
        .collect();
    let mut likelihood = HtmengineLikelihood::default();
    let mut scratch = Vec::new();
    let (mut first, mut batch_number) = (0, 0);
    while first < rows.len() {
        let last = rows.len().min(first + batch_rows(batch_number));
        let mut scores = vec![0.0; last - first];
        let has_measured = likelihood.score_batch(&rows[first..last], &mut scores, &mut scratch);
        let distribution = likelihood.measured().map(|measured| measured.state.distribution());
        for (fields, score) in lines[first..last].iter().zip(&scores) {
            let context = format!("{name}, row {}", fields[0]);
            assert_eq!(fields[4], repr(*score), "{context}: anomaly score");
            assert_eq!(fields[6], if has_measured { "1" } else { "0" }, "{context}: measured");
            let text = |value: Option<f64>| value.map_or_else(String::new, repr);
            assert_eq!(fields[7], text(distribution.map(|d| d.mean)), "{context}: mean");
            assert_eq!(fields[8], text(distribution.map(|d| d.stdev)), "{context}: standard deviation");
        }
        first = last;
        batch_number += 1;
    }
    assert!(first > 4000, "{name}: rows");
}

#[test]
fn single_rows_equal_the_original() {
    check("htmengine_lik__nyc_taxi__cpp__b1.csv.gz", |_| 1);
    check("htmengine_lik__ec2_cpu_utilization_5f5533__cpp__b1.csv.gz", |_| 1);
}

#[test]
fn larger_batches_equal_the_original() {
    let batches = |number: usize| if number == 0 { 1000 } else { 7 };
    check("htmengine_lik__nyc_taxi__cpp__b1000_7.csv.gz", batches);
    check("htmengine_lik__ec2_cpu_utilization_5f5533__cpp__b1000_7.csv.gz", batches);
}
