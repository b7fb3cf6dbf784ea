//! What one model costs after a whole series: memory, checkpoint, time. Prints a table; JSON with `--json`.
//!
//! The template, which all models share, is drawn before the first look at resident memory and not counted. The
//! workspace, one per thread, is made before it too, but fits itself to the model only while that grows, so its
//! growth (some 6 bytes a segment) is in the resident figure.

use std::io::{self, Write};
use std::time::Instant;

use htm_bench::meter::resident_bytes;
use htm_bench::series::{NYC_TAXI, Series};
use htm_core::format::checkpoint;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use serde_json::json;

/// What was measured.
struct Measured {
    records: usize,
    segments: u32,
    synapses: u32,
    state_bytes: usize,
    resident_bytes: u64,
    checkpoint_bytes: usize,
    mean_us_per_record: f64,
}

fn main() -> io::Result<()> {
    let measured = measure()?;
    let mut out = io::stdout().lock();
    if std::env::args().skip(1).any(|argument| argument == "--json") {
        writeln!(out, "{}", as_json(&measured))
    } else {
        write_table(&mut out, &measured)
    }
}

fn measure() -> io::Result<Measured> {
    let series = Series::read(NYC_TAXI);
    let templates = Templates::new();
    templates.get(series.params.spatial_pooler());
    let mut workspace = Workspace::new();
    let resident_before = resident_bytes()?;
    let mut model = Model::new(series.params.clone(), &templates);
    let started = Instant::now();
    for (row_id, record) in (1..).map(RowId).zip(&series.records) {
        model.step(&mut workspace, row_id, *record).expect("bundled rows are valid");
    }
    let elapsed = started.elapsed();
    let resident_bytes = resident_bytes()?.saturating_sub(resident_before);
    let mut image = Vec::new();
    checkpoint::write(&model, "measurement", &mut image);
    let scalars = model.memory().backtracking().expect("the standard memory").scalars();
    #[expect(clippy::cast_precision_loss, reason = "a series has a few thousand rows")]
    let record_count = series.records.len() as f64;
    Ok(Measured {
        records: series.records.len(),
        segments: scalars.segment_count,
        synapses: scalars.synapse_count,
        state_bytes: model.memory_bytes(),
        resident_bytes,
        checkpoint_bytes: image.len(),
        mean_us_per_record: elapsed.as_secs_f64() * 1e6 / record_count,
    })
}

fn as_json(measured: &Measured) -> serde_json::Value {
    json!({
        "series": NYC_TAXI,
        "records": measured.records,
        "segments": measured.segments,
        "synapses": measured.synapses,
        "state_bytes": measured.state_bytes,
        "resident_bytes": measured.resident_bytes,
        "checkpoint_bytes": measured.checkpoint_bytes,
        "mean_us_per_record": measured.mean_us_per_record,
    })
}

fn write_table(out: &mut impl Write, measured: &Measured) -> io::Result<()> {
    writeln!(out, "one model after all of {NYC_TAXI}")?;
    writeln!(out, "records                    {:>12}", measured.records)?;
    writeln!(out, "segments                   {:>12}", measured.segments)?;
    writeln!(out, "synapses                   {:>12}", measured.synapses)?;
    writeln!(out, "model state, bytes         {:>12}", measured.state_bytes)?;
    writeln!(out, "resident growth, bytes     {:>12}", measured.resident_bytes)?;
    writeln!(out, "checkpoint, bytes          {:>12}", measured.checkpoint_bytes)?;
    writeln!(out, "mean time per record, us   {:>12.1}", measured.mean_us_per_record)
}
