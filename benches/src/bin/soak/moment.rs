//! What is seen of the engine every ten seconds, and the file it is kept in.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use htm_bench::meter::process_cpu_s;
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

/// The moments of an earlier run.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Moment>> {
    let mut reader = csv::Reader::from_path(folder.join(FILE))?;
    reader.deserialize().collect::<Result<_, csv::Error>>().map_err(io::Error::other)
}

/// Looks at an engine.
pub(crate) struct Watch<'a> {
    server: &'a Server,
    http: SocketAddr,
    probes: Arc<Probes>,
    file: csv::Writer<File>,
    started: Instant,
    /// When it last looked, and the processor seconds at that time.
    before: (Instant, f64),
}

impl<'a> Watch<'a> {
    /// Time begins now.
    pub(crate) fn new(folder: &Path, server: &'a Server, probes: Arc<Probes>) -> io::Result<Self> {
        let started = Instant::now();
        Ok(Self {
            server,
            http: server.announced("HTTP API: http://"),
            probes,
            file: csv::Writer::from_path(folder.join(FILE))?,
            started,
            before: (started, process_cpu_s(server.process_id())?),
        })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is there now.
    pub(crate) fn look(&mut self) -> io::Result<Moment> {
        let text = get(self.http, "/metrics").body;
        let (now, cpu_s) = (Instant::now(), process_cpu_s(self.server.process_id())?);
        let (before, cpu_before_s) = std::mem::replace(&mut self.before, (now, cpu_s));
        let (latency, under_way) = self.probes.take();
        let moment = Moment {
            elapsed_s: (now - self.started).as_secs_f64(),
            resident_mib: self.mib("VmRSS")?,
            anonymous_mib: self.mib("RssAnon")?,
            models_mib: figure(&text, "htmengine_resident_bytes") / BYTES_PER_MIB,
            models_resident: figure(&text, "htmengine_models_resident"),
            cores: (cpu_s - cpu_before_s) / (now - before).as_secs_f64(),
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

    fn mib(&self, key: &str) -> io::Result<f64> {
        let kib = u32::try_from(self.server.memory_bytes(key) >> 10).map_err(io::Error::other)?;
        Ok(f64::from(kib) / 1024.0)
    }
}

/// The sum over all series with this name.
fn figure(text: &str, name: &str) -> f64 {
    let of_line = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    };
    text.lines().filter_map(of_line).sum()
}
