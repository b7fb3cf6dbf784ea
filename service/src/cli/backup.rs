//! `htmengine backup`: a consistent copy of rows and models, the engine running or not.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::CliError;
use super::log::{LogFormat, start_log};
use super::output::time_text;
use crate::backends::RepositoryChoice;
use crate::backup::manifest::{Manifest, RowsKind};
use crate::backup::{self, Source};
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigArgs, Settings};
use crate::repository::sqlite::OpenMode;

/// Copy rows and models of an engine, running or not, into a new folder
///
/// The copy is of one moment. What the engine stores meanwhile is not in it; what a model file in it has not learned yet is
/// learned from the rows after `htmengine restore`, so scores go on exactly. The folder is called NAME.unfinished until it
/// is complete and on the disk. Where rows lie in MySQL only the models are copied: take the rows afterwards with
/// `mysqldump --single-transaction`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The new folder, or with --verify a backup
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only check a backup: its manifest, every checksum, and the structure of its database
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &BackupArgs) -> Result<(), CliError> {
    let _ = start_log(LogFormat::Text, "warn", None);
    let shown = args.folder.display();
    if args.verify {
        let manifest = backup::verify(&args.folder)?;
        return report(args.json, &manifest, &format!("{shown} is right"));
    }
    let settings = Settings::load(&args.config)?;
    let choice = settings.repository_choice();
    let repository = match choice {
        RepositoryChoice::Sqlite => None,
        RepositoryChoice::Mysql(_) => Some(settings.open_repository(OpenMode::ReadOnly)?),
    };
    let source = Source {
        data_dir: &settings.data_dir(),
        models_dir: &settings.models_dir(),
        elsewhere: repository.as_deref(),
    };
    let manifest = backup::take(&source, &args.folder, SystemClock::new().unix_seconds())?;
    report(args.json, &manifest, &format!("{shown} is complete"))?;
    if let (RepositoryChoice::Mysql(mysql), false) = (choice, args.json) {
        let name = mysql.database;
        writeln!(
            io::stdout().lock(),
            "its rows lie in the MySQL database {name}: take them now, after the models, so that no model stands beyond \
             them: mysqldump --single-transaction {name}"
        )?;
    }
    Ok(())
}

/// What there is in a backup.
pub(super) fn report(is_json: bool, manifest: &Manifest, what: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if is_json {
        serde_json::to_writer_pretty(&mut out, &to_json(manifest))?;
        writeln!(out)?;
        return Ok(());
    }
    let (models, bytes, time) = (manifest.model_files(), manifest.bytes(), time_text(manifest.taken_at));
    let rows = match manifest.rows_kind {
        RowsKind::Sqlite => {
            format!(
                "{} rows of {} metrics, {} of them scored, ",
                manifest.stored_rows, manifest.metrics, manifest.scored_rows
            )
        }
        RowsKind::Mysql => String::new(),
    };
    writeln!(out, "{what}: {rows}{models} model files, {bytes} bytes, of {time} UTC")?;
    Ok(())
}

fn to_json(manifest: &Manifest) -> Value {
    json!({
        "format_version": manifest.format_version,
        "engine_version": manifest.engine_version,
        "taken_at": manifest.taken_at,
        "rows_kind": manifest.rows_kind,
        "metrics": manifest.metrics,
        "stored_rows": manifest.stored_rows,
        "scored_rows": manifest.scored_rows,
        "model_files": manifest.model_files(),
        "bytes": manifest.bytes(),
    })
}
