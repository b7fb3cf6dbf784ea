//! `htmengine nab --nab DIR --out DIR`: the Numenta Anomaly Benchmark over a checkout of it.
//!
//! Scores every file, writes results that NAB's own `run.py --score` reads, and prints what NAB would: each profile at
//! its best threshold, the same by category, beside the published table; and what NAB does not print, the score when the
//! threshold comes from the other half of the files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Map, Value, json};

use super::CliError;
use super::output::{progress_bar, write_table};
use crate::benchmark::alarms::{Judged, Tally};
use crate::benchmark::detector::DetectorKind;
use crate::benchmark::halves::{CrossValidated, cross_validate};
use crate::benchmark::nab_corpus::{NabCorpus, put_entry, write_scores};
use crate::benchmark::nab_score::{JudgedSeries, NabScore, best_score, score_at};
use crate::benchmark::profile::{NAMES, PUBLISHED, Profile};
use crate::benchmark::scoring_run::{ScoringOptions, SeriesScores, score_all};
use crate::benchmark::value_range::RangePolicy;

/// Files of the whole benchmark; the published table is over all of them.
const ALL_FILES: usize = 58;

/// Run the Numenta Anomaly Benchmark
///
/// DIR is a checkout of github.com/numenta/NAB, or a part of one in its layout. Every file of data/ is scored record by
/// record. Written to OUT are the scores, thresholds and final results in the benchmark's own format; printed are the scores of its three profiles, by category, and beside the published ones.
#[derive(Debug, Args)]
pub(super) struct NabArgs {
    /// Checkout of the benchmark, with the folders data, labels and config
    #[arg(long, value_name = "DIR")]
    nab: PathBuf,
    /// Write results here
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Which detector
    #[arg(long, value_enum, default_value_t = DetectorKind::ENGINE)]
    detector: DetectorKind,
    /// Where the model's value range comes from
    #[arg(long, value_enum, default_value_t = RangePolicy::Learned)]
    range: RangePolicy,
    /// Files scored at the same time, 0 for one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    jobs: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is said of one profile.
struct ProfileReport<'a> {
    profile: &'a Profile,
    best: NabScore,
    halves: CrossValidated,
    alarms: Tally,
    categories: Vec<(String, NabScore)>,
}

pub(super) fn run(args: &NabArgs) -> Result<(), CliError> {
    let started = Instant::now();
    let corpus = NabCorpus::read(&args.nab)?;
    for name in &corpus.missing {
        writeln!(io::stderr(), "warning: {name} has windows but no data; it is left out")?;
    }
    let all: Vec<_> = corpus.files.iter().map(|file| file.series.clone()).collect();
    let row_count: usize = all.iter().map(|series| series.rows.len()).sum();
    let progress = progress_bar(row_count as u64, "records");
    let options = ScoringOptions { kinds: &[args.detector], range: args.range, jobs: args.jobs };
    let scores = score_all(&all, options, &|rows| progress.inc(rows as u64))?;
    progress.finish_and_clear();
    let reports = reports_of(&corpus, &scores);
    write_results(args, &corpus, &scores, &reports)?;
    let out = &mut io::stdout().lock();
    if args.json {
        let report = json_report(args, &corpus, &reports);
        writeln!(out, "{report:#}")?;
        return Ok(());
    }
    let (file_count, detector, range) = (corpus.files.len(), args.detector.name(), args.range.name());
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        out,
        "{detector} with {range} range over {file_count} files, {row_count} rows, in {seconds:.1} s\n"
    )?;
    print_profiles(out, &reports)?;
    print_categories(out, &reports)?;
    print_published(out, args, file_count, &reports)?;
    writeln!(out, "\nResults are in {}.", args.out.display())?;
    Ok(())
}

fn reports_of<'a>(corpus: &'a NabCorpus, scores: &[SeriesScores]) -> Vec<ProfileReport<'a>> {
    let series: Vec<JudgedSeries> = corpus
        .files
        .iter()
        .zip(scores)
        .map(|(file, scores)| JudgedSeries::new(&file.series.name, &scores[0], file.windows.clone()))
        .collect();
    let series: Vec<&JudgedSeries> = series.iter().collect();
    let categories: BTreeSet<&str> = series.iter().map(|series| series.category()).collect();
    let report = |profile: &'a Profile| {
        let best = best_score(&series, profile);
        let threshold = best.outcome.threshold;
        let by_category = categories.iter().map(|category| {
            let part: Vec<&JudgedSeries> =
                series.iter().copied().filter(|series| series.category() == *category).collect();
            ((*category).to_owned(), score_at(&part, profile, threshold))
        });
        ProfileReport {
            profile,
            best,
            halves: cross_validate(&series, profile),
            alarms: alarms_at(corpus, scores, threshold),
            categories: by_category.collect(),
        }
    };
    corpus.profiles.iter().map(report).collect()
}

fn alarms_at(corpus: &NabCorpus, scores: &[SeriesScores], threshold: f64) -> Tally {
    let each = corpus.files.iter().zip(scores).map(|(file, scores)| {
        let timestamps: Vec<i64> = file.series.rows.iter().map(|row| row.record.timestamp).collect();
        let labels = vec![false; timestamps.len()];
        let judged =
            Judged { scores: &scores[0], timestamps: &timestamps, labels: &labels, windows: &file.windows };
        Tally::of(judged, threshold)
    });
    each.fold(Tally::default(), Tally::plus)
}

