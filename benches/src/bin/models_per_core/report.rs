//! What was measured, as JSON and as tables.
//!
//! Models per core come out as three figures that limit independently: by CPU time, by memory (how many stay
//! resident), by the disk (how many it can bring in and write back).

use std::io::{self, Write};
use std::path::Path;

use htm_bench::aged_models::AgedModel;
use htm_bench::quantiles::{Quantiles, mean, median};
use htm_kernels::isa::Isa;
use serde::Serialize;
use serde_json::{Value, json};

use super::line_of;
use super::options::Options;
use super::parts::{NewModel, Parts, SWAP_ROWS};
use super::play::{Mode, Played};

/// Every model gets one record in this time.
const PERIOD_S: f64 = 300.0;
/// Models per core of the original htmengine, which starts a process for every swap (1.2 to 1.5 CPU seconds).
const BASELINE: [u32; 2] = [200, 250];
const BASELINE_NAME: &str = "htmengine as shipped, a process per swap";
/// Rows of the table of parts, chosen evenly by file size.
const SHOWN_PARTS: usize = 8;
const MIB: f64 = 1_048_576.0;

/// All ages.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of the youngest age, files larger than the memory limit: what CPU time allows.
    models_per_core: f64,
    period_s: f64,
    baseline: Value,
    cpu: String,
    isa: String,
    cores: usize,
    series: usize,
    ages: Vec<AgeReport>,
}

/// One age.
#[derive(Debug, Serialize)]
pub(crate) struct AgeReport {
    age: i64,
    distinct: usize,
    file_bytes: u64,
    memory_limit_bytes: u64,
    median_file_bytes: f64,
    /// The rounds, with the models per core that their CPU time allows.
    pub(crate) rounds: Vec<Played>,
    models_per_core_by_cpu: Vec<f64>,
    scaling: Vec<Scaling>,
    /// Resident models that fit into the memory limit.
    models_by_memory: Option<f64>,
    /// Models that the disk alone allows.
    models_by_disk: Option<f64>,
    parts: Vec<Parts>,
    new_model: Option<NewModel>,
    growth: Vec<Growth>,
}

/// All distinct models at one age on the way.
#[derive(Debug, Clone, Copy, Serialize)]
struct Growth {
    age: i64,
    models: usize,
    median_step_us: f64,
    mean_step_us: f64,
    median_segments: f64,
}

/// What more threads bring.
#[derive(Debug, Clone, Copy, Serialize)]
struct Scaling {
    mode: Mode,
    threads: usize,
    /// Records per second, times those of one thread.
    speed_up: f64,
}

impl Scaling {
    /// Of two rounds that differ in threads only.
    fn of(one: &Played, many: &Played) -> Option<Self> {
        let records_per_s = |played: &Played| as_f64(played.records as u64) / played.usage.wall_s;
        (one.mode == many.mode && one.jobs == 1).then(|| Self {
            mode: one.mode,
            threads: many.jobs,
            speed_up: records_per_s(many) / records_per_s(one),
        })
    }
}

impl AgeReport {
    pub(crate) fn new(age: i64, models: &[AgedModel], file_bytes: u64, memory_limit_bytes: u64) -> Self {
        let mut sizes: Vec<f64> = models.iter().map(|model| as_f64(model.file_bytes)).collect();
        Self {
            age,
            distinct: models.len(),
            file_bytes,
            memory_limit_bytes,
            median_file_bytes: median(&mut sizes),
            rounds: Vec::new(),
            models_per_core_by_cpu: Vec::new(),
            scaling: Vec::new(),
            models_by_memory: None,
            models_by_disk: None,
            parts: Vec::new(),
            new_model: None,
            growth: growth_of(models),
        }
    }

    /// Completes the report after the rounds.
    pub(crate) fn finish(&mut self, mut parts: Vec<Parts>, new_model: NewModel) {
        parts.sort_by_key(|part| part.file_bytes);
        self.parts = parts;
        self.new_model = Some(new_model);
        self.models_per_core_by_cpu = self.rounds.iter().map(models_per_core).collect();
        self.scaling = self.rounds.windows(2).filter_map(|pair| Scaling::of(&pair[0], &pair[1])).collect();
        let resident = self.rounds.iter().find_map(|played| played.resident_bytes_per_model);
        self.models_by_memory = resident.map(|bytes| as_f64(self.memory_limit_bytes) / bytes);
        self.models_by_disk = self.rounds.iter().find_map(models_by_disk);
    }
}

impl Report {
    pub(crate) fn new(options: &Options, series: usize, ages: Vec<AgeReport>) -> Self {
        let mut swapped = ages.iter().filter_map(|age| age.rounds.last()).map(models_per_core);
        Self {
            models_per_core: swapped.next().unwrap_or_default(),
            period_s: PERIOD_S,
            baseline: json!({"name": BASELINE_NAME, "models_per_core": BASELINE}),
            cpu: line_of(Path::new("/proc/cpuinfo"), "model name").unwrap_or_default(),
            isa: Isa::chosen().to_string(),
            cores: options.jobs,
            series,
            ages,
        }
    }

