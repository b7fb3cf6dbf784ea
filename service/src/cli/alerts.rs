//! `htmengine alerts`: episodes of alert rules, and who was told.

use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

use super::CliError;
use super::open_operations::OpenOperations;
use super::output::{time_text, write_table};
use crate::config::{ConfigArgs, Settings};
use crate::operations::alerts::{DEFAULT_LISTED, ListedEpisode};
use crate::repository::alert::{AlertDelivery, EpisodeQuery};
use crate::repository::sqlite::OpenMode;

/// List episodes of alert rules, the latest first, and who was told
///
/// Times are those of samples, in UTC. A delivery is `waiting`, `delivered`, `given_up` or `dropped`; an episode that opened
/// in quiet hours or maintenance says so.
#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// Only of this metric, by name or id
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Only of this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only open ones
    #[arg(long)]
    open: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LISTED)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &AlertsArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadOnly)?;
    let uid = args.metric.as_ref().map(|name| operations.metric(name)).transpose()?;
    let query = EpisodeQuery {
        is_open: args.open,
        uid: uid.map(|metric| metric.uid),
        rule: args.rule.clone(),
        limit: Some(args.limit),
        ..EpisodeQuery::default()
    };
    let episodes = operations.alert_episodes(&query)?;
    let mut out = io::stdout().lock();
    if args.json {
        let all: Vec<Value> = episodes.iter().map(ListedEpisode::json).collect();
        serde_json::to_writer(&mut out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    let cells: Vec<Vec<String>> = episodes.iter().map(cells).collect();
    Ok(write_table(&mut out, &["RULE", "METRIC", "FROM (UTC)", "UNTIL (UTC)", "PEAK", "TOLD"], &cells)?)
}

fn cells(listed: &ListedEpisode) -> Vec<String> {
    let it = &listed.episode;
    let told = |delivery: &AlertDelivery| {
        let error = delivery.last_error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
        format!("{} {} {}{error}", delivery.channel, delivery.kind.as_str(), delivery.state.as_str())
    };
    let mut told: Vec<String> = listed.deliveries.iter().map(told).collect();
    told.extend(it.suppressed.map(|reason| format!("[{}]", reason.as_str())));
    vec![
        it.rule.clone(),
        it.metric.clone(),
        time_text(it.from),
        it.until.map_or_else(|| "open".to_owned(), time_text),
        it.peak_score.map_or_else(|| "-".to_owned(), |score| format!("{score:.5}")),
        if told.is_empty() { "-".to_owned() } else { told.join(", ") },
    ]
}
