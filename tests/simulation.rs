//! Promise: whatever dies, in whatever order, every sample accepted is stored once and scored once and exactly, and every result
//! is published; shown by running the real roles in a simulated world, a seed at a time.
//!
//! A seed that fails is replayed, event by event, with
//! `cargo run --release -p htm-tests --bin simulate -- --seed N`.

use htm_tests::conformance_tests;
use htm_tests::simulation::canary::Canary;
use htm_tests::simulation::run::{Outcome, calm_repository, run};

/// Seeds of each run of the suite.
const SEEDS: u64 = 500;
/// A canary must be found by a seed below this.
const CANARY_SEEDS: u64 = 500;

#[track_caller]
fn assert_held(outcome: &Outcome) {
    let Outcome { seed, violations, .. } = outcome;
    assert!(violations.is_empty(), "simulate --seed {seed}: {violations:#?}");
}

#[test]
fn nothing_is_lost_and_nothing_is_doubled() {
    (0..SEEDS).for_each(|seed| assert_held(&run(seed, None, false)));
}

/// Old rows were deleted while the storer held a batch: it had been stored, but the answer to the commit was lost. All rows
/// of the unmonitored metric were old, so nothing told any more what had been stored, and the next attempt stored the
/// batch a second time. Now a metric's newest row stays.
#[test]
fn rows_deleted_for_their_age_do_not_come_back() {
    for seed in [139, 250, 278, 306, 343] {
        assert_held(&run(seed, None, false));
    }
}

/// A metric was monitored after the collector had looked at it and before it deleted: its rows went by age alone, as those of an
/// unmonitored one, and its model was made of what was left. Now the deletion names what was seen.
#[test]
fn a_metric_that_is_monitored_meanwhile_keeps_its_rows() {
    for seed in [510, 1_462] {
        assert_held(&run(seed, None, false));
    }
}

/// A model had outgrown its learned range and waited for its scores to be committed, which the broker had lost. A look at all
/// metrics found it behind its rows, let it wait on, and never asked after its scores: it waited until the next start.
#[test]
fn an_outgrown_model_whose_scores_are_lost_publishes_them_again() {
    for seed in [6_434, 8_326] {
        assert_held(&run(seed, None, false));
    }
}

/// Scores were committed, and the anomaly role died before it had published them. Until the message came again, all but the
/// last of its rows had been deleted for their age, so it fitted its rows no more and was dropped, the last row with it, whose
/// result was never published. Now what is left of a message's rows is completed and published.
#[test]
fn results_of_rows_that_are_left_are_published() {
    for seed in [12_552, 18_884] {
        assert_held(&run(seed, None, false));
    }
}

#[test]
fn a_seed_does_again_what_it_did() {
    for seed in 0..40 {
        let (first, second) = (run(seed, None, false), run(seed, None, true));
        assert_eq!(first.trace.digest(), second.trace.digest(), "seed {seed}");
        assert_eq!(second.trace.lines().len() as u64, second.trace.event_count());
        assert_ne!(first.trace.digest(), run(seed + 1, None, false).trace.digest(), "seed {seed}");
    }
}

/// Finds a canary, and finds it again by its seed.
fn check_canary(canary: Canary) {
    let found = (0..CANARY_SEEDS).map(|seed| run(seed, Some(canary), false));
    let found = found.into_iter().find(|outcome| !outcome.violations.is_empty());
    let found = found.unwrap_or_else(|| panic!("{} is not found", canary.name()));
    let again = run(found.seed, Some(canary), true);
    assert_eq!(again.violations, found.violations, "seed {}", found.seed);
    assert_eq!(again.trace.digest(), found.trace.digest(), "seed {}", found.seed);
    let is_told = |line: &String| line.contains("VIOLATION");
    assert!(again.trace.lines().iter().any(is_told), "the replay shows when");
    assert_held(&run(found.seed, None, false));
}

macro_rules! canaries {
    ($($test:ident $canary:ident)+) => {
        $(#[test]
        fn $test() {
            check_canary(Canary::$canary);
        })+

        #[test]
        fn every_canary_has_a_test() {
            assert_eq!([$(Canary::$canary),+], Canary::ALL);
        }
    };
}

canaries!(
    lines_acknowledged_before_they_are_stored_are_noticed EarlyAcknowledgement
    scores_that_were_never_committed_are_noticed ForgottenCommit
    samples_stored_twice_are_noticed StaleTail
    models_saved_beyond_their_scores_are_noticed EarlyProgress
    models_read_from_rotten_files_are_noticed RottenFile
    results_out_of_order_are_noticed SwappedScores
    lost_scores_are_noticed DroppedScores
    metrics_that_nobody_monitors_are_noticed ForgottenPatterns
    lines_lost_before_the_bus_are_noticed LostLine
    lines_lost_in_an_orderly_stop_are_noticed UnkeptLines
    results_kept_back_in_an_orderly_stop_are_noticed SilentStop
    messages_that_are_never_acknowledged_are_noticed HoardedScores
    other_alert_scores_are_noticed OtherAlertScore
);

/// The simulated database is worth as much as it is like the real ones.
mod repository {
    use super::{calm_repository, conformance_tests};

    conformance_tests!(calm_repository());
    conformance_tests!(calm_repository();
        changes_are_numbered_and_read_in_order detection_scores_are_stored_bit_for_bit_and_cleared
        elevated_rows_are_found_across_metrics);
}
