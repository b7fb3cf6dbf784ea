//! `htmengine alert test`: tries a channel of the settings.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::CliError;
use crate::alerts::channel::ChannelKind;
use crate::alerts::send_test;
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigArgs, OpenBus, Settings};

/// Try the channels that alerts are told to
#[derive(Debug, Args)]
pub(super) struct AlertVerbArgs {
    #[command(subcommand)]
    verb: AlertVerb,
}

#[derive(Debug, Subcommand)]
enum AlertVerb {
    /// Send a test message to a channel; exit code 1 if it was not delivered
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// The channel, by its name in the settings
    #[arg(long, value_name = "NAME")]
    channel: String,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &AlertVerbArgs) -> Result<(), CliError> {
    let AlertVerb::Test(args) = &args.verb;
    let settings = Settings::load(&args.config)?;
    let alerts = settings.alerts();
    let Some(channel) = alerts.channel(&args.channel) else {
        let known: Vec<&str> = alerts.channels.iter().map(|channel| channel.name.as_str()).collect();
        let known = if known.is_empty() {
            "there are none; add [[alert.channel]] to the settings file, and name it with --config".to_owned()
        } else {
            known.join(", ")
        };
        return Err(CliError::new(format!(
            "there is no channel '{}'; expected one of: {known}",
            args.channel
        )));
    };
    let bus = match channel.kind {
        ChannelKind::Exchange => settings.connect_bus().map_err(|error| CliError::new(error.to_string()))?,
        ChannelKind::Webhook | ChannelKind::Alertmanager | ChannelKind::Slack => None,
    };
    let shared = bus.as_ref().map(OpenBus::shared);
    let verdict = send_test(&alerts, channel, shared.as_ref(), SystemClock::new().unix_seconds());
    let to = channel.shown_url().unwrap_or_else(|| "the broker".to_owned());
    let status = verdict.status.map_or_else(String::new, |status| format!(", status {status}"));
    match verdict.error {
        None => {
            let mut out = io::stdout().lock();
            Ok(writeln!(out, "delivered to channel {} at {to}{status}", channel.name)?)
        }
        Some(error) => {
            Err(CliError::new(format!("not delivered to channel {} at {to}: {error}", channel.name)))
        }
    }
}
