//! What the command line asks for.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A backlog through the whole engine, beside the embedded default in the same run
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Metrics, each with a model
    #[arg(long, default_value_t = 1)]
    pub(crate) models: usize,
    /// Rows of each [default: the whole series]
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    pub(crate) rows: usize,
    /// Where rows lie
    #[arg(long, value_enum, default_value = "sqlite")]
    backend: Backend,
    /// Where roles meet
    #[arg(long, value_enum, default_value = "memory")]
    bus: BusKind,
    /// Whether roles share a process
    #[arg(long, value_enum, default_value = "together")]
    roles: RolesKind,
    /// Runs of each case; the median is reported
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=101))]
    pub(crate) runs: u32,
    /// The program for separate roles [default: `htmengine` beside this one]
    #[arg(long)]
    program: Option<PathBuf>,
    /// Do not measure the embedded default beside it
    #[arg(long)]
    alone: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Sqlite,
    Mysql,
}

/// Where roles meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BusKind {
    Memory,
    Rabbitmq,
}

/// Whether roles share a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RolesKind {
    Together,
    Separate,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) backend: Backend,
    pub(crate) bus: BusKind,
    pub(crate) roles: RolesKind,
}

/// The embedded default.
const BASELINE: Case = Case { backend: Backend::Sqlite, bus: BusKind::Memory, roles: RolesKind::Together };

impl Options {
    /// Whether this can be measured.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.models == 0 || self.rows == 0 {
            return Err("--models and --rows are at least 1".to_owned());
        }
        if self.roles == RolesKind::Separate && self.bus == BusKind::Memory {
            return Err("separate roles meet at a broker: give `--bus rabbitmq` too".to_owned());
        }
        let program = self.program();
        if self.roles == RolesKind::Separate && !program.is_file() {
            return Err(format!(
                "{} does not exist; build it in the same profile (cargo build --release -p htmengine), or name it \
                 with --program",
                program.display()
            ));
        }
        Ok(())
    }

    /// What is measured, by turns.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let asked = Case { backend: self.backend, bus: self.bus, roles: self.roles };
        let has_baseline = asked != BASELINE && !self.alone;
        [asked].into_iter().chain(has_baseline.then_some(BASELINE)).collect()
    }

    /// The program for separate roles.
    pub(crate) fn program(&self) -> PathBuf {
        let beside = || {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name(format!("htmengine{}", std::env::consts::EXE_SUFFIX))
        };
        self.program.clone().unwrap_or_else(beside)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = match self.backend {
            Backend::Sqlite => "SQLite",
            Backend::Mysql => "MariaDB",
        };
        let bus = match self.bus {
            BusKind::Memory => "bus in the process",
            BusKind::Rabbitmq => "RabbitMQ",
        };
        let roles = match self.roles {
            RolesKind::Together => "one process",
            RolesKind::Separate => "a process for each role",
        };
        write!(formatter, "{backend}, {bus}, {roles}")
    }
}
