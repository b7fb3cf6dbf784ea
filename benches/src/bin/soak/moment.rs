//! What is seen of the engine every ten seconds, and the file it is kept in.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use htm_bench::meter::{process_cpu_s, stolen_cpu_s};
use htm_tests::http_client::get;
use htm_tests::program::Server;
use serde::{Deserialize, Serialize};

use crate::probe::Probes;

const FILE: &str = "soak.csv";
const BYTES_PER_MIB: f64 = 1_048_576.0;

/// One line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Since samples began to come.
    pub(crate) elapsed_s: f64,
    /// All the memory of the process, what it maps of files included.
    pub(crate) resident_mib: f64,
    /// What of it is the process's own.
    pub(crate) anonymous_mib: f64,
    /// What the engine says its models take.
    pub(crate) models_mib: f64,
    pub(crate) models_resident: f64,
    /// Processors kept busy since the moment before.
    pub(crate) cores: f64,
    /// Processors that this virtual machine wanted meanwhile and its host gave to others.
    pub(crate) stolen_cores: f64,
    pub(crate) rows: f64,
    pub(crate) unscored: f64,
    /// Messages that wait in any queue.
    pub(crate) queued: f64,
    pub(crate) swaps_in: f64,
    pub(crate) checkpoints: f64,
    /// Probes that came back since the moment before, and what they took.
    pub(crate) probes: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Probes that have not come back.
    pub(crate) under_way: usize,
}

impl Moment {
    /// Whether the engine had so many rows, and scores of all of them.
    pub(crate) fn has_scored(&self, rows: usize) -> bool {
        is_at_least(self.rows, rows) && self.unscored < 1.0
    }
}

/// The moments of an earlier run.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Moment>> {
    let mut reader = csv::Reader::from_path(folder.join(FILE))?;
    reader.deserialize().collect::<Result<_, csv::Error>>().map_err(io::Error::other)
}

/// Clocks at one moment.
struct Reading {
    at: Instant,
    cpu_s: f64,
    stolen_s: f64,
}

impl Reading {
    fn now(process_id: u32) -> io::Result<Self> {
        Ok(Self { at: Instant::now(), cpu_s: process_cpu_s(process_id)?, stolen_s: stolen_cpu_s()? })
    }
}

/// Looks at an engine, over all its lives.
pub(crate) struct Watch {
    probes: Arc<Probes>,
    file: csv::Writer<File>,
    started: Instant,
    before: Reading,
}

impl Watch {
    /// Time begins now.
    pub(crate) fn new(folder: &Path, server: &Server, probes: Arc<Probes>) -> io::Result<Self> {
        let before = Reading::now(server.process_id())?;
        Ok(Self { probes, file: csv::Writer::from_path(folder.join(FILE))?, started: before.at, before })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The engine lives anew.
    pub(crate) fn start_anew(&mut self, server: &Server) -> io::Result<()> {
        self.before = Reading::now(server.process_id())?;
        Ok(())
    }

    /// What is there now.
    pub(crate) fn look(&mut self, server: &Server) -> io::Result<Moment> {
        let text = figures(server);
        let now = Reading::now(server.process_id())?;
        let elapsed_s = (now.at - self.started).as_secs_f64();
        let since_s = (now.at - self.before.at).as_secs_f64();
        let cores = (now.cpu_s - self.before.cpu_s) / since_s;
        let stolen_cores = (now.stolen_s - self.before.stolen_s) / since_s;
        self.before = now;
        let (latency, under_way) = self.probes.take();
        let moment = Moment {
            elapsed_s,
            resident_mib: mib(server, "VmRSS")?,
            anonymous_mib: mib(server, "RssAnon")?,
            models_mib: figure(&text, "htmengine_resident_bytes") / BYTES_PER_MIB,
            models_resident: figure(&text, "htmengine_models_resident"),
            cores,
            stolen_cores,
            rows: figure(&text, "htmengine_rows"),
            unscored: figure(&text, "htmengine_rows_unscored"),
            queued: figure(&text, "htmengine_queue_depth"),
            swaps_in: figure(&text, "htmengine_swaps_in_total"),
            checkpoints: figure(&text, "htmengine_checkpoints_total"),
            probes: latency.count,
            p50_ms: latency.p50_us / 1e3,
            p99_ms: latency.p99_us / 1e3,
            max_ms: latency.max_us / 1e3,
            under_way,
        };
        self.file.serialize(&moment)?;
        self.file.flush()?;
        Ok(moment)
    }
}

/// Whether the engine has stored so many rows.
pub(crate) fn is_stored(server: &Server, rows: usize) -> bool {
    has_rows(&figures(server), rows)
}

/// Whether the engine has so many rows, and scores of all of them.
pub(crate) fn is_scored(server: &Server, rows: usize) -> bool {
    let text = figures(server);
    has_rows(&text, rows) && figure(&text, "htmengine_rows_unscored") < 1.0
}

fn has_rows(text: &str, rows: usize) -> bool {
    is_at_least(figure(text, "htmengine_rows"), rows)
}

fn is_at_least(figure: f64, rows: usize) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let expected = rows as f64;
    figure >= expected
}

fn figures(server: &Server) -> String {
    get(server.announced("HTTP API: http://"), "/metrics").body
}

fn mib(server: &Server, key: &str) -> io::Result<f64> {
    let kib = u32::try_from(server.memory_bytes(key) >> 10).map_err(io::Error::other)?;
    Ok(f64::from(kib) / 1024.0)
}

/// The sum over all series with this name.
fn figure(text: &str, name: &str) -> f64 {
    let of_line = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    text.lines().filter_map(of_line).sum()
}
