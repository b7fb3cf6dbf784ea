//! Scores of streams that no recording has: constant metrics, missing samples, absurd values, broken clocks.

use proptest::prelude::*;

use super::*;

/// A record and its raw anomaly score.
type Scored = (Record, f32);

fn scored(timestamp: i64, value: f64, raw_score: f32) -> Scored {
    (Record { timestamp, value }, raw_score)
}

fn run(detector: &mut Detector, records: &[Scored]) -> Vec<Detection> {
    records.iter().map(|&(record, raw_score)| detector.detect(record, raw_score)).collect()
}

fn detections(records: &[Scored]) -> Vec<Detection> {
    run(&mut Detector::new(), records)
}

fn assert_valid(detections: &[Detection]) {
    for (record_idx, Detection { score, alert_score, components }) in detections.iter().enumerate() {
        let Components { likelihood, time_of_day, sustained_elevation, slow_surprise, discord, maturity } =
            *components;
        let shares = [likelihood, time_of_day, sustained_elevation, slow_surprise, discord, *score];
        assert!(
            shares.iter().all(|share| (0.0..=1.0).contains(share)),
            "record {record_idx}: {components:?}"
        );
        assert!((0.3..=1.0).contains(&maturity), "record {record_idx}: {components:?}");
        let is_score = alert_score.to_bits() == score.to_bits();
        assert!(is_score || alert_score.to_bits() == 0, "record {record_idx}: alert score {alert_score}");
    }
}

#[test]
fn a_constant_metric_that_is_predicted_scores_next_to_nothing() {
    for value in [0.0, 0.1, -1e9 / 7.0, 1e100, -0.0, f64::MIN_POSITIVE] {
        // Irregular visits, so that the means of its hours round differently.
        let records: Vec<Scored> =
            (0..3000).map(|record| scored(record * 217 + record * record % 600, value, 0.0)).collect();
        for detection in detections(&records) {
            let Components { likelihood, maturity, .. } = detection.components;
            let of_likelihood = maturity * LIKELIHOOD_WEIGHT * likelihood / WEIGHT_SUM;
            assert!((detection.score - of_likelihood).abs() < 1e-15, "{value}: {detection:?}");
            assert!(likelihood < 0.004, "{value}: {detection:?}");
            assert!(detection.score < ALERT_THRESHOLD / 100.0, "{value}: {detection:?}");
        }
    }
}

#[test]
fn a_new_level_and_a_new_spike_are_alerts_on_a_mature_metric() {
    let usual = |record: i64| {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let value = (record % 288) as f64 / 100.0 + (record * 7 % 11) as f64 / 10.0;
        value
    };
    let mut records: Vec<Scored> =
        (0..4000).map(|record| scored(record * 300, usual(record), 0.025)).collect();
    let before = detections(&records);
    assert!(before[2000..].iter().all(|detection| detection.alert_score < ALERT_THRESHOLD));
    records[3000].0.value = 50.0;
    for (record, _) in &mut records[3500..3600] {
        record.value += 60.0;
    }
    let found = detections(&records);
    assert!(found[3000].alert_score > ALERT_THRESHOLD, "{:?}", found[3000]);
    assert!(found[3500..3540].iter().any(|detection| detection.alert_score > ALERT_THRESHOLD));
    assert_eq!(found[..3000], before[..3000], "nothing looks ahead");
}

#[test]
fn a_first_sample_from_the_future_costs_no_maturity() {
    let mut records: Vec<Scored> = (0..100).map(|record| scored(record * 86_400, 1.0, 0.0)).collect();
    records[0].0.timestamp = i64::MAX;
    let found = detections(&records);
    assert!(found[99].components.maturity > 0.99);
}

#[test]
fn bytes_that_are_no_state_are_no_detector() {
    let mut detector = Detector::new();
    run(&mut detector, &(0..400).map(|record| scored(record * 300, 1.5, 0.5)).collect::<Vec<_>>());
    let bytes = detector.bytes();
    assert_eq!(bytes.len(), STATE_BYTES);
    assert!(Detector::from_bytes(bytes).is_some());
    assert!(Detector::from_bytes(&bytes[1..]).is_none());
    let mut forged = detector.clone();
    forged.state[0].magnitude = f64::NAN;
    assert!(Detector::from_bytes(forged.bytes()).is_none());
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -100.0..100.0_f64,
        2 => Just(42.0),
        1 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(5e-324), Just(-1e100)],
    ]
}

fn any_gap() -> impl Strategy<Value = i64> {
    prop_oneof![8 => Just(300), 1 => Just(0), 1 => -100_000..100_000_i64, 1 => any::<i64>()]
}

fn any_raw_score() -> impl Strategy<Value = f32> {
    prop_oneof![8 => (0_u8..=40).prop_map(|unpredicted| f32::from(unpredicted) / 40.0), 1 => any::<f32>()]
}

fn any_records(most: usize) -> impl Strategy<Value = Vec<Scored>> {
    let record = (any_gap(), any_value(), any_raw_score());
    proptest::collection::vec(record, 0..most).prop_map(|records| {
        let mut now = 1_400_000_000_i64;
        let scored = records.into_iter().map(|(gap, value, raw_score)| {
            now = now.wrapping_add(gap);
            scored(now, value, raw_score)
        });
        scored.collect()
    })
}

fn is_missing((record, raw_score): &Scored) -> bool {
    !record.value.is_finite() || !raw_score.is_finite()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_stream_has_valid_scores_and_a_valid_state(records in any_records(1200)) {
        let mut detector = Detector::new();
        assert_valid(&run(&mut detector, &records));
        prop_assert!(detector.state[0].is_possible());
        prop_assert_eq!(detector.record_count(), records.iter().filter(|it| !is_missing(it)).count() as u64);
    }

    #[test]
    fn missing_samples_leave_no_trace(records in any_records(600)) {
        let mut found = detections(&records);
        let mut is_kept = records.iter().map(|record| !is_missing(record));
        found.retain(|detection| {
            let is_kept = is_kept.next().expect("one each");
            assert!(is_kept || detection.score.to_bits() == 0 && detection.alert_score.to_bits() == 0);
            is_kept
        });
        let present: Vec<Scored> = records.into_iter().filter(|record| !is_missing(record)).collect();
        prop_assert_eq!(found, detections(&present));
    }

    #[test]
    fn saving_and_restoring_at_any_record_changes_nothing(
        records in any_records(900),
        cut in any::<prop::sample::Index>(),
    ) {
        let (before, after) = records.split_at(cut.index(records.len() + 1));
        let mut detector = Detector::new();
        run(&mut detector, before);
        let mut restored = Detector::from_bytes(detector.bytes()).expect("its own state");
        prop_assert_eq!(run(&mut restored, after), run(&mut detector, after));
        prop_assert_eq!(restored.bytes(), detector.bytes());
    }
}
