//! What every repository must do, whatever database stands behind it: one suite, run against each of them.
//!
//! Each check gets an empty repository of its own. [`conformance_tests`](crate::conformance_tests) makes a test of each.

use htm_core::ids::{ModelId, RowId};
use htmengine::best_predictions::BestPredictions;
use htmengine::reject::RejectReason;
use htmengine::repository::metric::{DATASOURCE_CUSTOM, Metric, MetricStatus};
use htmengine::repository::metric_data::{DataQuery, MetricRow, RowUpdate, StoredSample};
use htmengine::repository::reject::RejectEntry;
use htmengine::repository::{Repository, RepositoryError, Transaction};
use htmengine::row_detection::RowDetection;

/// Makes a test of every check; `$open` is an expression for something that derefs to an empty `dyn Repository`.
#[macro_export]
macro_rules! conformance_tests {
    ($open:expr) => {
        $crate::conformance_tests!($open;
            a_metric_is_read_back_as_it_was_written what_statuses_have_stored_is_summed metrics_are_listed_by_name_and_filtered_by_status
            row_ids_are_consecutive_across_transactions times_and_values_round_trip_exactly
            a_failed_transaction_changes_nothing a_transient_failure_runs_the_work_again
            too_long_columns_are_refused_by_name_and_never_cut ids_and_names_are_unique
            status_moves_only_from_the_named_ones a_model_and_a_server_are_set_and_cleared
            scoring_progress_stops_at_the_first_gap scores_are_stored_bit_for_bit
            many_rows_are_stored_and_completed scores_that_are_not_numbers_are_refused
            data_is_filtered_by_row_time_score_and_count deleting_a_metric_deletes_its_rows_only
            old_rows_are_purged_and_progress_stays rejects_are_summed_and_listed
            two_writers_never_share_a_row_id);
    };
    ($open:expr; $($check:ident)+) => {
        $(#[test]
        fn $check() {
            let repository = $open;
            $crate::repository_conformance::$check(&*repository);
        })+
    };
}

/// A valid id.
///
/// # Panics
/// If it is none.
pub fn id(text: &str) -> ModelId {
    ModelId::new(text).expect("a valid id")
}

/// A metric as a first sample makes it.
pub fn metric(uid: &str, name: &str) -> Metric {
    Metric {
        uid: id(uid),
        datasource: Some(DATASOURCE_CUSTOM.to_owned()),
        name: name.to_owned(),
        description: Some(format!("Custom metric {name}")),
        server: Some(name.to_owned()),
        location: Some(String::new()),
        parameters: None,
        status: MetricStatus::Unmonitored,
        message: None,
        poll_interval_s: 300,
        tag_name: None,
        model_params: None,
        last_rowid: RowId(0),
    }
}

/// A sample for each of these times.
pub fn samples(times: std::ops::Range<i64>) -> Vec<StoredSample> {
    let value = |timestamp: i64| f64::from(i32::try_from(timestamp % 100).unwrap_or(0));
    times.map(|timestamp| StoredSample { timestamp, value: value(timestamp) }).collect()
}

/// Scores for a row.
pub fn update(row_id: i64) -> RowUpdate {
    RowUpdate {
        row_id: RowId(row_id),
        raw_anomaly_score: 0.25,
        anomaly_score: 0.5,
        display_value: 1_000,
        best_predictions: None,
        detection: RowDetection::default(),
    }
}

/// Runs `work` in a transaction and returns what it returned.
///
/// # Errors
/// What the repository said.
///
/// # Panics
/// If the repository did not run it.
pub fn within<T>(
    repository: &dyn Repository,
    mut work: impl FnMut(&mut dyn Transaction) -> Result<T, RepositoryError>,
) -> Result<T, RepositoryError> {
    let mut answer = None;
    repository.transact(&mut |tx| {
        answer = Some(work(tx)?);
        Ok(())
    })?;
    Ok(answer.expect("the work ran"))
}

/// Adds a metric.
///
/// # Panics
/// If it is refused.
#[track_caller]
pub fn insert(repository: &dyn Repository, uid: &str, name: &str) {
    within(repository, |tx| tx.insert_metric(&metric(uid, name))).expect("inserts");
}

