//! `htmengine evaluate DIR`: precision, recall and false alarms over one's own labelled series, beside simple baselines
//! that see the same records in the same run.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use htm_core::float_text::repr;
use serde_json::{Map, Value, json};

use super::CliError;
use super::output::{progress_bar, write_table};
use crate::benchmark::alarms::{Judged, MAX_ALERT_SHARE, Tally, best_level, sweep_levels};
use crate::benchmark::detector::DetectorKind;
use crate::benchmark::nab_score::{JudgedSeries, score_at};
use crate::benchmark::plot::{Track, draw};
use crate::benchmark::profile::nab_profiles;
use crate::benchmark::scoring_run::{ScoringOptions, SeriesScores, score_all};
use crate::benchmark::series::{Labels, Series, check_run_rows, csv_files, read_series};
use crate::benchmark::value_range::RangePolicy;
use crate::benchmark::window::{Window, windows_of_labels};

/// Detectors compared, the engine's own first.
const KINDS: [DetectorKind; 5] = DetectorKind::COMPARED;
const SECONDS_PER_MINUTE: i64 = 60;

/// Measure precision and recall on labelled series of your own
///
/// DIR holds CSV files with the columns timestamp, value and label (0 or 1). Labels become windows: a tenth of each
/// series, shared among its groups of labelled points and centred on them. An alert in a window is a hit; alerts outside
/// are false, and one more than 30 records after the last is a new episode. The first 15 % of a series, at most 750
/// records, are for learning and are not counted. Simple baselines see the same records in the same run.
#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// Folder of CSV files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write scores of every record, results.json and pictures here
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Alert threshold of the engine's own detector [default: the one carried over from the benchmark]
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// Where the model's value range comes from
    #[arg(long, value_enum, default_value_t = RangePolicy::Learned)]
    range: RangePolicy,
    /// Draw every series as an SVG picture in OUT
    #[arg(long, requires = "out")]
    plots: bool,
    /// Files scored at the same time, 0 for one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    jobs: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One series with everything known of it.
struct Evaluated {
    series: Series,
    values: Vec<f64>,
    timestamps: Vec<i64>,
    labels: Vec<bool>,
    windows: Vec<Window>,
    scores: SeriesScores,
}

impl Evaluated {
    fn new(series: Series, scores: SeriesScores) -> Self {
        let labels: Vec<bool> = series.rows.iter().map(|row| row.is_labelled).collect();
        Self {
            values: series.rows.iter().map(|row| row.record.value).collect(),
            timestamps: series.rows.iter().map(|row| row.record.timestamp).collect(),
            windows: windows_of_labels(&labels),
            labels,
            scores,
            series,
        }
    }

    fn judged(&self, detector_idx: usize) -> Judged<'_> {
        Judged {
            scores: &self.scores[detector_idx],
            timestamps: &self.timestamps,
            labels: &self.labels,
            windows: &self.windows,
        }
    }
}

/// What is said of one detector over all series.
struct DetectorReport {
    name: &'static str,
    threshold: f64,
    total: Tally,
    /// Threshold with the best F1 on these very series, and its counts.
    best: Option<(f64, Tally)>,
    /// NAB's score of each of its profiles at the threshold.
    nab: Vec<(String, Option<f64>)>,
    /// Counts of each series.
    files: Vec<Tally>,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<(), CliError> {
    if let Some(threshold) = args.threshold.filter(|threshold| !(*threshold > 0.0 && *threshold <= 1.0)) {
        return Err(CliError::new(format!(
            "--threshold is {threshold}; expected a number above 0 and up to 1"
        )));
    }
    let all = read_folder(&args.folder)?;
    let row_count: usize = all.iter().map(|series| series.rows.len()).sum();
    let progress = progress_bar(row_count as u64, "records");
    let options = ScoringOptions { kinds: &KINDS, range: args.range, jobs: args.jobs };
    let scores = score_all(&all, options, &|rows| progress.inc(rows as u64))?;
    progress.finish_and_clear();
    let all: Vec<Evaluated> =
        all.into_iter().zip(scores).map(|(series, scores)| Evaluated::new(series, scores)).collect();
    let reports: Vec<DetectorReport> = KINDS
        .iter()
        .enumerate()
        .map(|(index, kind)| report_of(&all, index, threshold_of(*kind, args)))
        .collect();
    let report = json_report(args, &all, &reports);
    if let Some(out) = &args.out {
        write_results(out, &all, &reports, &report, args.plots)?;
    }
    let out = &mut io::stdout().lock();
    if args.json {
        writeln!(out, "{report:#}")?;
        return Ok(());
    }
    print_totals(out, &reports)?;
    print_best(out, &reports)?;
    print_files(out, &all, &reports)?;
    if let Some(folder) = &args.out {
        writeln!(out, "\nScores are in {}.", folder.display())?;
    }
    Ok(())
}

fn threshold_of(kind: DetectorKind, args: &EvaluateArgs) -> f64 {
    let given = args.threshold.filter(|_| kind == DetectorKind::ENGINE);
    given.unwrap_or(kind.default_threshold())
}

fn read_folder(folder: &Path) -> Result<Vec<Series>, CliError> {
    let mut all = Vec::new();
    let mut row_count = 0;
    for path in csv_files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let series = read_series(&path, &name, Labels::Required)?;
        row_count += series.rows.len();
        check_run_rows(folder, row_count)?;
        all.push(series);
    }
    if all.is_empty() {
        return Err(CliError::new(format!(
            "{} has no CSV files; expected some with the columns timestamp, value and label",
            folder.display()
        )));
    }
    Ok(all)
}

