//! Figures of many runs, as a table.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use super::fault::Fault;
use super::run::Outcome;

/// Sums over runs.
#[derive(Debug, Default)]
pub struct Figures {
    runs: u64,
    rows: u64,
    published_rows: u64,
    events: u64,
    /// Times, runs that it happened in, their rows.
    faults: BTreeMap<Fault, (u64, u64, u64)>,
    violations: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        let rows = outcome.rows as u64;
        self.runs += 1;
        self.rows += rows;
        self.published_rows += outcome.published_rows;
        self.events += outcome.trace.event_count();
        for (fault, times) in &outcome.faults {
            let sums = self.faults.entry(*fault).or_default();
            *sums = (sums.0 + times, sums.1 + 1, sums.2 + rows);
        }
        for violation in &outcome.violations {
            *self.violations.entry(violation.kind()).or_default() += 1;
        }
    }

    /// Violations of all runs.
    pub fn violation_count(&self) -> u64 {
        self.violations.values().sum()
    }

    /// Prints them.
    ///
    /// # Errors
    /// What the output said.
    pub fn print(&self, out: &mut impl Write, elapsed: Duration) -> io::Result<()> {
        let injected: u64 = self.faults.values().map(|(times, ..)| times).sum();
        #[expect(clippy::cast_precision_loss, reason = "far fewer runs than an f64 counts")]
        let per_minute = self.runs as f64 / elapsed.as_secs_f64().max(1e-9) * 60.0;
        writeln!(out, "{:<28}{:>14}{:>10}{:>14}", "fault", "times", "runs", "rows at risk")?;
        for fault in Fault::ALL {
            let (times, runs, rows) = self.faults.get(&fault).copied().unwrap_or_default();
            writeln!(out, "{:<28}{times:>14}{runs:>10}{rows:>14}", fault.name())?;
        }
        writeln!(out, "{:<28}{injected:>14}{:>10}{:>14}", "all", self.runs, self.rows)?;
        writeln!(
            out,
            "{} runs in {:.1} s, {per_minute:.0} a minute; {} events, {} rows stored, {} published",
            self.runs,
            elapsed.as_secs_f64(),
            self.events,
            self.rows,
            self.published_rows
        )?;
        for (kind, count) in &self.violations {
            writeln!(out, "VIOLATIONS {kind}: {count}")?;
        }
        writeln!(out, "{} violations", self.violation_count())
    }
}
