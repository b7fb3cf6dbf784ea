//! One measured run of one case.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use htm_bench::meter::process_cpu_s;
use htm_bench::series::{NYC_TAXI, Series};
use htmengine::backends::{connect_bus, open_repository, start_runtime};
use htmengine::bus::message::ResultMessage;
use htmengine::bus::{BusError, Subscription};
use htmengine::engine::{Engine, EngineOptions};
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, SystemRandom};
use htmengine::repository::Repository;
use htmengine::repository::sqlite::OpenMode;

use crate::instances::{Instances, Place};
use crate::options::{Case, Options, RolesKind};
use crate::processes::RoleProcesses;

const RECEIVE_WAIT: Duration = Duration::from_millis(100);
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// What is sent.
pub(crate) struct Load {
    names: Vec<String>,
    rows: usize,
    lines: String,
}

/// What one run took.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) wall_s: f64,
    /// CPU seconds by process.
    pub(crate) cpu_s: Vec<(&'static str, f64)>,
}

impl Load {
    /// Rows of all metrics by turns.
    pub(crate) fn new(models: usize, rows: usize) -> Self {
        let series = Series::read(NYC_TAXI);
        let rows = rows.min(series.records.len());
        let names: Vec<String> = (0..models).map(|number| format!("taxi.{number}")).collect();
        let mut lines = String::new();
        for record in &series.records[..rows] {
            for name in &names {
                let (value, timestamp) = (record.value.to_string(), record.timestamp.to_string());
                lines.extend([name, " ", &value, " ", &timestamp, "\n"]);
            }
        }
        Self { names, rows, lines }
    }

    /// Metrics.
    pub(crate) fn models(&self) -> usize {
        self.names.len()
    }

    /// Rows of all metrics together.
    pub(crate) fn total(&self) -> usize {
        self.rows * self.names.len()
    }
}

/// Measures one run, in an empty folder, database and virtual host.
pub(crate) fn measure(
    case: Case,
    options: &Options,
    instances: &Instances,
    load: &Load,
) -> io::Result<Measured> {
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let place = instances.place(case);
    let servers = instances.processes(case);
    match case.roles {
        RolesKind::Together => together(&place, &data_dir, servers, load),
        RolesKind::Separate => separate(&place, options, folder.path(), &data_dir, servers, load),
    }
}

fn together(
    place: &Place,
    data_dir: &Path,
    servers: Vec<(&'static str, u32)>,
    load: &Load,
) -> io::Result<Measured> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut engine_options = EngineOptions::new(data_dir.to_owned(), any_port);
    engine_options.repository = place.repository.clone();
    engine_options.bus = place.bus.clone();
    let engine = Engine::start(engine_options).map_err(io::Error::other)?;
    monitor(&**engine.repository(), load)?;
    let mut results = engine.bus().results().subscribe();
    let own = [("engine (with the client)", std::process::id())];
    let processes: Vec<_> = own.into_iter().chain(servers).collect();
    let measured = send_and_wait(engine.graphite_address(), &mut *results, &processes, load)?;
    check(&**engine.repository(), load)?;
    drop(results);
    engine.stop().map_err(io::Error::other)?;
    Ok(measured)
}

fn separate(
    place: &Place,
    options: &Options,
    folder: &Path,
    data_dir: &Path,
    servers: Vec<(&'static str, u32)>,
    load: &Load,
) -> io::Result<Measured> {
    let runtime = start_runtime()?;
    let mode = OpenMode::ReadWriteCreate;
    let repository: Arc<dyn Repository> =
        open_repository(&place.repository, data_dir, mode, runtime.handle()).map_err(io::Error::other)?;
    monitor(&*repository, load)?;
    let bus = connect_bus(&place.bus, runtime.handle()).map_err(io::Error::other)?;
    let mut results = bus.results().subscribe();
    let roles = RoleProcesses::start(&options.program(), folder, &place.flags(data_dir))?;
    let processes: Vec<_> = roles.ids().into_iter().chain(servers).collect();
    let measured = send_and_wait(roles.listener(), &mut *results, &processes, load)?;
    check(&*repository, load)?;
    drop(roles);
    drop(results);
    bus.close();
    Ok(measured)
}

fn monitor(repository: &dyn Repository, load: &Load) -> io::Result<()> {
    let random = SystemRandom::open()?;
    let range = ModelSpec::range_of(Some(-7829.8), Some(47034.8)).map_err(io::Error::other)?;
    monitoring::in_transaction::<_, monitoring::MonitorError>(repository, |tx| {
        for name in &load.names {
            let spec = ModelSpec { range, ..ModelSpec::for_metric(name) };
            let metric = monitoring::create_metric(tx, name, &random)?;
            monitoring::monitor(tx, &metric, &spec, &random)?;
        }
        Ok(())
    })
    .map_err(io::Error::other)
}

/// Sends everything and waits until every row was among the results.
fn send_and_wait(
    address: SocketAddr,
    results: &mut dyn Subscription<ResultMessage>,
    processes: &[(&'static str, u32)],
    load: &Load,
) -> io::Result<Measured> {
    let readings =
        || -> io::Result<Vec<f64>> { processes.iter().map(|(_, id)| process_cpu_s(*id)).collect() };
    let before = readings()?;
    let started = Instant::now();
    let (mut finished, mut last_progress) = (0, started);
    thread::scope(|scope| {
        let sender = scope.spawn(|| TcpStream::connect(address)?.write_all(load.lines.as_bytes()));
        while finished < load.total() {
            let received = match results.receive(RECEIVE_WAIT) {
                Ok(message) => message.map_or(0, |message| message.row_count()),
                Err(BusError::Transient { .. }) => 0,
                Err(error) => return Err(io::Error::other(error)),
            };
            finished += received;
            if received > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > STALL_LIMIT {
                let total = load.total();
                return Err(io::Error::other(format!("stalled at {finished} of {total} rows")));
            }
        }
        sender.join().map_err(|_| io::Error::other("the sender failed"))?
    })?;
    let wall_s = started.elapsed().as_secs_f64();
    let used = readings()?.into_iter().zip(before).map(|(after, before)| after - before);
    Ok(Measured { wall_s, cpu_s: processes.iter().map(|(name, _)| *name).zip(used).collect() })
}

/// Every row of every metric is stored and scored.
fn check(repository: &dyn Repository, load: &Load) -> io::Result<()> {
    for name in &load.names {
        let metric = repository.metric_by_name(name).map_err(io::Error::other)?;
        let scored = metric.map(|metric| repository.scored_up_to(&metric.uid)).transpose();
        let scored = scored.map_err(io::Error::other)?.map_or(0, |row| row.0);
        if usize::try_from(scored) != Ok(load.rows) {
            return Err(io::Error::other(format!("{name} has {scored} of {} rows scored", load.rows)));
        }
    }
    Ok(())
}
