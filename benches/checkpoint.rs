//! A checkpoint of a model that has seen all of `nyc_taxi`: to bytes and back, without the disk, beside a copy of
//! as many bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use htm_bench::series::{NYC_TAXI, Series};
use htm_bench::trained::Trained;
use htm_core::format::checkpoint;

const GENERATION: &str = "bench";

fn main() {
    let Trained { model, templates, .. } = Trained::on(&Series::read(NYC_TAXI));
    let file = checkpoint::write(&model, GENERATION);
    let params = model.params();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("checkpoint");
    group.throughput(Throughput::Bytes(file.len() as u64)).sample_size(20);
    group.bench_function("write", |bencher| bencher.iter(|| checkpoint::write(&model, GENERATION)));
    group.bench_function("read", |bencher| {
        bencher.iter(|| checkpoint::read(&file, params, GENERATION, &templates).expect("its own bytes"));
    });
    let mut copy = vec![0; file.len()];
    group.bench_function("baseline_memcpy", |bencher| {
        bencher.iter(|| copy.copy_from_slice(black_box(&file)));
    });
    group.bench_function("baseline_memcpy_into_new_memory", |bencher| bencher.iter(|| file.clone()));
    group.finish();
    criterion.final_summary();
}
