//! How fast lines become rows on one core, in its two halves.
//!
//! `parse_and_route`: bytes through the listener's framer and batcher and the bus in memory to the storer's reader, which
//! leaves samples grouped by metric. The baseline only finds the line ends of the same bytes.
//!
//! `store`: the storer's whole turn over SQLite, from messages to committed rows. The baseline inserts as many rows of the
//! same form, already parsed, with one prepared statement in one transaction, without looking for metrics and late samples.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use htmengine::bus::Bus;
use htmengine::bus::memory::{MemoryBus, MemoryBusLimits};
use htmengine::clock::SystemClock;
use htmengine::listener::batch::Batcher;
use htmengine::listener::connection::{Framed, LineFramer};
use htmengine::monitoring::SystemRandom;
use htmengine::reject::RejectLedger;
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::storer::batch::Batch;
use htmengine::storer::{MAX_MESSAGES_PER_TURN, Storer, StorerOptions, StorerParts, StorerTurn};
use rusqlite::{Connection, params};

/// As many as one turn of the storer takes.
const LINES: usize = 40_000;
const METRICS: [usize; 3] = [100, 4_000, 40_000];
const BEGIN: usize = 1_500_000_000;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Read from a socket at once.
const CHUNK_BYTES: usize = 65_536;

/// Lines of so many metrics in turn; `round` makes their times later than those of the one before.
fn text(metrics: usize, round: usize) -> Vec<u8> {
    let rows_each = LINES / metrics;
    let line = |at: usize| {
        let (metric, row) = (at % metrics, at / metrics);
        format!("servers.host-{metric:05}.cpu.load {}.25 {}\n", at % 97, BEGIN + round * rows_each + row)
    };
    (0..LINES).map(line).collect::<String>().into_bytes()
}

fn roomy_bus() -> Arc<MemoryBus> {
    Arc::new(MemoryBus::new(MemoryBusLimits::default()))
}

/// What the listener does with bytes.
fn hand_over(bytes: &[u8], bus: &dyn Bus) {
    let (mut framer, mut batcher) = (LineFramer::new(), Batcher::new());
    for chunk in bytes.chunks(CHUNK_BYTES) {
        framer.push(chunk, |framed| {
            if let Framed::Line(line) = framed {
                batcher.add(line, HERE);
            }
        });
        batcher.publish(bus.data());
    }
    batcher.close_open();
    batcher.publish(bus.data());
}

fn parse_and_route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest/parse_and_route");
    group.throughput(Throughput::Elements(LINES as u64));
    let options = StorerOptions::default();
    for metrics in METRICS {
        let (bytes, bus) = (text(metrics, 0), roomy_bus());
        group.bench_function(format!("{metrics}_metrics"), |bencher| {
            bencher.iter(|| {
                hand_over(&bytes, &*bus);
                let received = bus.data().receive(MAX_MESSAGES_PER_TURN, Duration::ZERO).expect("open");
                let now = i64::try_from(BEGIN + LINES).expect("a time");
                let batch = Batch::parse(received, now, &options, |_, _| unreachable!("all are good"));
                assert_eq!(batch.expect("lines came").sample_count(), LINES);
            });
        });
    }
    let bytes = text(METRICS[0], 0);
    group.bench_function("baseline_line_ends", |bencher| {
        bencher.iter(|| memchr::memchr_iter(b'\n', black_box(&bytes)).map(black_box).count());
    });
    group.finish();
}

/// A storer over a database of its own.
struct Storing {
    storer: Storer,
    bus: Arc<MemoryBus>,
    metrics: usize,
    round: usize,
}

impl Storing {
    fn fill_queue(&mut self) {
        hand_over(&text(self.metrics, self.round), &*self.bus);
        self.round += 1;
    }

    fn take_turn(&mut self) {
        let turn = self.storer.run_once(Duration::ZERO).expect("a sound database");
        assert_eq!(turn, StorerTurn::Stored { lines: LINES, rows: LINES });
    }
}

fn storing(folder: &Path, metrics: usize) -> Storing {
    let bus = roomy_bus();
    let repository = SqliteRepository::open(&folder.join("bench.sqlite"), OpenMode::ReadWriteCreate);
    let storer = Storer::new(StorerParts {
        bus: bus.clone(),
        repository: Arc::new(repository.expect("opens")),
        clock: Arc::new(SystemClock::new()),
        ledger: Arc::new(RejectLedger::new()),
        random: Arc::new(SystemRandom::open().expect("opens")),
        options: StorerOptions::default(),
    });
    Storing { storer, bus, metrics, round: 0 }
}

fn store(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest/store");
    group.sample_size(10).throughput(Throughput::Elements(LINES as u64));
    for metrics in METRICS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut storing = storing(folder.path(), metrics);
        // The metrics are made once.
        storing.fill_queue();
        storing.take_turn();
        let storing = RefCell::new(storing);
        group.bench_function(format!("{metrics}_metrics"), |bencher| {
            bencher.iter_batched(
                || storing.borrow_mut().fill_queue(),
                |()| storing.borrow_mut().take_turn(),
                BatchSize::PerIteration,
            );
        });
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The tables are those of the engine.
    drop(storing(folder.path(), 1));
    let mut connection = Connection::open(folder.path().join("bench.sqlite")).expect("opens");
    let metric = "INSERT INTO metric (uid, name) VALUES ('0123456789abcdef0123456789abcdef', 'x')";
    connection.execute_batch(metric).expect("made");
    let mut next = 0;
    group.bench_function("baseline_prepared_inserts", |bencher| {
        bencher.iter(|| {
            let transaction = connection.transaction().expect("begins");
            {
                let mut insert = transaction
                    .prepare_cached(
                        "INSERT INTO metric_data (uid, rowid, timestamp, metric_value) VALUES (?1, ?2, ?3, ?4)",
                    )
                    .expect("prepared");
                for _ in 0..LINES {
                    next += 1;
                    let row = params!["0123456789abcdef0123456789abcdef", next, "2017-07-14 02:40:00", 1.25];
                    insert.execute(row).expect("inserted");
                }
            }
            transaction.commit().expect("commits");
        });
    });
    group.finish();
}

criterion_group!(benches, parse_and_route, store);
criterion_main!(benches);
