//! What storing costs on the embedded default: transactions of 1,000 rows over few or many metrics, appended and
//! completed with scores. The baseline writes the same bytes to a file and syncs it.

use std::cell::RefCell;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use htm_core::ids::{ModelId, RowId};
use htmengine::monitoring::{self, SystemRandom};
use htmengine::repository::Repository;
use htmengine::repository::metric_data::{RowUpdate, StoredSample};
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::row_detection::RowDetection;

const ROWS_PER_TRANSACTION: i64 = 1_000;
/// Bytes of a row with its key, roughly.
const ROW_BYTES: usize = 100;

struct Stored {
    repository: SqliteRepository,
    /// After the repository, which must be closed before its folder goes.
    _folder: tempfile::TempDir,
    ids: Vec<ModelId>,
    next_timestamp: i64,
}

fn stored(metrics: i64) -> Stored {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repository = SqliteRepository::open(&folder.path().join("bench.sqlite"), OpenMode::ReadWriteCreate)
        .expect("opens");
    let random = SystemRandom::open().expect("opens");
    let mut ids = Vec::new();
    for number in 0..metrics {
        let name = format!("metric.{number}");
        let metric = monitoring::in_transaction::<_, monitoring::MonitorError>(&repository, |tx| {
            Ok(monitoring::create_metric(tx, &name, &random)?)
        });
        ids.push(metric.expect("made").uid);
    }
    Stored { repository, _folder: folder, ids, next_timestamp: 1_400_000_000 }
}

impl Stored {
    /// Appends `rows_each` rows to every metric; returns the last row id.
    fn append(&mut self, rows_each: i64) -> RowId {
        let first = self.next_timestamp;
        self.next_timestamp += rows_each;
        let samples: Vec<StoredSample> =
            (first..first + rows_each).map(|timestamp| StoredSample { timestamp, value: 1.5 }).collect();
        let mut last = RowId(0);
        self.repository
            .transact(&mut |tx| {
                for id in &self.ids {
                    last = tx.append_rows(id, &samples)?;
                }
                Ok(())
            })
            .expect("commits");
        last
    }

    fn complete(&self, rows_each: i64, last: RowId) {
        let updates: Vec<RowUpdate> = (last.0 - rows_each + 1..=last.0)
            .map(|row| RowUpdate {
                row_id: RowId(row),
                raw_anomaly_score: 0.025,
                anomaly_score: 0.5,
                display_value: 1000,
                best_predictions: None,
                detection: RowDetection::default(),
            })
            .collect();
        self.repository
            .transact(&mut |tx| {
                for id in &self.ids {
                    tx.complete_rows(id, &updates)?;
                }
                Ok(())
            })
            .expect("commits");
    }
}

fn repository(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("repository");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ROWS_PER_TRANSACTION.unsigned_abs()));
    for rows_each in [1, 10, 100] {
        let mut stored = stored(ROWS_PER_TRANSACTION / rows_each);
        group.bench_function(format!("append/{rows_each}_rows_a_metric"), |bencher| {
            bencher.iter(|| black_box(stored.append(rows_each)));
        });
        group.bench_function(format!("complete/{rows_each}_rows_a_metric"), |bencher| {
            let stored = RefCell::new(&mut stored);
            bencher.iter_batched(
                || stored.borrow_mut().append(rows_each),
                |last| stored.borrow().complete(rows_each, last),
                BatchSize::PerIteration,
            );
        });
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut file = File::create(folder.path().join("baseline")).expect("made");
    let bytes = vec![1u8; usize::try_from(ROWS_PER_TRANSACTION).expect("small") * ROW_BYTES];
    group.bench_function("baseline_write_and_sync", |bencher| {
        bencher.iter(|| {
            file.write_all(&bytes).expect("written");
            file.sync_data().expect("synced");
        });
    });
    group.finish();
}

criterion_group!(benches, repository);
criterion_main!(benches);
