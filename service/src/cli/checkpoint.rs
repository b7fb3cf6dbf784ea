//! `htmengine checkpoint`: has the running engine save every model now.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use clap::Args;
use htm_core::ids::ModelId;
use serde_json::json;

use super::CliError;
use crate::config::{ConfigArgs, Settings};
use crate::control::{request_checkpoint, take_checkpoint_answer};
use crate::monitoring::{RandomBytes, SystemRandom};
use crate::scheduler::checkpoint_desk::CheckpointAnswer;

/// How often the answer is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Have the running engine save every model with unsaved rows now, and wait for it
///
/// Before `htmengine backup` this makes the model files as new as the database, so that nothing has to be stepped again
/// after a restore; scores do not depend on it. Models are stepped on meanwhile.
#[derive(Debug, Args)]
pub(super) struct CheckpointArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &CheckpointArgs) -> Result<(), CliError> {
    let answer = ask(&Settings::load(&args.config)?)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!(answer))?;
    } else if answer.failed == 0 {
        writeln!(out, "{} models were saved", answer.saved)?;
    }
    if answer.failed > 0 {
        let reason = answer.reason.unwrap_or_default();
        let CheckpointAnswer { saved, failed, .. } = answer;
        return Err(CliError::new(format!("{saved} models were saved, {failed} could not be: {reason}")));
    }
    Ok(())
}

fn ask(settings: &Settings) -> Result<CheckpointAnswer, CliError> {
    let data_dir = settings.data_dir();
    let shown = data_dir.display();
    if !settings.is_engine_running()? {
        return Err(CliError::new(format!(
            "no engine runs over {shown}, so there is nothing to save: one that stops saves its models; start it with \
             `htmengine serve`, or name its folder with --data-dir"
        )));
    }
    let folder_error = |error: io::Error| {
        CliError::new(format!(
            "the requests folder in {shown} cannot be used: {error}; run this as the engine's user"
        ))
    };
    let random = SystemRandom::open().map_err(folder_error)?;
    let token = ModelId::from_random_bytes(random.random_bytes()).to_string();
    request_checkpoint(&data_dir, &token).map_err(folder_error)?;
    loop {
        let is_running = settings.is_engine_running()?;
        if let Some(answer) = take_checkpoint_answer(&data_dir, &token).map_err(folder_error)? {
            return Ok(answer);
        }
        if !is_running {
            return Err(CliError::new(format!(
                "the engine over {shown} ended before it answered; if it was stopped in order its models are saved"
            )));
        }
        thread::sleep(LOOK_INTERVAL);
    }
}