/// Appends a row for each of these times.
///
/// # Panics
/// If they are refused.
#[track_caller]
pub fn append(repository: &dyn Repository, uid: &str, times: std::ops::Range<i64>) -> RowId {
    within(repository, |tx| tx.append_rows(&id(uid), &samples(times.clone()))).expect("appends")
}

/// Every row of a metric.
///
/// # Panics
/// If they cannot be read.
#[track_caller]
pub fn rows_of(repository: &dyn Repository, uid: &str) -> Vec<MetricRow> {
    repository.rows_after(&id(uid), RowId(0), 1_000_000).expect("reads")
}

/// Completes rows with the scores of [`update`]; returns how many there were.
///
/// # Panics
/// If that is refused.
#[track_caller]
pub fn complete(repository: &dyn Repository, uid: &str, rows: &[i64]) -> usize {
    let updates: Vec<RowUpdate> = rows.iter().map(|&row| update(row)).collect();
    within(repository, |tx| tx.complete_rows(&id(uid), &updates)).expect("completes")
}

fn ids(rows: &[MetricRow]) -> Vec<i64> {
    rows.iter().map(|row| row.row_id.0).collect()
}

#[track_caller]
fn stored(repository: &dyn Repository, uid: &str) -> Metric {
    repository.metric(&id(uid)).expect("reads").expect("exists")
}

#[track_caller]
fn assert_rejected<T: std::fmt::Debug>(answer: Result<T, RepositoryError>) -> String {
    match answer {
        Err(RepositoryError::Rejected { reason }) => reason,
        other => panic!("expected a rejection, found {other:?}"),
    }
}

#[expect(missing_docs, reason = "each check is named after what it promises")]
#[expect(clippy::missing_panics_doc, reason = "they are tests: whatever does not hold panics")]
mod checks {
    use htm_core::detection::Components;
    use htmengine::repository::elevated::ElevatedQuery;

    use super::{
        BestPredictions, DataQuery, Metric, MetricStatus, RejectEntry, RejectReason, Repository,
        RepositoryError, RowDetection, RowId, RowUpdate, StoredSample, append, assert_rejected, complete, id,
        ids, insert, metric, rows_of, samples, stored, update, within,
    };

    pub fn a_metric_is_read_back_as_it_was_written(repository: &dyn Repository) {
        let mut written = metric("a1", "cpu.load");
        written.parameters = Some("{\"x\": 1}".to_owned());
        written.tag_name = Some("tag".to_owned());
        written.message = Some("text".to_owned());
        written.model_params = Some("{}".to_owned());
        written.status = MetricStatus::Active;
        within(repository, |tx| tx.insert_metric(&written)).expect("inserts");
        assert_eq!(repository.metric(&id("a1")), Ok(Some(written.clone())));
        assert_eq!(repository.metric_by_name("cpu.load"), Ok(Some(written.clone())));
        assert_eq!(within(repository, |tx| tx.metric(&id("a1"))), Ok(Some(written.clone())));
        assert_eq!(within(repository, |tx| tx.metric_by_name("cpu.load")), Ok(Some(written)));
        for other in ["CPU.load", "cpu.load ", "cpu", "cpu.lo\u{e4}d"] {
            assert_eq!(repository.metric_by_name(other), Ok(None), "{other}");
            assert_eq!(within(repository, |tx| tx.metric_by_name(other)), Ok(None), "{other}");
        }
        assert_eq!(repository.metric(&id("A1")), Ok(None));
        // Names that differ in nothing but case, or an accent, are two metrics.
        insert(repository, "a2", "CPU.load");
        insert(repository, "a3", "cpu.lo\u{e4}d");
        for (uid, name) in [("a1", "cpu.load"), ("a2", "CPU.load"), ("a3", "cpu.lo\u{e4}d")] {
            let found = repository.metric_by_name(name).expect("reads").expect("exists");
            assert_eq!((found.uid, found.name.as_str()), (id(uid), name));
        }
    }