fn report_of(all: &[Evaluated], detector_idx: usize, threshold: f64) -> DetectorReport {
    let judged: Vec<Judged<'_>> = all.iter().map(|evaluated| evaluated.judged(detector_idx)).collect();
    let files: Vec<Tally> = judged.iter().map(|judged| Tally::of(*judged, threshold)).collect();
    let placed: Vec<JudgedSeries> = all
        .iter()
        .map(|evaluated| {
            let scores = &evaluated.scores[detector_idx];
            JudgedSeries::new(&evaluated.series.name, scores, evaluated.windows.clone())
        })
        .collect();
    let placed: Vec<&JudgedSeries> = placed.iter().collect();
    let nab = nab_profiles().into_iter().map(|profile| {
        let score = score_at(&placed, &profile, threshold);
        (profile.name, score.normalised)
    });
    DetectorReport {
        name: KINDS[detector_idx].name(),
        threshold,
        total: files.iter().cloned().fold(Tally::default(), Tally::plus),
        best: best_level(&sweep_levels(&judged)).cloned(),
        nab: nab.collect(),
        files,
    }
}

fn json_report(args: &EvaluateArgs, all: &[Evaluated], reports: &[DetectorReport]) -> Value {
    let detectors: Map<String, Value> = reports
        .iter()
        .map(|report| {
            let files: Map<String, Value> = all
                .iter()
                .zip(&report.files)
                .map(|(evaluated, tally)| (evaluated.series.name.clone(), json_tally(tally)))
                .collect();
            let nab: Map<String, Value> =
                report.nab.iter().map(|(profile, points)| (profile.clone(), json!(points))).collect();
            let mut best = Value::Null;
            if let Some((threshold, tally)) = &report.best {
                best = json_tally(tally);
                best["threshold"] = json!(threshold);
            }
            let value = json!({
                "threshold": report.threshold,
                "total": json_tally(&report.total),
                "best_f1": best,
                "nab_score": nab,
                "files": files,
            });
            (report.name.to_owned(), value)
        })
        .collect();
    json!({
        "files": all.len(),
        "rows": all.iter().map(|evaluated| evaluated.values.len()).sum::<usize>(),
        "range": args.range.name(),
        "detectors": detectors,
    })
}

fn json_tally(tally: &Tally) -> Value {
    json!({
        "windows": tally.window_count,
        "windows_hit": tally.hit_count,
        "false_alarm_rows": tally.false_alarm_rows,
        "false_episodes": tally.false_episodes,
        "false_episodes_per_10k": tally.episodes_per_10k(),
        "precision": tally.precision(),
        "recall": tally.recall(),
        "f1": tally.f1(),
        "median_delay_s": tally.median_delay_s(),
    })
}

