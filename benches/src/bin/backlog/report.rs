//! The median run of each case, for people or as JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::options::Case;
use crate::run::{Load, Measured};

/// What is told of one case.
pub(crate) struct Report {
    case: Case,
    models: usize,
    rows: usize,
    /// By wall time, ascending.
    runs: Vec<Measured>,
}

impl Report {
    pub(crate) fn new(case: Case, load: &Load, mut runs: Vec<Measured>) -> Self {
        runs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
        Self { case, models: load.models(), rows: load.total(), runs }
    }

    fn median(&self) -> &Measured {
        &self.runs[self.runs.len() / 2]
    }

    fn per_s(&self, run: &Measured) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few million rows")]
        let rows = self.rows as f64;
        rows / run.wall_s
    }

    fn to_json(&self) -> Value {
        let median = self.median();
        let cpu: serde_json::Map<String, Value> =
            median.cpu_s.iter().map(|(name, seconds)| ((*name).to_owned(), (*seconds).into())).collect();
        let walls: Vec<f64> = self.runs.iter().map(|run| run.wall_s).collect();
        json!({"case": self.case.to_string(), "models": self.models, "rows": self.rows, "wall_s": median.wall_s,
            "records_per_s": self.per_s(median), "cpu_s": cpu, "wall_s_of_runs": walls})
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let median = self.median();
        let (first, last) = (&self.runs[0], &self.runs[self.runs.len() - 1]);
        writeln!(out, "{}: {} models, {} rows, {} runs", self.case, self.models, self.rows, self.runs.len())?;
        writeln!(out, "  wall                    {:.2} s", median.wall_s)?;
        writeln!(
            out,
            "  records per second      {:.0} (from {:.0} to {:.0})",
            self.per_s(median),
            self.per_s(last),
            self.per_s(first)
        )?;
        let total: f64 = median.cpu_s.iter().map(|(_, seconds)| seconds).sum();
        #[expect(clippy::cast_precision_loss, reason = "a few million rows")]
        let per_record_us = total / self.rows as f64 * 1e6;
        writeln!(out, "  CPU of all processes    {total:.2} s, {per_record_us:.0} us a record")?;
        for (name, seconds) in &median.cpu_s {
            writeln!(out, "    {name:<26}{seconds:.2} s")?;
        }
        Ok(())
    }
}

/// Prints all reports.
pub(crate) fn print(reports: &[Report], as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        return writeln!(out, "{}", reports.iter().map(Report::to_json).collect::<Value>());
    }
    reports.iter().try_for_each(|report| report.write(&mut out))
}
