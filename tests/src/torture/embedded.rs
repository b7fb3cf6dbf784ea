//! Faults of an engine in one process over the embedded database.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::fault::{Fault, freeze};
use super::tally::Tally;
use super::{Phase, progress};
use crate::load::Load;
use crate::program::Server;
use crate::results_reader::ResultsReader;
use crate::seeded_random::SeededRandom;
use crate::small_disk::SmallDisk;

/// Space for an engine whose disk is filled.
const SMALL_DISK: &str = "96m";
/// Longest freeze, and longest time without space.
const LONGEST_PAUSE_MS: usize = 1_500;
/// Farthest leap of the clock.
const FARTHEST_LEAP_S: usize = 86_400;
/// Rows between two saved models: few, so that faults meet models being saved.
const CHECKPOINT_ROWS: &str = "25";
/// What stands before the address of live results.
const RESULTS: &str = "live results: newline-delimited JSON on TCP ";

/// Runs a phase of one of [`Fault::EMBEDDED`]; it ends early when something is lost.
///
/// # Errors
/// Why this machine does not let itself be treated so.
///
/// # Panics
/// If the engine does not start, does not end, or stops taking samples, or if one that lived through all faults did not publish
/// a row as it is stored.
pub fn run(fault: Fault, phase: &Phase) -> Result<Tally, String> {
    let place = Place::new(fault)?;
    let load = phase.load();
    let mut random = phase.random();
    let mut tally = Tally::new(fault);
    let mut server = place.start();
    load.monitor(&server.repository());
    // A killed engine takes along what it had not told its readers.
    let reader = (fault != Fault::KillEngine).then(|| ResultsReader::start(server.announced(RESULTS)));
    for round in 1..=phase.injections {
        let sent = round * phase.rows_between;
        let target = (sent, server.address());
        let struck = phase.send_until_fault(&mut random, &server.repository(), &load, target);
        server = place.inject(fault, server, &mut random);
        server.check_running();
        tally.note(&struck.before, &progress(&server.repository(), &load), sent);
        if fault == Fault::KillEngine {
            // Its connection broke; what is missing is sent with the next rows.
            let _ = struck.sent();
        } else {
            tally.lost += struck.never_stored(&server.repository(), &load, sent);
            if tally.lost > 0 {
                // Before it is sent again.
                return Ok(tally);
            }
        }
    }
    finish(&server, &load, &mut tally);
    if let Some(reader) = reader {
        reader.check(&load, &server.repository());
    }
    Ok(tally)
}

fn finish(server: &Server, load: &Load, tally: &mut Tally) {
    // What was sent before may still be on its way, and is then refused as sent already.
    crate::sender::send(server.address(), load.missing(&server.repository(), load.rows()).as_bytes());
    load.wait_for_scores(&server.repository());
    tally.compare(load, &server.repository());
}

/// Where the engine's data lies, and what is needed to harm it.
struct Place {
    /// A disk of its own for data and log; before the folder, which is removed after it.
    small_disk: Option<SmallDisk>,
    folder: TempDir,
    /// What the fake clock reads its leap from.
    leap: Option<PathBuf>,
}

impl Place {
    fn new(fault: Fault) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a folder: {error}"))?;
        let mut place = Self { folder, small_disk: None, leap: None };
        if fault == Fault::FillDisk {
            let small_disk = SmallDisk::mount(place.folder.path(), SMALL_DISK)?;
            place.small_disk = Some(small_disk);
        }
        if fault == Fault::SkewClock {
            if !fake_time().is_file() {
                let library = fake_time();
                return Err(format!(
                    "{} is missing: install Debian's package `libfaketime`",
                    library.display()
                ));
            }
            let leap = place.folder.path().join("leap");
            fs::write(&leap, "+0\n").map_err(|error| format!("{}: {error}", leap.display()))?;
            place.leap = Some(leap);
        }
        Ok(place)
    }

    fn start(&self) -> Server {
        let arguments = ["--checkpoint-rows", CHECKPOINT_ROWS, "--results", "127.0.0.1:0"];
        Server::start_changed(self.folder.path(), arguments, |command| {
            if let Some(leap) = &self.leap {
                command.env("LD_PRELOAD", fake_time()).env("FAKETIME_TIMESTAMP_FILE", leap);
                command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            }
        })
    }

    /// Harms the engine; returns it, or the one that took its place.
    fn inject(&self, fault: Fault, server: Server, random: &mut SeededRandom) -> Server {
        let pause = Duration::from_millis(random.below(LONGEST_PAUSE_MS) as u64);
        match fault {
            Fault::KillEngine => {
                server.kill();
                return self.start();
            }
            Fault::FreezeEngine => freeze(server.process_id(), pause),
            Fault::FillDisk => self.fill(pause),
            Fault::SkewClock => self.leap(random),
            Fault::KillRole | Fault::FreezeRole | Fault::KillDatabase | Fault::KillBroker => {
                panic!("{} is no fault of an engine in one process", fault.name())
            }
        }
        server
    }

    fn fill(&self, pause: Duration) {
        let disk = self.small_disk.as_ref().expect("a disk to fill");
        disk.fill();
        thread::sleep(pause);
        disk.empty();
    }

    fn leap(&self, random: &mut SeededRandom) {
        let seconds = random.below(FARTHEST_LEAP_S);
        let sign = if random.below(2) == 0 { '+' } else { '-' };
        let path = self.leap.as_ref().expect("a clock to skew");
        fs::write(path, format!("{sign}{seconds}\n")).expect("our own file");
    }
}

/// The library that shows a program another time of the day; Debian's package `libfaketime`.
fn fake_time() -> PathBuf {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH).into()
}