fn write_results(
    out: &Path,
    all: &[Evaluated],
    reports: &[DetectorReport],
    report: &Value,
    is_drawn: bool,
) -> Result<(), CliError> {
    let failed = |path: &Path, error: io::Error| {
        CliError::new(format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir_all(out).map_err(|error| failed(out, error))?;
    let path = out.join("results.json");
    fs::write(&path, format!("{report:#}\n")).map_err(|error| failed(&path, error))?;
    let progress = progress_bar(all.len() as u64, "files written");
    for evaluated in all {
        let path = out.join(&evaluated.series.name);
        write_scores(&path, evaluated).map_err(|error| failed(&path, error))?;
        if is_drawn {
            let tracks: Vec<Track<'_>> = reports
                .iter()
                .enumerate()
                .map(|(index, report)| Track {
                    name: report.name,
                    threshold: report.threshold,
                    judged: evaluated.judged(index),
                })
                .collect();
            draw(&path.with_extension("svg"), &evaluated.series.name, &evaluated.values, &tracks)?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

fn write_scores(path: &Path, evaluated: &Evaluated) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write!(out, "timestamp,value,label,window")?;
    for kind in KINDS {
        write!(out, ",{}", kind.name())?;
    }
    writeln!(out)?;
    for (row_idx, row) in evaluated.series.rows.iter().enumerate() {
        let is_in_window = evaluated.windows.iter().any(|window| window.contains(row_idx));
        let flags = [row.is_labelled, is_in_window].map(u8::from);
        write!(out, "{},{},{},{}", row.timestamp, row.value, flags[0], flags[1])?;
        for scores in &evaluated.scores {
            write!(out, ",{}", repr(scores[row_idx]))?;
        }
        writeln!(out)?;
    }
    out.flush()
}

fn print_totals(out: &mut dyn Write, reports: &[DetectorReport]) -> io::Result<()> {
    let headings = [
        "DETECTOR",
        "THRESHOLD",
        "WINDOWS HIT",
        "RECALL",
        "PRECISION",
        "F1",
        "FALSE EPISODES",
        "PER 10K",
        "MEDIAN DELAY",
        "NAB STANDARD",
        "LOW FP",
        "LOW FN",
    ];
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|report| {
            let mut row = vec![report.name.to_owned(), format!("{:.3}", report.threshold)];
            row.extend(tally_cells(&report.total));
            row.push(report.total.median_delay_s().map_or("-".to_owned(), minutes_text));
            row.extend(report.nab.iter().map(|(_, points)| cell(*points, 1)));
            row
        })
        .collect();
    write_table(out, &headings, &rows)
}

fn print_best(out: &mut dyn Write, reports: &[DetectorReport]) -> io::Result<()> {
    let headings =
        ["DETECTOR", "THRESHOLD", "WINDOWS HIT", "RECALL", "PRECISION", "F1", "FALSE EPISODES", "PER 10K"];
    let rows: Vec<Vec<String>> = reports
        .iter()
        .filter_map(|report| {
            let (threshold, tally) = report.best.as_ref()?;
            let mut row = vec![report.name.to_owned(), format!("{threshold:.3}")];
            row.extend(tally_cells(tally));
            Some(row)
        })
        .collect();
    writeln!(
        out,
        "\nAt the threshold with the best F1 on these very files, which nobody knows beforehand, of those with alerts in \
         at most {} % of the records outside windows:",
        MAX_ALERT_SHARE * 100.0
    )?;
    write_table(out, &headings, &rows)
}

fn print_files(out: &mut dyn Write, all: &[Evaluated], reports: &[DetectorReport]) -> io::Result<()> {
    let mut headings = vec!["FILE", "ROWS", "WINDOWS"];
    headings.extend(reports.iter().map(|report| report.name));
    headings.push("F1");
    headings.push("DELAY");
    let rows: Vec<Vec<String>> = all
        .iter()
        .enumerate()
        .map(|(index, evaluated)| {
            let own = reports.first().map(|report| &report.files[index]);
            let mut row = vec![evaluated.series.name.clone(), evaluated.values.len().to_string()];
            row.push(own.map_or(0, |tally| tally.window_count).to_string());
            for report in reports {
                let tally = &report.files[index];
                row.push(format!("{} hit, {} false", tally.hit_count, tally.false_episodes));
            }
            row.push(cell(own.and_then(Tally::f1), 2));
            row.push(own.and_then(Tally::median_delay_s).map_or("-".to_owned(), minutes_text));
            row
        })
        .collect();
    let first = reports.first().map_or("", |report| report.name);
    writeln!(out, "\nWindows hit and false episodes by file; F1 and median delay are those of {first}:")?;
    write_table(out, &headings, &rows)
}

fn tally_cells(tally: &Tally) -> [String; 6] {
    [
        format!("{}/{}", tally.hit_count, tally.window_count),
        cell(tally.recall(), 2),
        cell(tally.precision(), 2),
        cell(tally.f1(), 2),
        tally.false_episodes.to_string(),
        cell(tally.episodes_per_10k(), 1),
    ]
}

fn cell(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or("-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

fn minutes_text(seconds: i64) -> String {
    format!("{} min", seconds / SECONDS_PER_MINUTE)
}
