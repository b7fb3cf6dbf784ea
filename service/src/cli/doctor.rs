//! `htmengine doctor`: what this machine offers the engine, the limits that follow, and what should be changed.

use std::io::{self, Write};

use clap::Args;
use htm_core::isa::Isa;
use serde_json::{Map, Value, json};

use super::CliError;
use crate::config::{ConfigArgs, Settings};
use crate::engine::EngineOptions;
use crate::machine;

/// Open files that the engine needs beside connections: database, model files being read and written, sockets.
const OTHER_FILES: u64 = 256;
/// Free disk space below which the operator is told.
const LITTLE_DISK_BYTES: u64 = 1 << 30;
/// A model of this size is small; more of them than mappings allow means that the mappings are the limit.
const SMALL_MODEL_BYTES: usize = 256 << 10;

/// Look at this machine: processor, memory, limits, disk; and warn about what will not do
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Findings in reading order, and warnings with advice.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<(&'static str, Value)>,
    warnings: Vec<String>,
}

pub(super) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let options = Settings::load(&args.config)?.engine_options();
    let mut report = Report::default();
    report.look_at_processor();
    report.look_at_memory(&options);
    report.look_at_limits(&options);
    report.look_at_disk(&options)?;
    let mut out = io::stdout().lock();
    if args.json {
        let mut findings: Map<String, Value> =
            report.findings.into_iter().map(|(name, value)| (name.replace(' ', "_"), value)).collect();
        findings.insert("warnings".to_owned(), report.warnings.into());
        serde_json::to_writer_pretty(&mut out, &findings)?;
        writeln!(out)?;
        return Ok(());
    }
    for (name, value) in &report.findings {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{name:<28}{value}")?;
    }
    for warning in &report.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    if report.warnings.is_empty() {
        writeln!(out, "nothing to complain about")?;
    }
    Ok(())
}

impl Report {
    fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.findings.push((name, value.into()));
    }

    fn look_at_processor(&mut self) {
        self.add("processor", machine::processor().unwrap_or_else(|| "unknown".to_owned()));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.add("processors usable", cores);
        let names: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
        self.add("instruction sets", names.join(", "));
        self.add("instruction set used", Isa::chosen().to_string());
    }

    fn look_at_memory(&mut self, options: &EngineOptions) {
        let budget = options.memory_budget_bytes;
        self.add("memory budget MiB", budget >> 20);
        let Some(memory) = machine::memory() else { return };
        self.add("memory MiB", memory.total >> 20);
        self.add("memory available MiB", memory.available >> 20);
        let sensible = memory.available / 4 * 3;
        if budget as u64 > sensible {
            self.warnings.push(format!(
                "the memory budget for models is {} MiB, of {} MiB available: set memory_budget_mib to {} or less, so \
                 that the kernel can keep model files and the database in memory",
                budget >> 20,
                memory.available >> 20,
                sensible >> 20
            ));
        }
    }

    fn look_at_limits(&mut self, options: &EngineOptions) {
        let mappings = machine::max_map_count();
        let resident = options.max_resident_models.unwrap_or_else(machine::max_resident_models);
        self.add("vm.max_map_count", mappings);
        self.add("models in memory at most", resident);
        let fitting = options.memory_budget_bytes / SMALL_MODEL_BYTES;
        if fitting > resident {
            self.warnings.push(format!(
                "memory would hold some {fitting} small models, but only {resident} may be mapped: set \
                 vm.max_map_count to {} or more with sysctl",
                fitting.saturating_mul(2).next_power_of_two()
            ));
        }
        let files = machine::file_limit();
        let shown = |limit: Option<u64>| limit.map_or(json!("unlimited"), Value::from);
        self.add("open files, soft limit", shown(files.soft));
        self.add("open files, hard limit", shown(files.hard));
        let needed = options.listener.max_connections as u64 + OTHER_FILES;
        if files.hard.is_some_and(|hard| hard < needed) {
            self.warnings.push(format!(
                "{} connections need up to {needed} open files, the hard limit is {}: raise it (LimitNOFILE= in \
                 systemd, nofile in limits.conf), or lower max_connections",
                options.listener.max_connections,
                shown(files.hard)
            ));
        }
    }

    fn look_at_disk(&mut self, options: &EngineOptions) -> Result<(), CliError> {
        let shown = options.data_dir.display();
        let space = machine::disk_space(&options.data_dir)
            .map_err(|error| CliError::new(format!("the disk of {shown} cannot be looked at: {error}")))?;
        self.add("data folder", shown.to_string());
        self.add("disk MiB", space.total >> 20);
        self.add("disk free MiB", space.available >> 20);
        if space.available < LITTLE_DISK_BYTES {
            self.warnings.push(format!(
                "the disk of {shown} has {} MiB left: free some space; a full disk loses nothing, but no sample is \
                 stored while it is full",
                space.available >> 20
            ));
        }
        Ok(())
    }
}
