//! Promise: models never take more memory than they are given, whatever is asked of them; a single fresh sample does not
//! wait for the backlogs of others, nor a backlog for fresh samples without end.

use std::sync::Arc;
use std::time::Duration;

use htm_core::encoder::Record;
use htm_tests::hand_clock::HandClock;
use htm_tests::lone_run::{assert_equal, assert_scored, padded_range, scores};
use htm_tests::recording::series;
use htm_tests::refusing_files::RefusingFiles;
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{monitor, monitor_all, scored_count, wait_for_rows, wait_for_scores};
use htm_tests::turn_by_turn::TurnByTurn;
use htm_tests::waiting::wait_until;
use htmengine::clock::SystemClock;
use htmengine::engine::EngineOptions;
use htmengine::scheduler::Scheduler;

fn samples(name: &str, count: usize) -> Vec<Record> {
    series(name).into_iter().map(|(_, record)| record).take(count).collect()
}

/// Long backlogs and single rows in turn, of models that grow while they are stepped.
fn check_limited(context: &str, limit: impl FnOnce(&mut EngineOptions)) -> RunningEngine {
    let samples = samples("ec2_cpu_utilization_5f5533", 260);
    let range = padded_range(&samples);
    let running = RunningEngine::start(|options| {
        options.checkpoint_rows = 100;
        limit(options);
    });
    let names: Vec<String> = (0..12).map(|number| format!("cpu.{number}")).collect();
    for name in &names {
        monitor(running.repository(), name, Some(range));
    }
    for part in [0..200, 200..201, 201..240, 240..241, 241..260] {
        for name in &names {
            send(running.address(), lines(name, &samples[part.clone()]).as_bytes());
        }
        for name in &names {
            wait_for_scores(running.repository(), name, part.end);
        }
    }
    for name in &names {
        let rows = wait_for_scores(running.repository(), name, samples.len());
        assert_equal(&format!("{context}, {name}"), &rows, &samples, range);
    }
    running
}

#[test]
fn the_memory_budget_is_kept() {
    let running = check_limited("budget", |options| options.memory_budget_bytes = 24 << 20);
    let figures = running.engine().figures();
    assert!(figures.peak_reserved_bytes <= figures.memory_budget_bytes, "{figures:?}");
    assert!(figures.resident_models > 1, "the budget is made use of: {figures:?}");
    assert!(figures.swaps_in > 24 && figures.replayed_rows > 0, "models came and went: {figures:?}");
    running.stop();
}

#[test]
fn models_larger_than_the_memory_budget_are_stepped_one_at_a_time() {
    let running = check_limited("lone", |options| options.memory_budget_bytes = 1);
    let figures = running.engine().figures();
    assert_eq!(figures.resident_models, 1, "{figures:?}");
    // One with the room that its step may need takes some 12 MiB.
    assert!(figures.peak_reserved_bytes < 16 << 20, "never two of them: {figures:?}");
    running.stop();
}

#[test]
fn the_number_of_models_in_memory_is_kept() {
    let running = check_limited("number", |options| options.max_resident_models = Some(3));
    let figures = running.engine().figures();
    assert!(figures.resident_models <= 3 && figures.swaps_in > 24, "{figures:?}");
    running.stop();
}

#[test]
fn a_fresh_sample_does_not_wait_for_the_backlogs_of_others() {
    let long = samples("nyc_taxi", 2000);
    let range = padded_range(&long);
    let running = RunningEngine::start(|_| {});
    let names: Vec<String> = (0..5).map(|number| format!("backlog.{number}")).collect();
    for name in &names {
        send(running.address(), lines(name, &long).as_bytes());
    }
    for name in &names {
        wait_for_rows(running.repository(), name, long.len());
    }
    monitor(running.repository(), "fresh", Some(range));
    let all_names: Vec<&str> = names.iter().map(String::as_str).collect();
    monitor_all(running.repository(), &all_names, Some(range));
    let scored = |name: &String| scored_count(running.repository(), name);
    wait_until("backlogs are worked off", || names.iter().any(|name| scored(name) > 0));
    send(running.address(), lines("fresh", &long[..1]).as_bytes());
    wait_for_scores(running.repository(), "fresh", 1);
    let unfinished = names.iter().filter(|name| scored(name) < 2000).count();
    assert_eq!(unfinished, names.len(), "every backlog was still being worked off");
    let expected = scores(&long, range);
    for name in &names {
        assert_scored(name, &wait_for_scores(running.repository(), name, long.len()), &expected);
    }
    running.stop();
}

#[test]
fn a_backlog_does_not_wait_for_fresh_samples_without_end() {
    const FRESH: [&str; 2] = ["fresh.1", "fresh.2"];
    const BACKLOG_ROWS: usize = 300;
    // Enough for the scores of both to be far ahead, and then for a share of one row every fourth turn.
    const TURNS: usize = 1_300;
    const BACKLOG_COMES: usize = 50;
    let long = samples("nyc_taxi", TURNS);
    let range = padded_range(&long);
    let turns = TurnByTurn::new(Arc::new(SystemClock::new()));
    for name in FRESH.into_iter().chain(["backlog"]) {
        monitor(turns.repository(), name, Some(range));
    }
    let mut scheduler = turns.scheduler();
    for (turn, row) in long.chunks(1).enumerate() {
        if turn == BACKLOG_COMES {
            turns.add("backlog", &long[..BACKLOG_ROWS]);
        }
        for name in FRESH {
            turns.add(name, row);
        }
        scheduler.run_once(Duration::ZERO).expect("nothing is away");
    }
    assert_eq!(turns.scores_of("backlog"), BACKLOG_ROWS);
}

/// The first time after a start a model's size was known only when it had been read: many at once took several times the budget,
/// and those that found no room were read again.
#[test]
fn after_a_start_no_model_is_read_before_there_is_room_for_it() {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    const TURNS: usize = 60;
    let samples = samples("nyc_taxi", 200);
    let files = Arc::new(RefusingFiles::default());
    // Shares that have no time to run out of step as many rows a turn on any machine.
    let mut turns = TurnByTurn::new(Arc::new(HandClock::default())).with_files(Arc::clone(&files) as _);
    let take_turns = |turns: &TurnByTurn, scheduler: &mut Scheduler| {
        for _ in 0..TURNS {
            scheduler.run_once(Duration::ZERO).expect("nothing is away");
            turns.commit_scores();
        }
    };
    for name in NAMES {
        monitor(turns.repository(), name, Some(padded_range(&samples)));
        turns.add(name, &samples[..199]);
    }
    let mut scheduler = turns.scheduler();
    take_turns(&turns, &mut scheduler);
    assert_eq!(scheduler.save_all().expect("saved"), NAMES.len());
    let sizes = NAMES.map(|name| std::fs::metadata(turns.model_file(name)).expect("saved").len());
    let size = usize::try_from(*sizes.iter().max().expect("some")).expect("small");
    // Room for one to be stepped, and for all of them if they were as small as any may be.
    turns.options.memory_budget_bytes = 4 * size;
    for name in NAMES {
        turns.add(name, &samples[199..]);
    }
    files.take_opened();
    take_turns(&turns, &mut turns.scheduler());
    for name in NAMES {
        assert_eq!(scored_count(turns.repository(), name), 200, "{name}");
    }
    let mut opened = files.take_opened();
    opened.sort_unstable();
    let mut each_once = NAMES.map(|name| turns.model_file(name));
    each_once.sort_unstable();
    assert_eq!(opened, each_once);
}
