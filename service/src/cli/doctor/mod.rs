//! `htmengine doctor`: what this machine offers the engine, whether everything its settings name can be used, and what to
//! do where not.
//!
//! Facts come first, then one line for everything that was looked at: ok, warning or problem, with what was found and
//! what to do. Nothing is changed or made anywhere. Whoever does not answer costs at most the limits in `reach.rs`.

mod alerts;
mod broker;
mod certificates;
mod database;
mod folders;
mod host;
mod ports;
mod reach;

use std::fmt;
use std::io::{self, Write};

use clap::Args;
use serde_json::{Map, Value, json};

use super::CliError;
use crate::config::{ConfigArgs, Settings};

/// Look at this machine and what the engine needs: processor, memory, limits, disk, configuration, database, broker, ports
///
/// Every finding says what was found and what to do. Exit code 1 if there is a problem that keeps the engine from working;
/// warnings do not.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    Warning,
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// `configuration`, `machine`, `folder`, `certificate`, `database`, `broker`, `alerts` or `port`.
    subject: &'static str,
    /// What was found, and what to do unless it is good.
    says: String,
}

/// Facts in reading order, and findings.
#[derive(Debug, Default)]
struct Report {
    facts: Vec<(&'static str, Value)>,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.facts.push((name, value.into()));
    }

    fn find(&mut self, level: Level, subject: &'static str, says: impl Into<String>) {
        self.findings.push(Finding { level, subject, says: says.into() });
    }

    fn good(&mut self, subject: &'static str, says: impl Into<String>) {
        self.find(Level::Good, subject, says);
    }

    fn warn(&mut self, subject: &'static str, says: impl Into<String>) {
        self.find(Level::Warning, subject, says);
    }

    fn problem(&mut self, subject: &'static str, says: impl Into<String>) {
        self.find(Level::Problem, subject, says);
    }

    fn texts(&self, level: Level) -> Vec<&str> {
        let of_level = self.findings.iter().filter(|finding| finding.level == level);
        of_level.map(|finding| finding.says.as_str()).collect()
    }

    fn json(&self) -> Value {
        let mut all: Map<String, Value> =
            self.facts.iter().map(|(name, value)| (name.replace(' ', "_"), value.clone())).collect();
        let findings = self.findings.iter().map(|Finding { level, subject, says }| {
            json!({"level": level.to_string(), "subject": subject, "says": says})
        });
        all.insert("findings".to_owned(), findings.collect());
        all.insert("warnings".to_owned(), json!(self.texts(Level::Warning)));
        all.insert("problems".to_owned(), json!(self.texts(Level::Problem)));
        Value::Object(all)
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, value) in &self.facts {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "{name:<28}{value}")?;
        }
        for Finding { level, says, .. } in &self.findings {
            writeln!(out, "{level}: {says}")?;
        }
        if self.findings.iter().all(|finding| finding.level == Level::Good) {
            writeln!(out, "nothing to complain about")?;
        }
        Ok(())
    }
}

pub(super) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let mut report = Report::default();
    report.look_at_processor();
    match Settings::load(&args.config) {
        Ok(settings) => report.look_at_everything(&settings),
        Err(error) => {
            for problem in error.problems {
                report.problem("configuration", problem);
            }
            report.warn(
                "configuration",
                "nothing else was looked at, since the settings say where it is: correct them first",
            );
        }
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report.json())?;
        writeln!(out)?;
    } else {
        report.write(&mut out)?;
    }
    match report.texts(Level::Problem).len() {
        0 => Ok(()),
        1 => Err(CliError::new("there is a problem, named above")),
        count => Err(CliError::new(format!("there are {count} problems, named above"))),
    }
}

impl Report {
    fn look_at_everything(&mut self, settings: &Settings) {
        let options = settings.engine_options();
        self.look_at_memory(&options);
        self.look_at_limits(&options);
        self.look_at_configuration(settings);
        self.look_at_folders(settings);
        self.look_at_certificates(settings, &options);
        self.look_at_database(settings);
        self.look_at_broker(settings);
        self.look_at_alerts(settings);
        self.look_at_ports(settings, &options);
    }

    fn look_at_configuration(&mut self, settings: &Settings) {
        let old =
            settings.original_folder().map(|folder| format!("; old configuration in {}", folder.display()));
        let old = old.unwrap_or_default();
        self.good("configuration", format!("the configuration can be read{old}"));
        for warning in settings.warnings() {
            self.warn("configuration", warning);
        }
    }
}
