//! `htmengine rebuild NAME`: makes a model's file anew from the metric's rows, and compares every score on the way.
//!
//! Nothing is asked of a running engine but to look at the file again: a model file is a cache of a fold over the rows,
//! so whoever folds them gets the same file. The engine may save the same model at the same time; both files are
//! whole and right.

use std::io::{self, Write};
use std::sync::Arc;

use clap::Args;
use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::workspace::Workspace;
use serde_json::json;

use super::output::progress_bar;
use super::{CliError, OneMetric, find_metric};
use crate::config::Settings;
use crate::model_params::ModelStart;
use crate::repository::Repository;
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::MetricRow;
use crate::repository::sqlite::OpenMode;

/// Rows read at once.
const ROWS_PER_READ: usize = 10_000;

/// Build a metric's model again from its rows and compare all scores; the engine may be running
///
/// The old model file is kept beside the new one as `ID.model.unusable`. Every stored score is computed again and must
/// be equal; the end says how many rows that were. Rows from before the metric outgrew its learned range were scored by an
/// earlier model; they are stepped and not compared.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    #[command(flatten)]
    metric: OneMetric,
}

/// What came of comparing.
#[derive(Debug, Default)]
struct Comparison {
    /// The last row that this model did not score.
    after: RowId,
    /// Rows compared.
    rows: u64,
    unequal: u64,
    first_unequal: Option<String>,
}

pub(super) fn run(args: &RebuildArgs) -> Result<(), CliError> {
    let args = &args.metric;
    let settings = Settings::load(&args.config)?;
    let repository = settings.open_repository(OpenMode::ReadWrite)?;
    let metric = find_metric(&*repository, &args.name)?;
    let start = start_of(&metric)?;
    check_first_row(&*repository, &metric)?;
    let params = Arc::new(start.params()?);
    let store = settings.model_store();
    let mut model = store.new_model(&params).model;
    let mut comparison =
        Comparison { after: start.continues_after.unwrap_or(RowId(0)), ..Comparison::default() };
    step_scored_rows(&*repository, &metric, &mut model, &mut comparison)?;
    let name = &metric.name;
    if start_of(&find_metric(&*repository, name)?)?.generation != start.generation {
        return Err(CliError::new(format!("{name} was monitored anew meanwhile; nothing was changed")));
    }
    store.put_aside(&metric.uid, "`htmengine rebuild` was asked for");
    store.save(&metric.uid, &start.generation, &model)?;
    repository.transact(&mut |tx| tx.announce(&metric.uid))?;
    let mut out = io::stdout().lock();
    if args.json {
        let report = json!({
            "uid": metric.uid.as_str(),
            "rows": comparison.rows,
            "unequal_rows": comparison.unequal,
        });
        writeln!(out, "{report}")?;
    } else if comparison.unequal == 0 {
        let rows = comparison.rows;
        writeln!(out, "{name} is rebuilt: every score of {rows} rows equals the stored one")?;
    }
    match comparison.first_unequal {
        None => Ok(()),
        Some(first) => Err(CliError::new(format!(
            "{name} is rebuilt, but {} of {} scores differ from the stored ones, the first at {first}; rows or scores \
             were changed by hand, or this is a defect: please report it",
            comparison.unequal, comparison.rows
        ))),
    }
}

/// A model whose early rows were deleted for their age can only go on from its file: the rows that are left make another
/// one, and the good one must not be put aside for it.
fn check_first_row(repository: &dyn Repository, metric: &Metric) -> Result<(), CliError> {
    let first = repository.rows_after(&metric.uid, RowId(0), 1)?.pop();
    match first.map(|row| row.row_id).filter(|row_id| *row_id > RowId(1)) {
        None => Ok(()),
        Some(first) => Err(CliError::new(format!(
            "{} cannot be rebuilt: its rows before row {first} were deleted for their age, and without them every score \
             would differ; nothing was changed",
            metric.name
        ))),
    }
}

fn start_of(metric: &Metric) -> Result<ModelStart, CliError> {
    let (MetricStatus::Active, Some(text)) = (metric.status, &metric.model_params) else {
        return Err(CliError::new(format!(
            "{} has no model to rebuild, its status is {}; `htmengine monitor` starts one",
            metric.name,
            metric.status.label()
        )));
    };
    Ok(ModelStart::from_json(text)?)
}

/// Steps every row that has scores, so that the file never stands beyond them.
fn step_scored_rows(
    repository: &dyn Repository,
    metric: &Metric,
    model: &mut Model,
    comparison: &mut Comparison,
) -> Result<(), CliError> {
    let last = repository.scored_up_to(&metric.uid)?;
    let progress = progress_bar(u64::try_from(last.0).unwrap_or(0), "rows");
    let mut workspace = Workspace::new();
    while model.last_stepped_row_id() < last {
        let rows = repository.rows_after(&metric.uid, model.last_stepped_row_id(), ROWS_PER_READ)?;
        if rows.is_empty() {
            break;
        }
        for row in rows.iter().take_while(|row| row.row_id <= last) {
            step(model, &mut workspace, row, comparison)?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(())
}

fn step(
    model: &mut Model,
    workspace: &mut Workspace,
    row: &MetricRow,
    comparison: &mut Comparison,
) -> Result<(), CliError> {
    let record = Record { timestamp: row.timestamp, value: row.value };
    let RowId(number) = row.row_id;
    let scores = model
        .step(workspace, row.row_id, record)
        .map_err(|error| CliError::new(format!("row {number}: {error}; nothing was changed")))?;
    if row.row_id <= comparison.after {
        return Ok(());
    }
    let computed = [f64::from(scores.raw_anomaly_score), scores.anomaly_score];
    let stored = [row.raw_anomaly_score, row.anomaly_score];
    comparison.rows += 1;
    if computed.map(|score| Some(score.to_bits())) != stored.map(|score| score.map(f64::to_bits)) {
        comparison.unequal += 1;
        comparison.first_unequal.get_or_insert_with(|| {
            format!("row {number}: stored {stored:?}, computed {computed:?} (raw score, anomaly score)")
        });
    }
    Ok(())
}
