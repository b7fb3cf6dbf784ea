//! Runs seeds of the simulation, or replays one with everything that happened in it.
//!
//! `simulate --seeds 10000` runs the seeds from 0 on and prints what went wrong on purpose and what did not hold;
//! `--first N` begins elsewhere. `simulate --seed N` prints every event of one run. `--canary NAME` puts a bug around the
//! roles, which is to be found. The exit code is 1 if something did not hold, or a canary was not found.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use htm_tests::simulation::canary::Canary;
use htm_tests::simulation::figures::Figures;
use htm_tests::simulation::run::{Outcome, run};

const USAGE: &str = "usage: simulate [--seeds COUNT] [--first SEED] [--seed SEED] [--canary NAME]";
/// Seeds without `--seeds`.
const DEFAULT_SEEDS: u64 = 500;

#[derive(Debug, Default)]
struct Options {
    seeds: Option<u64>,
    first: u64,
    seed: Option<u64>,
    canary: Option<Canary>,
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} is `{value}`; expected a whole number\n{USAGE}"))
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} has no value\n{USAGE}"))?;
        match &*name {
            "--seeds" => options.seeds = Some(number(&name, &value)?),
            "--first" => options.first = number(&name, &value)?,
            "--seed" => options.seed = Some(number(&name, &value)?),
            "--canary" => {
                let names = Canary::ALL.map(Canary::name).join(", ");
                let unknown = || format!("there is no canary `{value}`; there are {names}");
                options.canary = Some(Canary::from_name(&value).ok_or_else(unknown)?);
            }
            _ => return Err(format!("`{name}` is not known\n{USAGE}")),
        }
    }
    Ok(options)
}

fn print_violations(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    for violation in &outcome.violations {
        writeln!(out, "seed {}: {violation}", outcome.seed)?;
    }
    Ok(())
}

fn replay(out: &mut impl Write, seed: u64, canary: Option<Canary>) -> io::Result<bool> {
    let outcome = run(seed, canary, true);
    for line in outcome.trace.lines() {
        writeln!(out, "{line}")?;
    }
    print_violations(out, &outcome)?;
    writeln!(
        out,
        "seed {seed}: {:?} bus, {:?} database, {} events, digest {:016x}, {} violations",
        outcome.bus,
        outcome.database,
        outcome.trace.event_count(),
        outcome.trace.digest(),
        outcome.violations.len()
    )?;
    Ok(outcome.violations.is_empty())
}

/// Runs seeds; with a canary until it is found.
fn run_seeds(out: &mut impl Write, options: &Options) -> io::Result<bool> {
    let mut figures = Figures::default();
    let started = Instant::now();
    let count = options.seeds.unwrap_or(DEFAULT_SEEDS);
    let mut found = None;
    for seed in options.first..options.first.saturating_add(count) {
        let outcome = run(seed, options.canary, false);
        figures.add(&outcome);
        print_violations(out, &outcome)?;
        if options.canary.is_some() && !outcome.violations.is_empty() {
            found = Some(seed);
            break;
        }
    }
    figures.print(out, started.elapsed())?;
    let Some(canary) = options.canary else { return Ok(figures.violation_count() == 0) };
    match found {
        Some(seed) => {
            let name = canary.name();
            writeln!(out, "canary {name} is found by seed {seed}: simulate --canary {name} --seed {seed}")?;
        }
        None => writeln!(out, "canary {} was not found in {count} seeds", canary.name())?,
    }
    Ok(found.is_some())
}

fn refuse(reason: &dyn Display) -> ExitCode {
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "{reason}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => return refuse(&reason),
    };
    let mut out = io::stdout().lock();
    let held = match options.seed {
        Some(seed) => replay(&mut out, seed, options.canary),
        None => run_seeds(&mut out, &options),
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => refuse(&error),
    }
}