    pub(crate) fn as_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    pub(crate) fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}, instruction set {}", self.cpu, self.isa)?;
        for age in &self.ages {
            writeln!(out)?;
            age.write_heading(out, self.series)?;
            age.write_limits(out)?;
            age.write_rounds(out)?;
            age.write_parts(out)?;
            age.write_growth(out)?;
        }
        Ok(())
    }
}

impl AgeReport {
    fn write_heading(&self, out: &mut dyn Write, series: usize) -> io::Result<()> {
        let (files, limit) = (as_f64(self.file_bytes), as_f64(self.memory_limit_bytes));
        writeln!(
            out,
            "age {} rows: {} distinct models of {series} series; files {:.0} MiB together, {:.2} MiB the median, \
             {:.1} times the memory limit of {:.0} MiB",
            self.age,
            self.distinct,
            files / MIB,
            self.median_file_bytes / MIB,
            files / limit,
            limit / MIB,
        )
    }

    fn write_limits(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nmodels per core at one record per model and {PERIOD_S:.0} s, by CPU time alone")?;
        writeln!(
            out,
            "{:<24}{:>7}{:>9}{:>14}{:>8}{:>9}{:>13}{:>12}{:>10}",
            "",
            "threads",
            "models",
            "CPU us/record",
            "user",
            "system",
            "median model",
            "models/core",
            "records/s"
        )?;
        for (played, models) in self.rounds.iter().zip(&self.models_per_core_by_cpu) {
            let records = as_f64(played.records as u64);
            let mut by_model = played.model_cpu_us.clone();
            let middle =
                if by_model.is_empty() { String::new() } else { format!("{:.0}", median(&mut by_model)) };
            writeln!(
                out,
                "{:<24}{:>7}{:>9}{:>14.0}{:>8.0}{:>9.0}{:>13}{:>12.0}{:>10.0}",
                played.mode.name(),
                played.jobs,
                played.models,
                played.cpu_us_per_record,
                played.usage.user_s * 1e6 / records,
                played.usage.system_s * 1e6 / records,
                middle,
                models,
                records / played.usage.wall_s,
            )?;
        }
        let [least, most] = BASELINE;
        writeln!(out, "{BASELINE_NAME:<84}{:>12}", format!("{least}-{most}"))?;
        for scaling in &self.scaling {
            writeln!(
                out,
                "{}: {} threads play {:.2} times the records of one",
                scaling.mode.name(),
                scaling.threads,
                scaling.speed_up,
            )?;
        }
        if let Some(models) = self.models_by_memory {
            writeln!(out, "by memory alone: {models:.0} models stay resident in the memory limit")?;
        }
        if let Some(models) = self.models_by_disk {
            writeln!(
                out,
                "by the disk alone: {models:.0} models per {PERIOD_S:.0} s, all of them swapped from disk"
            )?;
        }
        Ok(())
    }

    fn write_rounds(&self, out: &mut dyn Write) -> io::Result<()> {
        self.rounds.iter().try_for_each(|played| write_played(played, out))
    }

    fn write_parts(&self, out: &mut dyn Write) -> io::Result<()> {
        let (map_and_rows, read_and_rows) = (format!("map+{SWAP_ROWS}"), format!("read+{SWAP_ROWS}"));
        writeln!(
            out,
            "\nparts of a swap alone, page cache warm, CPU us (of a checkpoint: CPU/wall); +{SWAP_ROWS}: rows stepped"
        )?;
        writeln!(
            out,
            "{:<38}{:>8}{:>7}{:>8}{:>10}{:>10}{:>8}{:>13}{:>13}{:>13}{:>13}",
            "model",
            "MiB",
            "map",
            "read",
            map_and_rows,
            read_and_rows,
            "step",
            "image",
            "write",
            "fdatasync",
            "rename"
        )?;
        let last = self.parts.len().saturating_sub(1);
        let shown = SHOWN_PARTS.min(self.parts.len());
        for number in 0..shown {
            let part = &self.parts[number * last / shown.saturating_sub(1).max(1)];
            let steps = part.checkpoint;
            let steps = [steps.put_together, steps.write, steps.sync, steps.rename];
            let steps =
                steps.map(|span| format!("{:>13}", format!("{:.0}/{:.0}", span.cpu_us, span.wall_us)));
            writeln!(
                out,
                "{:<38}{:>8.2}{:>7.1}{:>8.1}{:>10.1}{:>10.1}{:>8.1}{}",
                part.name,
                as_f64(part.file_bytes) / MIB,
                part.map_us,
                part.read_us,
                part.map_and_steps_us,
                part.read_and_steps_us,
                part.step_us,
                steps.concat(),
            )?;
        }
        if let Some(new) = &self.new_model {
            writeln!(
                out,
                "new model, template there: {:.1} us CPU, file {:.1} KiB, after one row {:.1} KiB",
                new.create_us,
                as_f64(new.file_bytes) / 1024.0,
                as_f64(new.file_bytes_after_one_row) / 1024.0,
            )?;
        }
        Ok(())
    }

