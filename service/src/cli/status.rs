//! `htmengine status`: what the running engine holds and has done, in numbers.

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::CliError;
use super::output::time_text;
use crate::config::{ConfigArgs, Settings};
use crate::control::{EngineFigures, read_figures};
use crate::engine::role::Role;

/// Show figures of the running engine: models in memory, swaps, rows stepped, checkpoints, queues
///
/// The figures are at most a second or two old. Without a running engine, its last ones are shown; of one that waits for its
/// database or broker there are none yet.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &StatusArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let data_dir = settings.data_dir();
    let shown = data_dir.display();
    let is_running = settings.is_engine_running()?;
    let figures = read_figures(&data_dir)
        .map_err(|error| CliError::new(format!("the figures in {shown} cannot be read: {error}")))?;
    let figures = figures.ok_or_else(|| {
        CliError::new(format!(
            "no engine has run over {shown}; start `htmengine serve`, or name its folder with --data-dir"
        ))
    })?;
    let running: Vec<&str> = running_roles(&data_dir)?.into_iter().map(Role::name).collect();
    let mut out = io::stdout().lock();
    if args.json {
        let mut value = json!(figures);
        if let Value::Object(object) = &mut value {
            object.insert("is_running".to_owned(), is_running.into());
            object.insert("running_roles".to_owned(), running.into());
        }
        serde_json::to_writer_pretty(&mut out, &value)?;
        writeln!(out)?;
        return Ok(());
    }
    write_figures(&mut out, &figures, is_running)?;
    if !running.is_empty() {
        writeln!(out, "{:<26}{}", "roles running", running.join(", "))?;
    }
    Ok(())
}

/// The roles that run over the data folder, in one process or in several.
fn running_roles(data_dir: &Path) -> Result<Vec<Role>, CliError> {
    let mut running = Vec::new();
    for role in Role::ALL {
        let is_running = role
            .is_running(data_dir)
            .map_err(|error| CliError::new(format!("the lock of the {role} cannot be looked at: {error}")))?;
        if is_running {
            running.push(role);
        }
    }
    Ok(running)
}

fn write_figures(out: &mut dyn Write, figures: &EngineFigures, is_running: bool) -> io::Result<()> {
    let state = match (is_running, figures.is_stopped) {
        (true, _) if figures.is_starting => {
            format!("starting, process {}; it waits for its database or broker", figures.process_id)
        }
        (true, _) => format!("running, process {}", figures.process_id),
        (false, true) => "stopped in order".to_owned(),
        (false, false) => "ended without saving (killed); nothing is lost".to_owned(),
    };
    let models = &figures.models;
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let lines: [(&str, String); 20] = [
        ("engine", state),
        ("started (UTC)", time_text(figures.started_at)),
        ("figures of (UTC)", time_text(figures.taken_at)),
        ("models in memory", format!("{} of {} known", models.resident_models, models.known_models)),
        (
            "memory for models",
            format!("{} of {}", mib(models.resident_bytes), mib(models.memory_budget_bytes)),
        ),
        ("most memory reserved", mib(models.peak_reserved_bytes)),
        ("models in memory, limit", models.max_resident_models.to_string()),
        ("rows remembered", models.remembered_rows.to_string()),
        ("models swapped in", models.swaps_in.to_string()),
        ("models swapped out", models.swaps_out.to_string()),
        ("of these dropped unsaved", models.dropped.to_string()),
        ("rows stepped", models.stepped_rows.to_string()),
        ("rows stepped again", models.replayed_rows.to_string()),
        ("checkpoints", models.checkpoints.to_string()),
        ("checkpoints that failed", models.failed_checkpoints.to_string()),
        ("model files put aside", models.quarantined.to_string()),
        ("hungry models", format!("{} fresh, {} with a backlog", models.fresh_models, models.backlog_models)),
        ("models being saved", models.settling_models.to_string()),
        (
            "queues",
            format!(
                "data {}, hints {}, scores {}",
                figures.data_queue, figures.hints_queue, figures.scores_queue
            ),
        ),
        ("page faults", format!("{} minor, {} major", figures.minor_page_faults, figures.major_page_faults)),
    ];
    for (name, value) in lines {
        writeln!(out, "{name:<26}{value}")?;
    }
    if let Some(trouble) = &models.checkpoint_trouble {
        writeln!(out, "trouble: {trouble}")?;
    }
    Ok(())
}
