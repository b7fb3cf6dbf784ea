//! Injects faults into real engines and prints a table of what became of their rows.
//!
//! `torture [--injections N] [--metrics M] [--rows R] [--seed S] [--fault NAME]...`: N times (20) each kind of fault, or each
//! named, into engines that store R rows (10) of each of M metrics (12) between two. Those that need a broker and a
//! database start some of their own. A line for each kind as soon as it is over; the exit code is 1 if anything was lost,
//! doubled or inexact. A kind that this machine does not permit is named, and makes no failure.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use htm_tests::torture::fault::Fault;
use htm_tests::torture::tally::Tally;
use htm_tests::torture::{Phase, embedded, separate};

const USAGE: &str =
    "usage: torture [--injections COUNT] [--metrics COUNT] [--rows COUNT] [--seed SEED] [--fault NAME]...";
const DEFAULTS: Phase = Phase {
    injections: 20,
    metrics: 12,
    rows_between: 10,
    longest_wait: Duration::from_millis(400),
    seed: 1,
};

fn options(mut args: impl Iterator<Item = String>) -> Result<(Phase, Vec<Fault>), String> {
    let (mut phase, mut faults) = (DEFAULTS, Vec::new());
    let all = || Fault::EMBEDDED.into_iter().chain(Fault::SEPARATE);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} has no value\n{USAGE}"))?;
        let number =
            || value.parse::<usize>().map_err(|_| format!("{name} is `{value}`; expected a number\n{USAGE}"));
        match &*name {
            "--injections" => phase.injections = number()?,
            "--metrics" => phase.metrics = number()?,
            "--rows" => phase.rows_between = number()?,
            "--seed" => phase.seed = number()? as u64,
            "--fault" => {
                let names: Vec<_> = all().map(Fault::name).collect();
                let unknown = || format!("there is no fault `{value}`; there are {}", names.join(", "));
                faults.push(all().find(|fault| fault.name() == value).ok_or_else(unknown)?);
            }
            _ => return Err(format!("`{name}` is not known\n{USAGE}")),
        }
    }
    if faults.is_empty() {
        faults.extend(all());
    }
    Ok((phase, faults))
}

fn run(out: &mut impl Write, phase: &Phase, faults: &[Fault]) -> io::Result<bool> {
    writeln!(out, "{}", Tally::HEADING)?;
    let mut is_clean = true;
    for fault in faults {
        let tally = if Fault::EMBEDDED.contains(fault) {
            embedded::run(*fault, phase)
        } else {
            Ok(separate::run(*fault, phase))
        };
        match tally {
            Ok(tally) => {
                is_clean &= tally.is_clean();
                writeln!(out, "{tally}")?;
            }
            Err(reason) => writeln!(out, "{:<16} not possible here: {reason}", fault.name())?,
        }
        out.flush()?;
    }
    Ok(is_clean)
}

fn main() -> ExitCode {
    let (phase, faults) = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "{reason}");
            return ExitCode::from(2);
        }
    };
    match run(&mut io::stdout().lock(), &phase, &faults) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}