    pub fn metrics_are_listed_by_name_and_filtered_by_status(repository: &dyn Repository) {
        for (uid, name, status) in [
            ("a", "z", MetricStatus::Active),
            ("b", "y", MetricStatus::Error),
            ("c", "Z", MetricStatus::Active),
        ] {
            let listed = Metric { status, ..metric(uid, name) };
            within(repository, |tx| tx.insert_metric(&listed)).expect("inserts");
        }
        let names = |statuses: &[MetricStatus]| {
            let metrics = repository.metrics(statuses).expect("lists");
            metrics.into_iter().map(|metric| metric.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["Z", "y", "z"]);
        assert_eq!(names(&[MetricStatus::Active]), ["Z", "z"]);
        assert_eq!(names(&[MetricStatus::PendingData]), Vec::<String>::new());
    }

    pub fn row_ids_are_consecutive_across_transactions(repository: &dyn Repository) {
        insert(repository, "a", "a");
        insert(repository, "b", "b");
        assert_eq!(append(repository, "a", 0..3), RowId(3));
        assert_eq!(append(repository, "b", 0..1), RowId(1));
        assert_eq!(append(repository, "a", 3..5), RowId(5));
        assert_eq!(append(repository, "a", 5..5), RowId(5), "nothing");
        let rows = rows_of(repository, "a");
        assert_eq!(ids(&rows), [1, 2, 3, 4, 5]);
        assert_eq!(rows.iter().map(|row| row.timestamp).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(stored(repository, "a").last_rowid, RowId(5));
        assert_eq!(ids(&repository.rows_after(&id("a"), RowId(2), 2).expect("reads")), [3, 4]);
        assert_eq!(repository.rows_after(&id("a"), RowId(5), 2), Ok(Vec::new()));
    }

    pub fn times_and_values_round_trip_exactly(repository: &dyn Repository) {
        insert(repository, "a", "a");
        let values = [
            0.1,
            -7829.8,
            1e300,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            9_007_199_254_740_993.0,
            5.0,
            1.0 / 3.0,
            0.499_900_263_473_494_7,
            f64::EPSILON,
        ];
        let times = [0, 1, 951_782_400, 1_386_792_175, 1_386_792_175, 1_709_164_800, 4_102_444_800];
        let times = times.into_iter().chain(253_402_300_796..=253_402_300_799);
        let written: Vec<StoredSample> =
            times.zip(values).map(|(timestamp, value)| StoredSample { timestamp, value }).collect();
        assert_eq!(written.len(), values.len());
        within(repository, |tx| tx.append_rows(&id("a"), &written)).expect("appends");
        for (row, sample) in rows_of(repository, "a").iter().zip(&written) {
            assert_eq!((row.timestamp, row.value.to_bits()), (sample.timestamp, sample.value.to_bits()));
        }
        let newest = within(repository, |tx| tx.tail_timestamp(&id("a")));
        assert_eq!(newest, Ok(Some(253_402_300_799)));
        assert_eq!(within(repository, |tx| tx.tail_timestamp(&id("b"))), Ok(None));
    }

    pub fn a_failed_transaction_changes_nothing(repository: &dyn Repository) {
        insert(repository, "a", "a");
        for bad in [
            StoredSample { timestamp: 9, value: f64::NAN },
            StoredSample { timestamp: 9, value: f64::INFINITY },
            StoredSample { timestamp: i64::MAX, value: 1.0 },
        ] {
            let mixed = [StoredSample { timestamp: 8, value: 1.0 }, bad];
            assert_rejected(within(repository, |tx| tx.append_rows(&id("a"), &mixed)));
        }
        let given_up: Result<(), RepositoryError> = within(repository, |tx| {
            tx.append_rows(&id("a"), &samples(0..3))?;
            tx.set_status(&id("a"), &[MetricStatus::Unmonitored], MetricStatus::Error, Some("x"))?;
            Err(RepositoryError::Rejected { reason: "made up".to_owned() })
        });
        assert_rejected(given_up);
        assert_eq!(stored(repository, "a"), metric("a", "a"));
        assert_eq!(rows_of(repository, "a"), Vec::new());
        assert_rejected(within(repository, |tx| tx.append_rows(&id("nobody"), &samples(0..1))));
    }

    pub fn a_transient_failure_runs_the_work_again(repository: &dyn Repository) {
        insert(repository, "a", "a");
        let mut runs = 0;
        let answer = repository.transact(&mut |tx| {
            tx.append_rows(&id("a"), &samples(0..2))?;
            runs += 1;
            if runs < 3 { Err(RepositoryError::Transient { reason: "made up".to_owned() }) } else { Ok(()) }
        });
        assert_eq!((answer, runs), (Ok(()), 3));
        assert_eq!(stored(repository, "a").last_rowid, RowId(2));
        assert_eq!(ids(&rows_of(repository, "a")), [1, 2]);
    }

    pub fn too_long_columns_are_refused_by_name_and_never_cut(repository: &dyn Repository) {
        let long = |chars: usize| Some("\u{e9}".repeat(chars));
        let base = || metric("a", "a");
        for (column, bad) in [
            ("name", Metric { name: "n".repeat(256), ..base() }),
            ("description", Metric { description: long(201), ..base() }),
            ("server", Metric { server: long(101), ..base() }),
            ("location", Metric { location: long(201), ..base() }),
            ("tag_name", Metric { tag_name: long(201), ..base() }),
            ("datasource", Metric { datasource: long(101), ..base() }),
        ] {
            let reason = assert_rejected(within(repository, |tx| tx.insert_metric(&bad)));
            assert!(reason.starts_with(column) && reason.contains("at most"), "{reason}");
        }
        let fits = Metric { name: "\u{e9}".repeat(255), description: long(200), server: long(100), ..base() };
        assert_eq!(within(repository, |tx| tx.insert_metric(&fits)), Ok(()));
        assert_eq!(repository.metric_by_name(&fits.name), Ok(Some(fits)));
        assert_rejected(within(repository, |tx| tx.set_server(&id("a"), &"s".repeat(101))));
        assert_eq!(within(repository, |tx| tx.set_server(&id("a"), "box")), Ok(()));
        assert_eq!(stored(repository, "a").server.as_deref(), Some("box"));
    }

    pub fn ids_and_names_are_unique(repository: &dyn Repository) {
        insert(repository, "a", "a");
        for twin in [metric("a", "b"), metric("b", "a")] {
            assert_rejected(within(repository, |tx| tx.insert_metric(&twin)));
        }
        assert_eq!(repository.metrics(&[]).expect("lists").len(), 1);
        assert_eq!(repository.metric_count(), Ok(1));
        // As the storer does it.
        let made = within(repository, |tx| {
            assert_eq!(tx.metric_by_name("c")?, None);
            tx.insert_metric(&metric("c", "c"))?;
            tx.metric_by_name("c")
        });
        assert_eq!(made, Ok(Some(metric("c", "c"))));
    }

    pub fn status_moves_only_from_the_named_ones(repository: &dyn Repository) {
        insert(repository, "a", "a");
        let set = |from: &[MetricStatus], to, message: Option<&str>| {
            within(repository, |tx| tx.set_status(&id("a"), from, to, message))
        };
        assert_eq!(set(&[MetricStatus::Active], MetricStatus::Error, Some("x")), Ok(false));
        assert_eq!(set(&[], MetricStatus::Error, Some("x")), Ok(false));
        let both = [MetricStatus::Active, MetricStatus::Unmonitored];
        assert_eq!(set(&both, MetricStatus::Error, Some("x")), Ok(true));
        let found = stored(repository, "a");
        assert_eq!((found.status, found.message.as_deref()), (MetricStatus::Error, Some("x")));
        assert_eq!(set(&[MetricStatus::Error], MetricStatus::Error, Some("x")), Ok(true), "nothing new");
        assert_eq!(set(&[MetricStatus::Error], MetricStatus::Unmonitored, None), Ok(true));
        assert_eq!(stored(repository, "a").message, None);
        let nobody = within(repository, |tx| {
            tx.set_status(&id("nobody"), &[MetricStatus::Unmonitored], MetricStatus::Active, None)
        });
        assert_eq!(nobody, Ok(false));
    }

    pub fn a_model_and_a_server_are_set_and_cleared(repository: &dyn Repository) {
        insert(repository, "a", "a");
        let set = |parameters, model_params| {
            within(repository, |tx| tx.set_model(&id("a"), parameters, model_params))
        };
        assert_eq!(set(Some("{}"), Some("{\"x\": \"\u{e9}\"}")), Ok(()));
        let found = stored(repository, "a");
        assert_eq!(found.parameters.as_deref(), Some("{}"));
        assert_eq!(found.model_params.as_deref(), Some("{\"x\": \"\u{e9}\"}"));
        assert_eq!(set(None, None), Ok(()));
        assert_eq!(stored(repository, "a"), metric("a", "a"));
    }

    pub fn scoring_progress_stops_at_the_first_gap(repository: &dyn Repository) {
        insert(repository, "a", "a");
        append(repository, "a", 0..10);
        let reached = || repository.scored_up_to(&id("a")).expect("reads").0;
        let complete = |rows: &[i64]| complete(repository, "a", rows);
        assert_eq!(reached(), 0);
        assert_eq!(complete(&[2, 3]), 2);
        assert_eq!(reached(), 0, "row 1 is missing");
        assert_eq!(complete(&[1]), 1);
        assert_eq!(reached(), 3);
        assert_eq!(complete(&[6, 5]), 2);
        assert_eq!(complete(&[1, 2, 3]), 3, "again, after a crash");
        assert_eq!(reached(), 3);
        assert_eq!(complete(&[4]), 1);
        assert_eq!(reached(), 6);
        assert_eq!(complete(&[8, 7]), 2, "newest first");
        assert_eq!(reached(), 8);
        assert_eq!(complete(&[9, 10, 11, 12]), 2, "rows 11 and 12 do not exist");
        assert_eq!(reached(), 10);
        append(repository, "a", 10..12);
        assert_eq!(reached(), 10, "and were not scored before they came");
        assert_eq!(rows_of(repository, "a").len(), 12, "completing made no rows");
        within(repository, |tx| tx.clear_scores(&id("a"))).expect("clears");
        assert_eq!(reached(), 0);
        let rows = rows_of(repository, "a");
        assert_eq!(rows.len(), 12);
        assert!(rows.iter().all(|row| row.raw_anomaly_score.is_none() && row.anomaly_score.is_none()));
        assert!(rows.iter().all(|row| row.display_value.is_none() && row.best_predictions.is_none()));
        assert_eq!(complete(&[1]), 1);
        assert_eq!(reached(), 1);
        assert_eq!(within(repository, |tx| tx.complete_rows(&id("nobody"), &[update(1)])), Ok(0));
    }

    pub fn scores_are_stored_bit_for_bit(repository: &dyn Repository) {
        insert(repository, "a", "a");
        let scores =
            [0.1, 1.0 / 3.0, 0.999_999_999_999_999_9, 5e-324, 0.949_999_988_079_071, 0.0, 1.0, f64::EPSILON];
        let written: Vec<RowUpdate> = (1..)
            .zip(scores)
            .map(|(row_id, score)| RowUpdate {
                raw_anomaly_score: score,
                anomaly_score: 1.0 - score,
                display_value: 1_000_000_001,
                best_predictions: (row_id % 2 == 0)
                    .then(|| BestPredictions::new([(1, Some(19_539.0)), (5, Some(score)), (7, None)])),
                ..update(row_id)
            })
            .collect();
        append(repository, "a", 0..i64::try_from(scores.len()).expect("small"));
        let before = rows_of(repository, "a");
        assert_eq!(within(repository, |tx| tx.complete_rows(&id("a"), &written)), Ok(scores.len()));
        for ((row, scored), old) in rows_of(repository, "a").iter().zip(&written).zip(&before) {
            let bits = |score: Option<f64>| score.map(f64::to_bits);
            assert_eq!(bits(row.raw_anomaly_score), Some(scored.raw_anomaly_score.to_bits()));
            assert_eq!(bits(row.anomaly_score), Some(scored.anomaly_score.to_bits()));
            assert_eq!(row.display_value, Some(1_000_000_001));
            assert_eq!(row.best_predictions, scored.best_predictions);
            assert_eq!((row.timestamp, row.value.to_bits()), (old.timestamp, old.value.to_bits()));
        }
    }

    pub fn detection_scores_are_stored_bit_for_bit_and_cleared(repository: &dyn Repository) {
        insert(repository, "a", "a");
        append(repository, "a", 0..3);
        let components = Components {
            likelihood: 0.013_13,
            time_of_day: 1.0,
            sustained_elevation: 0.0,
            slow_surprise: 0.25,
            discord: 1.5e-7,
            maturity: 0.3,
        };
        let detections = [
            RowDetection {
                score: 1.0 / 3.0,
                alert_score: 1.0 / 3.0,
                components: Some(components),
                open_predictions: Some(84),
            },
            RowDetection { score: 5e-324, alert_score: 0.0, components: None, open_predictions: None },
        ];
        let updates: Vec<RowUpdate> = (1..)
            .zip(detections)
            .map(|(row_id, detection)| RowUpdate { detection, ..update(row_id) })
            .collect();
        assert_eq!(within(repository, |tx| tx.complete_rows(&id("a"), &updates)), Ok(2));
        let kept =
            |repository| rows_of(repository, "a").into_iter().map(|row| row.detection).collect::<Vec<_>>();
        assert_eq!(kept(repository), [Some(detections[0]), Some(detections[1]), None]);
        within(repository, |tx| tx.clear_scores(&id("a"))).expect("clears");
        assert_eq!(kept(repository), [None; 3]);
    }

    pub fn elevated_rows_are_found_across_metrics(repository: &dyn Repository) {
        for name in ["a", "b"] {
            insert(repository, name, name);
            append(repository, name, 0..4);
        }
        let times: Vec<i64> = rows_of(repository, "a").iter().map(|row| row.timestamp).collect();
        let scored = |row_id, score| {
            let detection = RowDetection { score, alert_score: score / 2.0, ..RowDetection::default() };
            RowUpdate { detection, ..update(row_id) }
        };
        let updates = [scored(1, 0.2), scored(2, 0.099), scored(3, 0.1), scored(4, 0.9)];
        assert_eq!(within(repository, |tx| tx.complete_rows(&id("a"), &updates)), Ok(4));
        assert_eq!(within(repository, |tx| tx.complete_rows(&id("b"), &[scored(2, 0.5)])), Ok(1));
        let all = ElevatedQuery { since: times[0], until: times[3], min_score: 0.0, limit: 10 };
        let found = |query: ElevatedQuery| -> Vec<(String, i64)> {
            let rows = repository.elevated_rows(&query).expect("read");
            assert!(rows.windows(2).all(|pair| pair[0].timestamp >= pair[1].timestamp), "{rows:?}");
            assert!(
                rows.iter().all(|row| row.alert_score.to_bits() == (row.score / 2.0).to_bits()),
                "{rows:?}"
            );
            let mut found: Vec<_> =
                rows.into_iter().map(|row| (row.metric.as_str().to_owned(), row.row_id.0)).collect();
            found.sort();
            found
        };
        let named = |rows: &[(&str, i64)]| -> Vec<(String, i64)> {
            rows.iter().map(|(name, row)| (id(name).as_str().to_owned(), *row)).collect()
        };
        assert_eq!(found(all), named(&[("a", 1), ("a", 3), ("a", 4), ("b", 2)]));
        assert_eq!(found(ElevatedQuery { min_score: 0.3, ..all }), named(&[("a", 4), ("b", 2)]));
        assert_eq!(found(ElevatedQuery { limit: 1, ..all }), named(&[("a", 4)]), "the newest");
        let inside = ElevatedQuery { since: times[1], until: times[2], ..all };
        assert_eq!(found(inside), named(&[("a", 3), ("b", 2)]));
        assert_eq!(repository.newest_timestamp(), Ok(Some(times[3])));
    }

    pub fn what_statuses_have_stored_is_summed(repository: &dyn Repository) {
        assert_eq!(repository.status_sums(3), Ok(Vec::new()));
        assert_eq!(repository.newest_timestamp(), Ok(None));
        for (name, rows) in [("a", 5), ("b", 2), ("c", 0)] {
            insert(repository, name, name);
            append(repository, name, 0..rows);
        }
        assert_eq!(complete(repository, "a", &[1, 2, 3]), 3);
        assert_eq!(complete(repository, "b", &[1]), 1);
        let [sum] = repository.status_sums(3).expect("summed")[..] else { panic!("one status") };
        assert_eq!((sum.metrics, sum.young_metrics), (3, 2), "{sum:?}");
        assert_eq!((sum.stored_rows, sum.scored_rows), (7, 4), "{sum:?}");
    }

    pub fn many_rows_are_stored_and_completed(repository: &dyn Repository) {
        // More than fit into one statement, and not a round number.
        const ROWS: i64 = 1_700;
        insert(repository, "a", "a");
        assert_eq!(append(repository, "a", 0..ROWS), RowId(ROWS));
        let updates: Vec<RowUpdate> = (1..=ROWS).map(update).collect();
        let completed = within(repository, |tx| tx.complete_rows(&id("a"), &updates));
        assert_eq!(completed, Ok(updates.len()));
        let rows = rows_of(repository, "a");
        assert_eq!(ids(&rows), (1..=ROWS).collect::<Vec<_>>());
        assert!(rows.iter().all(|row| row.raw_anomaly_score == Some(0.25)));
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(ROWS)));
        let sparse: Vec<i64> = (1..=ROWS).step_by(7).chain([ROWS + 5, -1]).collect();
        assert_eq!(complete(repository, "a", &sparse), sparse.len() - 2);
        assert_eq!(rows_of(repository, "a").len(), rows.len());
    }

