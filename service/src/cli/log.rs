//! What the services log, to standard error.
//!
//! The layout `original` is that of the original's services, for whoever searches their logs:
//! `2017-08-11 12:34:56,789 - htmengine.storer(4711) - INFO - <VER=1.0, SERVICE=SCHED>  {TAG:...} text key=value`, in
//! UTC. It is the default while the original's configuration folder is in use; else lines are those of `tracing`.
//!
//! Names come from outside and may hold anything. Whatever the layout, one event is one line: control characters, and those
//! that change the order of a line's text, are written as escapes (`\\n`, `\\u{1b}`).

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;

use super::CliError;
use crate::clock::SystemClock;
use crate::config::Settings;

/// Environment variable with the log filter, for example `debug` or `htmengine::storer=debug`.
const LOG_VARIABLE: &str = "HTMENGINE_LOG";

/// The broker's client, which at its most verbose shows whole frames, passwords in them.
const FRAME_LOGGER: &str = "lapin";

/// How a service logs.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Log as JSON
    #[arg(long, conflicts_with = "log_format")]
    log_json: bool,
    /// Layout of the log [default: original while the original's configuration is used, else text]
    #[arg(long, value_name = "LAYOUT")]
    log_format: Option<LogFormat>,
}

/// Layout of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
    /// The lines of the original's services
    Original,
}

impl LogArgs {
    /// Starts the log of the service that the original called `service`, if it had a name for it.
    pub(super) fn start(&self, settings: &Settings, service: Option<&'static str>) -> LogControl {
        let format = match (self.log_format, self.log_json) {
            (_, true) => LogFormat::Json,
            (Some(format), false) => format,
            (None, false) if settings.original_folder().is_some() => LogFormat::Original,
            (None, false) => LogFormat::Text,
        };
        let control = start_log(format, &settings.log_filter(), service);
        settings.log_warnings();
        control
    }
}

/// Changes what is logged.
pub(super) struct LogControl {
    set: Box<dyn Fn(EnvFilter) -> Result<(), String>>,
}

impl LogControl {
    fn new<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        Self { set: Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())) }
    }

    /// From now on what passes `filter` is logged.
    pub(super) fn set(&self, filter: &str) -> Result<(), CliError> {
        if std::env::var_os(LOG_VARIABLE).is_some() {
            return Err(CliError::new(format!("{LOG_VARIABLE} in the environment says what is logged")));
        }
        (self.set)(EnvFilter::new(filter)).map_err(CliError::new)
    }
}

/// Logs to standard error what passes `filter`, unless the environment has another one.
pub(super) fn start_log(format: LogFormat, filter: &str, service: Option<&'static str>) -> LogControl {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(filter));
    let is_told =
        filter_fn(|event| !(*event.level() == Level::TRACE && event.target().starts_with(FRAME_LOGGER)));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(escaped_standard_error);
    // A second subscriber in one process is only possible in tests.
    match format {
        LogFormat::Text => {
            let log = log.with_filter_reloading();
            let control = LogControl::new(log.reload_handle());
            let _ = log.finish().with(is_told).try_init();
            control
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let control = LogControl::new(log.reload_handle());
            let _ = log.finish().with(is_told).try_init();
            control
        }
        LogFormat::Original => {
            let original = OriginalLines { service, clock: SystemClock::new() };
            let log = log.event_format(original).with_filter_reloading();
            let control = LogControl::new(log.reload_handle());
            let _ = log.finish().with(is_told).try_init();
            control
        }
    }
}

fn escaped_standard_error() -> EscapedLines<io::Stderr> {
    EscapedLines { out: io::stderr() }
}

/// Takes one event at a time and writes it as one line. A line that cannot be written, because the disk of the log is full
/// or its reader gone, is passed over: the subscriber would complain of it on the same standard error, and that panics.
struct EscapedLines<W> {
    out: W,
}

impl<W: Write> Write for EscapedLines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let body = event.strip_suffix(b"\n").unwrap_or(event);
        let _ = if body.iter().all(|byte| (b' '..0x7f).contains(byte)) {
            self.out.write_all(event)
        } else {
            let mut line = escaped(&String::from_utf8_lossy(body));
            if body.len() < event.len() {
                line.push('\n');
            }
            self.out.write_all(line.as_bytes())
        };
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `text` without anything that ends or changes a line.
fn escaped(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

struct OriginalLines {
    service: Option<&'static str>,
    clock: SystemClock,
}

impl OriginalLines {
    fn line(&self, level: Level, logger: &str, fields: &Fields) -> String {
        let milliseconds = self.clock.unix_milliseconds();
        let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.strftime("%Y-%m-%d %H:%M:%S");
        let logger = logger.replace("::", ".");
        let level = match level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            _ => "DEBUG",
        };
        let version = env!("CARGO_PKG_VERSION");
        let prefix = match self.service {
            Some(service) => format!("<VER={version}, SERVICE={service}>"),
            None => format!("VER={version}"),
        };
        let (fraction, pid) = (milliseconds.rem_euclid(1000), std::process::id());
        format!("{time},{fraction:03} - {logger}({pid}) - {level} - {prefix}  {}", fields.text())
    }
}

impl<S, N> FormatEvent<S, N> for OriginalLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        writeln!(writer, "{}", self.line(*metadata.level(), metadata.target(), &fields))
    }
}

/// The parts of an event.
#[derive(Debug, Default)]
struct Fields {
    tag: Option<String>,
    message: String,
    others: String,
}

impl Fields {
    fn text(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!("{{TAG:{tag}}} ")).unwrap_or_default();
        let Self { message, others, .. } = self;
        format!("{tag}{message}{others}")
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "tag" {
            self.tag = Some(value.to_owned());
        } else {
            self.record_debug(field, &format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string never fails.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let mut lines = EscapedLines { out: Vec::new() };
        lines.write_all(b"a plain line\n").expect("written");
        lines
            .write_all("forged\nline \u{1b}[31m \u{85} \u{202e} \t caf\u{e9} \\\n".as_bytes())
            .expect("written");
        lines.write_all(b"no text \xff\n").expect("written");
        let text = String::from_utf8(lines.out).expect("text");
        let expected =
            "a plain line\nforged\\nline \\u{1b}[31m \\u{85} \\u{202e} \\t caf\u{e9} \\\nno text \u{fffd}\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_line_has_the_layout_of_the_original() {
        let lines = OriginalLines { service: Some("SCHED"), clock: SystemClock::new() };
        let fields = Fields {
            tag: Some("SWAP.SCHED.START".to_owned()),
            message: "scheduler started".to_owned(),
            others: " models=3".to_owned(),
        };
        let line = lines.line(Level::WARN, "htmengine::scheduler", &fields);
        let (time, rest) = line.split_once(" - ").expect("a time");
        let digits = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
        assert_eq!(digits.collect::<String>(), "0000-00-00 00:00:00,000");
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
        let expected = format!(
            "htmengine.scheduler({pid}) - WARNING - <VER={version}, SERVICE=SCHED>  {{TAG:SWAP.SCHED.START}} scheduler \
             started models=3"
        );
        assert_eq!(rest, expected);
    }
}
