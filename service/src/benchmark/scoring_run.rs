//! Series through detectors: one pass per series, all detectors side by side, series in parallel, the longest first.
//!
//! Records for which there is no model yet score 0 with the detectors that need one: no alert could have been sent.

use std::sync::Mutex;

use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use rayon::iter::{ParallelBridge, ParallelIterator};

use super::BenchmarkError;
use super::detector::{Detector, DetectorKind};
use super::htm_stream::{HtmStream, Pushed};
use super::observation::Observation;
use super::series::Series;
use super::value_range::RangePolicy;

/// Rows between two reports of progress.
const PROGRESS_ROWS: usize = 500;

/// How series are scored.
#[derive(Debug, Clone, Copy)]
pub struct ScoringOptions<'a> {
    /// The detectors.
    pub kinds: &'a [DetectorKind],
    /// Where value ranges come from.
    pub range: RangePolicy,
    /// Series scored at the same time; 0 for one per core.
    pub jobs: usize,
}

/// The scores of one series: for each detector asked for, one per row.
pub type SeriesScores = Vec<Vec<f64>>;

/// Scores all series; `progress` is told of rows done, from several threads.
///
/// # Errors
/// The first error of any series.
pub fn score_all(
    all: &[Series],
    options: ScoringOptions<'_>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<SeriesScores>, BenchmarkError> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(options.jobs).build();
    let threads = threads.map_err(|error| BenchmarkError::new(format!("no threads to score in: {error}")))?;
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(all[index].rows.len()));
    let templates = Templates::new();
    let workspaces: Mutex<Vec<Workspace>> = Mutex::default();
    let workspace = || workspaces.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_default();
    // A bridge hands series out one by one in this order; splitting the list would start with short ones too.
    let scored: Result<Vec<(usize, SeriesScores)>, BenchmarkError> = threads.install(|| {
        let each = order.into_iter().par_bridge().map(|index| {
            let mut workspace = workspace();
            let scores = score_series(&all[index], options, &templates, &mut workspace, progress)
                .map_err(|error| BenchmarkError::new(format!("{}: {error}", all[index].name)))?;
            if let Ok(mut idle) = workspaces.lock() {
                idle.push(workspace);
            }
            Ok((index, scores))
        });
        each.collect()
    });
    let mut scored = scored?;
    scored.sort_by_key(|(index, _)| *index);
    Ok(scored.into_iter().map(|(_, scores)| scores).collect())
}

/// What comes of a record that no model sees.
const NOTHING: Pushed<'static> = Pushed { observed: &[], is_outgrown: false };

fn score_series(
    series: &Series,
    options: ScoringOptions<'_>,
    templates: &Templates,
    workspace: &mut Workspace,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<SeriesScores, BenchmarkError> {
    let row_count = series.rows.len();
    let mut detectors = Vec::with_capacity(options.kinds.len());
    for &kind in options.kinds {
        detectors.push((kind, Detector::new(kind, row_count)?));
    }
    let needs_model = options.kinds.iter().any(|kind| kind.needs_model());
    let mut stream = HtmStream::new(options.range.known_range(series)?, templates, workspace)?;
    let mut scores: SeriesScores = vec![Vec::with_capacity(row_count); options.kinds.len()];
    for (row_idx, row) in series.rows.iter().enumerate() {
        let alone =
            [Observation { timestamp: row.record.timestamp, value: row.record.value, raw_score: 0.0 }];
        let pushed = if needs_model { stream.push(row.record)? } else { NOTHING };
        for ((kind, detector), scores) in detectors.iter_mut().zip(&mut scores) {
            let given = if kind.needs_model() { pushed.observed } else { &alone[..] };
            let mut score = 0.0;
            // All but the last of them are overdue: their scores come too late for an alert.
            for observation in given {
                score = detector.score(observation)?;
            }
            scores.push(score);
        }
        if pushed.is_outgrown {
            let replayed = stream.start_over()?;
            for (kind, detector) in detectors.iter_mut().filter(|(kind, _)| kind.needs_model()) {
                *detector = Detector::new(*kind, row_count)?;
                for observation in replayed {
                    detector.score(observation)?;
                }
            }
        }
        if (row_idx + 1).is_multiple_of(PROGRESS_ROWS) {
            progress(PROGRESS_ROWS);
        }
    }
    progress(row_count % PROGRESS_ROWS);
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use htm_core::encoder::Record;

    use super::*;
    use crate::benchmark::series::SeriesRow;

    fn series(row_count: u32) -> Series {
        let row = |at: u32| SeriesRow {
            timestamp: String::new(),
            value: String::new(),
            record: Record { timestamp: i64::from(at) * 300, value: f64::from(at * 37 % 11) },
            is_labelled: false,
        };
        Series { name: "a".to_owned(), rows: (0..row_count).map(row).collect() }
    }

    fn scores(series: &Series, range: RangePolicy) -> SeriesScores {
        let kinds = [DetectorKind::Raw, DetectorKind::Likelihood, DetectorKind::HourlyZScore];
        let options = ScoringOptions { kinds: &kinds, range, jobs: 1 };
        let done = std::sync::atomic::AtomicUsize::new(0);
        let progress = |rows| {
            done.fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
        };
        let all = score_all(std::slice::from_ref(series), options, &progress).expect("scores");
        assert_eq!(done.into_inner(), series.rows.len());
        all.into_iter().next().expect("one series")
    }

    /// No look-ahead: whatever comes later, earlier scores stay. (NAB's likelihood is told the length of the file.)
    #[test]
    fn later_records_do_not_change_earlier_scores() {
        let (short, long) = (series(330), series(340));
        let (of_short, of_long) = (scores(&short, RangePolicy::Learned), scores(&long, RangePolicy::Learned));
        for kind in [0, 2] {
            assert_eq!(of_short[kind][..], of_long[kind][..330]);
        }
    }

    #[test]
    fn without_a_model_there_are_no_scores() {
        let found = scores(&series(300), RangePolicy::Learned);
        assert!(found[0][..287].iter().chain(&found[1][..287]).all(|&score| score.abs() < 1e-12));
        assert!(found[1][287..].iter().all(|&score| score > 0.01));
        let declared = scores(&series(300), RangePolicy::Declared);
        assert!((declared[0][0] - 1.0).abs() < 1e-12, "nothing is predicted before the first record");
    }
}
