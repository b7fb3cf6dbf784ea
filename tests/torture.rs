//! Promise: whatever is done to the engine's processes from outside, at whatever moment, every sample is stored once and
//! scored once and exactly; its sender sends it again only if the process that took it was killed. A short run of what
//! `cargo run --release -p htm-tests --bin torture` does for longer.

use std::time::Duration;

use htm_tests::torture::fault::Fault;
use htm_tests::torture::{Phase, embedded, separate};

const PHASE: Phase =
    Phase { injections: 4, metrics: 6, rows_between: 12, longest_wait: Duration::from_millis(300), seed: 7 };

#[test]
fn an_engine_killed_frozen_and_starved_loses_and_doubles_nothing() {
    for fault in Fault::EMBEDDED {
        match embedded::run(fault, &PHASE) {
            Ok(tally) => assert!(tally.is_clean() && tally.rows_at_risk > 0, "{tally:?}"),
            Err(reason) => {
                // Mounting needs a right that not everybody who runs tests has, the clock a library.
                let may_be_missing = [Fault::FillDisk, Fault::SkewClock].contains(&fault);
                assert!(may_be_missing, "{}: {reason}", fault.name());
            }
        }
    }
}

#[test]
fn roles_killed_and_frozen_lose_and_double_nothing() {
    for fault in [Fault::KillRole, Fault::FreezeRole] {
        let tally = separate::run(fault, &PHASE);
        assert!(tally.is_clean() && tally.rows_at_risk > 0, "{tally:?}");
    }
}