    fn write_growth(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\ngrowth of a row's CPU time with age, resident and stepped without a break")?;
        writeln!(
            out,
            "{:>9}{:>9}{:>12}{:>12}{:>18}",
            "age", "models", "median us", "mean us", "median segments"
        )?;
        for growth in &self.growth {
            writeln!(
                out,
                "{:>9}{:>9}{:>12.1}{:>12.1}{:>18.0}{:>14.0}",
                growth.age,
                growth.models,
                growth.median_step_us,
                growth.mean_step_us,
                growth.median_segments,
                1e6 / growth.median_step_us,
            )?;
        }
        Ok(())
    }
}

fn write_played(played: &Played, out: &mut dyn Write) -> io::Result<()> {
    let records = as_f64(played.records as u64);
    let per_record = |count: u64| as_f64(count) / records;
    writeln!(out, "\n{}, {} thread(s), {} records", played.mode.name(), played.jobs, played.records)?;
    if let Some(note) = &played.note {
        writeln!(out, "  note: {note}")?;
    }
    writeln!(
        out,
        "  per record: faults {:.1} minor, {:.2} major; {:.0} KiB read, {:.0} KiB written; the whole machine's CPU \
                 {:.0} us",
        per_record(played.usage.minor_faults),
        per_record(played.usage.major_faults),
        per_record(played.usage.read_bytes) / 1024.0,
        per_record(played.usage.written_bytes) / 1024.0,
        played.usage.machine_cpu_s * 1e6 / records,
    )?;
    if let Some(bytes) = played.resident_bytes_per_model {
        writeln!(out, "  resident per model: {:.2} MiB", bytes / MIB)?;
    } else {
        writeln!(
            out,
            "  rows replayed per record: {:.2}; records per checkpoint: {:.1}",
            per_record(played.replayed_rows as u64),
            records / as_f64(played.checkpoints.max(1) as u64),
        )?;
    }
    if let Some(speed) = played.disk_bytes_per_s {
        writeln!(out, "  disk, files read whole by all threads: {:.0} MiB/s", speed / MIB)?;
    }
    if let Some(bytes) = played.peak_bytes {
        writeln!(out, "  most memory used, page cache included: {:.0} MiB", as_f64(bytes) / MIB)?;
    }
    writeln!(
        out,
        "  {:<22}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "us", "count", "CPU mean", "mean", "p50", "p99", "max"
    )?;
    for phase in &played.phases {
        let Quantiles { count, mean_us, p50_us, p99_us, max_us } = phase.wall;
        let cpu = phase.cpu_us.map_or(String::new(), |cpu| format!("{cpu:.1}"));
        writeln!(
            out,
            "  {:<22}{count:>9}{cpu:>10}{mean_us:>10.1}{p50_us:>10.1}{p99_us:>10.1}{max_us:>10.0}",
            phase.name,
        )?;
    }
    Ok(())
}

fn growth_of(models: &[AgedModel]) -> Vec<Growth> {
    let mut ages: Vec<i64> = models.iter().flat_map(|model| &model.growth).map(|mark| mark.age).collect();
    ages.sort_unstable();
    ages.dedup();
    let growth = |age| {
        let marks: Vec<_> =
            models.iter().filter_map(|model| model.growth.iter().find(|mark| mark.age == age)).collect();
        let mut steps: Vec<f64> = marks.iter().map(|mark| mark.step_us).collect();
        let mut segments: Vec<f64> = marks.iter().map(|mark| f64::from(mark.segments)).collect();
        Growth {
            age,
            models: marks.len(),
            median_step_us: median(&mut steps),
            mean_step_us: mean(&steps),
            median_segments: median(&mut segments),
        }
    };
    ages.into_iter().map(growth).collect()
}

fn models_per_core(played: &Played) -> f64 {
    PERIOD_S / (played.cpu_us_per_record / 1e6)
}

/// How many models the disk can bring in and write back in a period, if it is the disk that they came from.
fn models_by_disk(played: &Played) -> Option<f64> {
    let speed =
        played.disk_bytes_per_s.filter(|_| played.mode == Mode::Limited || played.mode == Mode::Forgotten)?;
    let bytes = as_f64(played.usage.read_bytes + played.usage.written_bytes);
    // Nothing came from a disk if there is none below the store, or everything fitted into the limit.
    (played.usage.read_bytes > 0).then(|| PERIOD_S * speed / (bytes / as_f64(played.records as u64)))
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
