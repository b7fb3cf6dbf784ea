//! What the command line asks for.

use std::io;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Parser;

/// See the program's description.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Metrics, each with a model.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) metrics: usize,
    /// Samples a second.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Minutes of samples.
    #[arg(long, default_value_t = 120)]
    minutes: u32,
    /// Minutes after which the engine is killed (SIGKILL) and started again, with the rest of the samples still to come.
    #[arg(long = "kill-after")]
    kill_after_minutes: Option<u32>,
    /// Samples of each metric that are sent and scored, as fast as that goes, before time begins.
    #[arg(long, default_value_t = 0)]
    pub(crate) history: usize,
    /// Memory for models, in MiB.
    #[arg(long = "memory-budget", default_value_t = 1_024)]
    pub(crate) memory_budget_mib: u32,
    /// Gets the figures, the picture and, for as long as nobody deletes them, the engine's data.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draw the picture of the run in this folder again, and nothing else.
    #[arg(long)]
    pub(crate) draw: Option<PathBuf>,
}

impl Options {
    /// Where everything goes.
    pub(crate) fn out(&self) -> io::Result<&Path> {
        self.out.as_deref().ok_or_else(|| io::Error::other("say with --out DIR where figures and data go"))
    }

    /// Samples of each metric, its history included.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds_until(self.minutes)
    }

    /// Those after the history, by the life of the engine that gets them.
    pub(crate) fn rounds_of_lives(&self) -> Vec<Range<usize>> {
        let killed_at = self.kill_after_minutes.map(|minutes| self.rounds_until(minutes).min(self.rounds()));
        let begins = iter::once(self.history).chain(killed_at);
        let ends = killed_at.into_iter().chain(iter::once(self.rounds()));
        begins.zip(ends).map(|(begin, end)| begin..end).collect()
    }

    fn rounds_until(&self, minutes: u32) -> usize {
        let samples = u64::from(minutes) * 60 * u64::from(self.rate);
        self.history + usize::try_from(samples).unwrap_or(usize::MAX) / self.metrics.max(1)
    }
}
