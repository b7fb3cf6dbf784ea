//! Promise: the fused detection score equals the recordings of its prototype.
//!
//! Equal to the bit wherever the component A is not `-log10` of a tail within five standard deviations. There our `erfc`
//! is `CPython` 2.7's, because the likelihood's recordings ask for that, while the prototype called the C library's; the
//! two differ in the last digits, and a score by less than its own last digit at 1. Alerts are the same everywhere.
//!
//! Layout of the recordings: see `tests/data/golden/README.md`.

use htm_core::detection::{ALERT_THRESHOLD, Detector};
use htm_core::encoder::Record;
use htm_core::float_text::repr;
use htm_tests::recording::{golden, unix_seconds};

/// Scores whose A comes from `erfc` may differ by this; the largest difference is 5.6e-17.
const TOLERANCE: f64 = 1e-16;
/// `-log10` of the tail at 0 and at 5 standard deviations, as shares of the component's cap of 15.
const ERFC_COMPONENT: std::ops::RangeInclusive<f64> = 0.301 / 15.0..=6.543 / 15.0;

/// Compares every record; the recording has `alerts` alerts at the default threshold.
fn check(name: &str, alerts: usize) {
    let text = golden(&format!("{name}__fused.csv.gz"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("timestamp,value,raw_anomaly_score,score,alert_score"), "{name}");
    let mut detector = Detector::new();
    let (mut exact_records, mut close_records, mut alert_records) = (0, 0, 0);
    for (record_idx, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |column: usize| fields[column].parse::<f64>().expect("a number");
        let record = Record { timestamp: unix_seconds(fields[0]), value: number(1) };
        #[expect(clippy::cast_possible_truncation, reason = "recorded raw scores are f32 values")]
        let found = detector.detect(record, number(2) as f32);
        let context = format!("{name}, record {record_idx}: {found:?}");
        if repr(found.score) == fields[3] {
            exact_records += 1;
            assert_eq!(repr(found.alert_score), fields[4], "{context}");
        } else {
            close_records += 1;
            assert!(ERFC_COMPONENT.contains(&found.components.likelihood), "{context}: {}", fields[3]);
            assert!((found.score - number(3)).abs() <= TOLERANCE, "{context}: {}", fields[3]);
            assert!((found.alert_score - number(4)).abs() <= TOLERANCE, "{context}: {}", fields[4]);
        }
        alert_records += usize::from(found.alert_score >= ALERT_THRESHOLD);
    }
    assert!(exact_records > 1000 && close_records * 10 < exact_records, "{name}: {exact_records} exact");
    assert_eq!(alert_records, alerts, "{name}: alerts");
}

#[test]
fn speed_7578_has_the_scores_of_the_recording() {
    check("speed_7578", 7);
}

#[test]
fn art_daily_jumpsup_has_the_scores_of_the_recording() {
    check("art_daily_jumpsup", 4);
}

#[test]
fn ec2_cpu_utilization_has_the_scores_of_the_recording() {
    check("ec2_cpu_utilization_5f5533", 4);
}

#[test]
fn nyc_taxi_has_the_scores_of_the_recording() {
    check("nyc_taxi", 28);
}