fn write_results(
    args: &NabArgs,
    corpus: &NabCorpus,
    scores: &[SeriesScores],
    reports: &[ProfileReport<'_>],
) -> Result<(), CliError> {
    let detector = args.detector.name();
    fs::create_dir_all(&args.out)
        .map_err(|error| CliError::new(format!("{} cannot be made: {error}", args.out.display())))?;
    for (file, scores) in corpus.files.iter().zip(scores) {
        write_scores(&args.out, detector, file, &scores[0])?;
    }
    let entry = |of: &dyn Fn(&ProfileReport<'_>) -> Value| -> Value {
        reports.iter().map(|report| (report.profile.name.clone(), of(report))).collect::<Map<_, _>>().into()
    };
    let thresholds = entry(
        &|report| json!({"score": report.best.outcome.points, "threshold": report.best.outcome.threshold}),
    );
    put_entry(&args.out.join("thresholds.json"), detector, thresholds)?;
    let finals = entry(&|report| json!(report.best.normalised));
    put_entry(&args.out.join("final_results.json"), detector, finals)?;
    Ok(())
}

fn json_report(args: &NabArgs, corpus: &NabCorpus, reports: &[ProfileReport<'_>]) -> Value {
    let score = |score: &NabScore| {
        json!({
            "score": score.normalised,
            "points": score.outcome.points,
            "windows_hit": score.outcome.hit_count,
            "windows": score.window_count,
            "false_alarm_rows": score.outcome.false_alarm_rows,
        })
    };
    let profiles: Map<String, Value> = reports
        .iter()
        .map(|report| {
            let categories: Map<String, Value> =
                report.categories.iter().map(|(category, part)| (category.clone(), score(part))).collect();
            let mut value = score(&report.best);
            value["threshold"] = json!(report.best.outcome.threshold);
            value["false_episodes_per_10k"] = json!(report.alarms.episodes_per_10k());
            value["cross_validated"] =
                json!({"score": report.halves.normalised, "thresholds": report.halves.thresholds});
            value["categories"] = categories.into();
            (report.profile.name.clone(), value)
        })
        .collect();
    json!({
        "detector": args.detector.name(),
        "range": args.range.name(),
        "files": corpus.files.len(),
        "rows": corpus.files.iter().map(|file| file.series.rows.len()).sum::<usize>(),
        "profiles": profiles,
    })
}

fn print_profiles(out: &mut dyn Write, reports: &[ProfileReport<'_>]) -> io::Result<()> {
    let headings = [
        "PROFILE",
        "SCORE",
        "THRESHOLD",
        "WINDOWS HIT",
        "FALSE ROWS",
        "EPISODES/10K",
        "CROSS-VALIDATED",
        "AT THRESHOLDS",
    ];
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|report| {
            let ProfileReport { profile, best, halves, alarms, .. } = report;
            vec![
                profile.name.clone(),
                points_text(best.normalised),
                format!("{:.6}", best.outcome.threshold),
                format!("{}/{}", best.outcome.hit_count, best.window_count),
                best.outcome.false_alarm_rows.to_string(),
                alarms.episodes_per_10k().map_or("-".to_owned(), |rate| format!("{rate:.1}")),
                points_text(halves.normalised),
                format!("{:.4} {:.4}", halves.thresholds[0], halves.thresholds[1]),
            ]
        })
        .collect();
    write_table(out, &headings, &rows)
}

fn print_categories(out: &mut dyn Write, reports: &[ProfileReport<'_>]) -> io::Result<()> {
    let mut headings = vec!["CATEGORY".to_owned(), "WINDOWS".to_owned()];
    for report in reports {
        headings.push(report.profile.name.clone());
        headings.push("HIT, FALSE ROWS".to_owned());
    }
    let categories = reports.first().map_or(&[][..], |report| &report.categories);
    let rows: Vec<Vec<String>> = categories
        .iter()
        .enumerate()
        .map(|(index, (category, first))| {
            let mut row = vec![category.clone(), first.window_count.to_string()];
            for report in reports {
                let (_, score) = &report.categories[index];
                row.push(points_text(score.normalised));
                row.push(format!("{}, {}", score.outcome.hit_count, score.outcome.false_alarm_rows));
            }
            row
        })
        .collect();
    writeln!(out)?;
    write_table(out, &headings.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

fn print_published(
    out: &mut dyn Write,
    args: &NabArgs,
    file_count: usize,
    reports: &[ProfileReport<'_>],
) -> io::Result<()> {
    let ours = NAMES.map(|name| {
        let report = reports.iter().find(|report| report.profile.name == name);
        report.and_then(|report| report.best.normalised)
    });
    let name = format!("> htmengine {}, {} range", args.detector.name(), args.range.name());
    let mut table = vec![(name, ours)];
    table.extend(PUBLISHED.iter().map(|(name, points)| ((*name).to_owned(), points.map(Some))));
    table.sort_by(|left, right| right.1[0].unwrap_or(0.0).total_cmp(&left.1[0].unwrap_or(0.0)));
    let rows: Vec<Vec<String>> = table
        .into_iter()
        .map(|(name, points)| {
            std::iter::once(name)
                .chain(points.map(|points| points.map_or("-".to_owned(), |points| format!("{points:.1}"))))
                .collect()
        })
        .collect();
    writeln!(out)?;
    if file_count != ALL_FILES {
        writeln!(
            out,
            "The published scores are over {ALL_FILES} files, ours over {file_count}: not comparable."
        )?;
    }
    write_table(out, &["DETECTOR", NAMES[0], NAMES[1], NAMES[2]], &rows)
}

fn points_text(points: Option<f64>) -> String {
    points.map_or("-".to_owned(), |points| format!("{points:.2}"))
}
