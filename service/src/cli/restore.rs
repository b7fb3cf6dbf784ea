//! `htmengine restore`: a data folder made of a backup.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::backup::report;
use crate::backends::RepositoryChoice;
use crate::backup;
use crate::backup::manifest::RowsKind;
use crate::config::{ConfigArgs, Settings};

/// Make an empty data folder what a backup holds
///
/// Everything in the backup is checked first; a damaged one is refused, with the name of the file. The engine must not be
/// running. Samples that came after the backup can be sent again: those it has are told apart by their time.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A folder that `htmengine backup` made
    #[arg(value_name = "BACKUP")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RestoreArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let rows_kind = match settings.repository_choice() {
        RepositoryChoice::Sqlite => RowsKind::Sqlite,
        RepositoryChoice::Mysql(_) => RowsKind::Mysql,
    };
    let data_dir = settings.data_dir();
    let manifest = backup::restore(&args.folder, &data_dir, &settings.models_dir(), rows_kind)?;
    report(args.json, &manifest, &format!("{} is restored", data_dir.display()))?;
    if rows_kind == RowsKind::Mysql && !args.json {
        writeln!(
            io::stdout().lock(),
            "only the models: restore the rows with `mysql` before the engine starts; models that stand beyond them are \
             put aside and built again"
        )?;
    }
    Ok(())
}
