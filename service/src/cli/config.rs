//! `htmengine config`: the effective settings, where each was said, and what is wrong or without effect.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::CliError;
use super::output::write_table;
use crate::config::{ConfigArgs, Settings};

/// Show the effective settings, or check them
///
/// Settings come, stronger first, from flags, environment variables, the settings file (--config), the original's
/// configuration folder (`APPLICATION_CONFIG_PATH`), and what is built in.
#[derive(Debug, Args)]
pub(super) struct ConfigVerbArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Show every setting with its value and where it was said
    Show(ShowArgs),
    /// Check files, variables and flags; exit code 1 if anything is wrong
    Check(CheckArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ConfigVerbArgs) -> Result<(), CliError> {
    match &args.verb {
        ConfigVerb::Show(args) => show(args),
        ConfigVerb::Check(args) => check(args),
    }
}

fn show(args: &ShowArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let mut out = io::stdout().lock();
    if args.json {
        let entries: Map<String, Value> = settings
            .entries()
            .into_iter()
            .map(|entry| {
                (entry.name.to_owned(), json!({"value": entry.value, "layer": entry.layer.to_string()}))
            })
            .collect();
        let all = json!({
            "settings": entries,
            "original_folder": settings.original_folder().map(|path| path.display().to_string()),
            "warnings": settings.warnings(),
        });
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = settings
        .entries()
        .into_iter()
        .map(|entry| vec![entry.name.to_owned(), value_text(&entry.value), entry.layer.to_string()])
        .collect();
    write_table(&mut out, &["SETTING", "VALUE", "SAID BY"], &rows)?;
    write_warnings(&mut out, &settings)?;
    Ok(())
}

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let mut out = io::stdout().lock();
    write_warnings(&mut out, &settings)?;
    match settings.warnings().len() {
        0 => writeln!(out, "the configuration is right")?,
        1 => writeln!(out, "the configuration can be used; 1 warning")?,
        count => writeln!(out, "the configuration can be used; {count} warnings")?,
    }
    Ok(())
}

fn write_warnings(out: &mut dyn Write, settings: &Settings) -> io::Result<()> {
    for warning in settings.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

/// As it would stand in a settings file; what is not set as `-`.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
