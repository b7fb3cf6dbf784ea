//! What the schema's choices cost: a measurement to run by hand.
//!
//! `cargo test -p htmengine measures_ -- --ignored --nocapture`; SQL in the environment variable `EXTRA_SQL` is
//! run on the empty file first, so that an index can be tried.

use super::tests::{fixture, id, insert, samples, update, within};
use super::*;
use crate::repository::metric_data::RowUpdate;

/// Figures for the heads of `schema.rs` and `connection.rs`.
#[test]
#[ignore = "a measurement, not a promise"]
#[expect(clippy::print_stdout, reason = "prints its figures")]
fn measures_append_and_complete() {
    const METRICS: i64 = 1_000;
    const ROWS_PER_TRANSACTION: i64 = 1_000;
    const TURNS: i64 = 200;
    let clock = crate::clock::SystemClock::new();
    let now = || crate::clock::Clock::monotonic(&clock);
    for rows_each in [1, 10, 100] {
        let fixture = fixture();
        if let Ok(extra) = std::env::var("EXTRA_SQL") {
            fixture.raw().execute_batch(&extra).expect("extra");
        }
        for number in 0..METRICS {
            insert(&fixture.repository, &format!("{number:032x}"), &format!("metric.{number}"));
        }
        let metrics_each = ROWS_PER_TRANSACTION / rows_each;
        let plan: Vec<(ModelId, i64)> = (0..TURNS * metrics_each)
            .map(|at| (id(&format!("{:032x}", at % METRICS)), at / METRICS * rows_each))
            .collect();
        let mut took = [Duration::ZERO; 2];
        for (phase, took) in took.iter_mut().enumerate() {
            let start = now();
            for turn in plan.chunks(usize::try_from(metrics_each).expect("small")) {
                within(&fixture.repository, |tx| {
                    for (uid, before) in turn {
                        let times = 1_400_000_000 + before..1_400_000_000 + before + rows_each;
                        if phase == 0 {
                            tx.append_rows(uid, &samples(times))?;
                        } else {
                            let updates: Vec<RowUpdate> =
                                (before + 1..=before + rows_each).map(update).collect();
                            assert_eq!(tx.complete_rows(uid, &updates)?, updates.len());
                        }
                    }
                    Ok(())
                })
                .expect("commits");
            }
            *took = now().saturating_sub(start);
        }
        let rate = |took: Duration| {
            f64::from(u32::try_from(TURNS * ROWS_PER_TRANSACTION).expect("small")) / took.as_secs_f64()
        };
        println!(
            "{rows_each} rows a metric: {:.0} appended/s, {:.0} completed/s",
            rate(took[0]),
            rate(took[1])
        );
    }
}
