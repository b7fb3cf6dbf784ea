//! `htmengine key`: draws keys of the HTTP interface. Nothing is kept: the key is printed once, its hash goes to the settings.

use std::io::{self, Write};

use clap::{Args, Subcommand, ValueEnum};

use super::CliError;
use crate::api_key::{self, KeyRole, NewKey};
use crate::monitoring::SystemRandom;

/// Make keys for the HTTP interface
#[derive(Debug, Args)]
pub(super) struct KeyVerbArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Print a new key, and what to add to the settings file for it
    ///
    /// The settings file gets a hash only: keep the key where it is used, it is shown nowhere again. It holds once the
    /// engine was started with the new settings, until they lack it.
    New(NewArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// What its holder may do: look at everything; send samples and make metrics and models too; everything
    #[arg(long, value_enum)]
    role: RoleArg,
    /// What the log calls it: letters, digits, '.', '_', '-'
    #[arg(long)]
    name: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Read,
    Write,
    Admin,
}

pub(super) fn run(args: &KeyVerbArgs) -> Result<(), CliError> {
    let KeyVerb::New(NewArgs { role, name }) = &args.verb;
    let role = match role {
        RoleArg::Read => KeyRole::Read,
        RoleArg::Write => KeyRole::Write,
        RoleArg::Admin => KeyRole::Admin,
    };
    api_key::check_name(name).map_err(|expected| CliError::new(format!("--name {name}: {expected}")))?;
    let random = SystemRandom::open().map_err(|error| {
        CliError::new(format!("/dev/urandom cannot be opened, so no key is drawn: {error}"))
    })?;
    let NewKey { key, hash } = NewKey::draw(&random);
    let mut out = io::stdout().lock();
    writeln!(out, "# The key, shown only now:")?;
    writeln!(out, "#   {key}")?;
    writeln!(out, "# For the settings file:")?;
    writeln!(out, "[[api_key]]")?;
    writeln!(out, "name = \"{name}\"")?;
    writeln!(out, "role = \"{}\"", role.name())?;
    writeln!(out, "hash = \"{hash}\"")?;
    out.flush()?;
    Ok(())
}
