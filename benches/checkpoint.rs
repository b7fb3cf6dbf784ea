//! A trained model's file: putting its image together, and opening it in each of the ways there are.
//!
//! `memcpy` of the same bytes is the baseline. Files are in the page cache.

use std::fs::File;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use htm_bench::series::{NYC_TAXI, Series};
use htm_bench::trained::Trained;
use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::mapping::{BufferPool, Region};
use htm_core::model::template::Templates;

const GENERATION: &str = "measurement";

/// Name, how the file becomes memory, and how far it is believed.
type Case<'a> = (&'a str, &'a dyn Fn(&File) -> Region, Trust);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let model = Trained::on(&Series::read(NYC_TAXI)).model;
    let templates = Templates::new();
    templates.get(model.params().spatial_pooler());
    let mut image = Vec::new();
    checkpoint::write(&model, GENERATION, &mut image);
    let path = std::env::temp_dir().join(format!("htm-bench-{}.model", std::process::id()));
    std::fs::write(&path, &image).expect("a writable temporary folder");

    let mut group = criterion.benchmark_group("checkpoint/nyc_taxi");
    group.throughput(Throughput::Bytes(image.len() as u64)).sample_size(20);
    let mut copy = vec![0; image.len()];
    group.bench_function("memcpy", |bencher| bencher.iter(|| copy.copy_from_slice(black_box(&image))));
    let mut written = Vec::new();
    group.bench_function("put_together", |bencher| {
        bencher.iter(|| checkpoint::write(&model, GENERATION, &mut written));
    });
    let pool = BufferPool::new();
    let map = |file: &File| Region::map(file).expect("mapped");
    let read = |file: &File| Region::read(file, &pool).expect("read");
    let cases: [Case<'_>; 4] = [
        ("map_known", &map, Trust::Known),
        ("read_known", &read, Trust::Known),
        ("read_and_check_sums", &read, Trust::Checksums),
        ("read_and_verify", &read, Trust::Nothing),
    ];
    for (name, region_of, trust) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let region = region_of(&File::open(&path).expect("our own file"));
                checkpoint::open(region, model.params(), GENERATION, &templates, trust)
                    .expect("our own bytes")
            });
        });
    }
    group.finish();
    std::fs::remove_file(&path).expect("our own file");
    criterion.final_summary();
}