    pub fn scores_that_are_not_numbers_are_refused(repository: &dyn Repository) {
        insert(repository, "a", "a");
        append(repository, "a", 0..2);
        for bad in [
            RowUpdate { raw_anomaly_score: f64::NAN, ..update(2) },
            RowUpdate { anomaly_score: f64::INFINITY, ..update(2) },
        ] {
            assert_rejected(within(repository, |tx| tx.complete_rows(&id("a"), &[update(1), bad.clone()])));
        }
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(0)));
    }

    pub fn data_is_filtered_by_row_time_score_and_count(repository: &dyn Repository) {
        insert(repository, "a", "a");
        append(repository, "a", 100..110);
        let scored = RowUpdate { anomaly_score: 0.9, ..update(4) };
        within(repository, |tx| tx.complete_rows(&id("a"), &[update(3), scored.clone()])).expect("completes");
        let rows = |query: DataQuery| ids(&repository.data(&id("a"), &query).expect("reads"));
        let all = DataQuery::default();
        let (none, row) = (Vec::<i64>::new(), |number| Some(RowId(number)));
        assert_eq!(rows(all), (1..=10).collect::<Vec<_>>());
        assert_eq!(rows(DataQuery { since: Some(108), ..all }), [9, 10]);
        assert_eq!(rows(DataQuery { until: Some(101), ..all }), [1, 2]);
        let ever = DataQuery { since: Some(i64::MIN), until: Some(i64::MAX), ..all };
        assert_eq!(rows(DataQuery { limit: Some(2), ..ever }), [9, 10]);
        assert_eq!(rows(DataQuery { limit: Some(2), keep_oldest: true, ..ever }), [1, 2]);
        assert_eq!(rows(DataQuery { min_anomaly_score: Some(0.5), ..all }), [3, 4]);
        assert_eq!(rows(DataQuery { min_anomaly_score: Some(0.51), ..all }), [4]);
        assert_eq!(rows(DataQuery { is_scored: true, ..all }), [3, 4]);
        assert_eq!(rows(DataQuery { limit: Some(0), ..all }), none);
        assert_eq!(rows(DataQuery { first_row: row(8), ..all }), [8, 9, 10]);
        assert_eq!(rows(DataQuery { last_row: row(2), ..all }), [1, 2]);
        assert_eq!(rows(DataQuery { first_row: row(4), last_row: row(6), limit: Some(2), ..all }), [5, 6]);
        assert_eq!(rows(DataQuery { first_row: row(4), until: Some(104), is_scored: true, ..all }), [4]);
        assert_eq!(rows(DataQuery { first_row: row(6), last_row: row(4), ..all }), none);
        assert_eq!(repository.data(&id("b"), &all), Ok(Vec::new()));
        assert_eq!(within(repository, |tx| tx.value_range(&id("a"), None)), Ok(Some((0.0, 9.0))));
        assert_eq!(within(repository, |tx| tx.value_range(&id("a"), row(4))), Ok(Some((0.0, 3.0))));
        assert_eq!(within(repository, |tx| tx.value_range(&id("b"), None)), Ok(None));
        let between = within(repository, |tx| tx.rows_between(&id("a"), RowId(2), RowId(4)));
        assert_eq!(ids(&between.expect("reads")), [2, 3, 4]);
    }

    pub fn deleting_a_metric_deletes_its_rows_only(repository: &dyn Repository) {
        insert(repository, "a", "a");
        insert(repository, "b", "b");
        append(repository, "a", 0..3);
        append(repository, "b", 0..3);
        complete(repository, "a", &[1]);
        assert_eq!(within(repository, |tx| tx.delete_metric(&id("a"))), Ok(true));
        assert_eq!(within(repository, |tx| tx.delete_metric(&id("a"))), Ok(false));
        assert_eq!(rows_of(repository, "a"), Vec::new());
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(0)));
        assert_eq!(rows_of(repository, "b").len(), 3);
        insert(repository, "c", "a");
        assert_eq!(append(repository, "c", 0..1), RowId(1), "the name is free, its numbers begin anew");
    }

    pub fn old_rows_are_purged_and_progress_stays(repository: &dyn Repository) {
        insert(repository, "a", "a");
        append(repository, "a", 100..110);
        complete(repository, "a", &[1, 2, 3, 4, 5, 6]);
        let seen = stored(repository, "a");
        let purge = |before, up_to, limit| repository.purge_rows(&seen, before, RowId(up_to), limit);
        let left = || ids(&rows_of(repository, "a"));
        assert_eq!(purge(100, 10, 100), Ok(0), "none is older");
        assert_eq!(purge(105, 10, 2), Ok(2), "at most so many, the oldest");
        assert_eq!(left(), (3..=10).collect::<Vec<_>>());
        assert_eq!(purge(i64::MAX, 4, 100), Ok(2), "none after that row");
        assert_eq!(left(), (5..=10).collect::<Vec<_>>());
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(6)), "gaps count from the first row there is");
        assert_eq!(complete(repository, "a", &[7, 9]), 2);
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(7)));
        assert_eq!(purge(i64::MAX, 8, 100), Ok(4), "an unscored row among them");
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(9)), "the gap is gone");
        assert_eq!(stored(repository, "a").last_rowid, RowId(10));
        assert_eq!(append(repository, "a", 110..111), RowId(11), "ids are not used again");
        let nobody = Metric { uid: id("nobody"), ..seen.clone() };
        assert_eq!(repository.purge_rows(&nobody, i64::MAX, RowId(9), 9), Ok(0));
        let other_status = Metric { status: MetricStatus::Error, ..seen.clone() };
        let other_model = Metric { model_params: Some("another".to_owned()), ..seen.clone() };
        for other in [other_status, other_model] {
            assert_eq!(
                repository.purge_rows(&other, i64::MAX, RowId(9), 9),
                Ok(0),
                "it is not what was seen"
            );
        }
        within(repository, |tx| tx.clear_scores(&id("a"))).expect("clears");
        assert_eq!(complete(repository, "a", &[9, 10]), 2, "scored anew from the first row there is");
        assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(10)));
    }

    pub fn rejects_are_summed_and_listed(repository: &dyn Repository) {
        let entry = |reason, count, last_seen, example: &str| RejectEntry {
            reason,
            count,
            last_seen,
            example: example.to_owned(),
        };
        let first = [entry(RejectReason::NanValue, 2, 10, "a"), entry(RejectReason::LateSample, 4, 10, "b")];
        repository.add_rejects(&first).expect("adds");
        repository.add_rejects(&[entry(RejectReason::NanValue, 3, 11, "\u{20ac}")]).expect("adds");
        let expected = vec![
            entry(RejectReason::NanValue, 5, 11, "\u{20ac}"),
            entry(RejectReason::LateSample, 4, 10, "b"),
        ];
        assert_eq!(repository.rejects(), Ok(expected));
    }

    pub fn changes_are_numbered_and_read_in_order(repository: &dyn Repository) {
        assert_eq!(repository.newest_change(), Ok(0));
        assert_eq!(repository.changes_after(0, 10), Ok(Vec::new()));
        for uid in ["a", "b", "a"] {
            within(repository, |tx| tx.announce(&id(uid))).expect("announces");
        }
        assert_eq!(repository.newest_change(), Ok(3));
        assert_eq!(repository.changes_after(1, 10), Ok(vec![(2, id("b")), (3, id("a"))]));
        assert_eq!(repository.changes_after(0, 1), Ok(vec![(1, id("a"))]));
    }

    pub fn two_writers_never_share_a_row_id(repository: &dyn Repository) {
        const WRITERS: i64 = 4;
        const TURNS: i64 = 15;
        insert(repository, "a", "a");
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(move || {
                    for turn in 0..TURNS {
                        append(repository, "a", turn..turn + 3);
                    }
                });
            }
        });
        assert_eq!(ids(&rows_of(repository, "a")), (1..=WRITERS * TURNS * 3).collect::<Vec<_>>());
    }
}

pub use checks::*;

pub use crate::alert_conformance::*;
