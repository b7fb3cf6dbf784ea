//! The rows of a metric as columns for a chart: at most so many equal parts of a window, however many rows there are.
//!
//! A part keeps what an eye looks for: of values the mean, the smallest and the largest; of scores the largest, since an
//! average would wash out the peaks that they are drawn for.

use htm_core::ids::RowId;
use serde::Serialize;

use super::anomalies::{Episode, episodes};
use super::rows::{RowOrder, RowReader};
use super::{OperationError, Operations};
use crate::repository::elevated::ELEVATED_SCORE;
use crate::repository::metric::Metric;
use crate::repository::metric_data::{DataQuery, MetricRow};

/// Parts of a chart.
pub const MAX_CHART_POINTS: usize = 10_000;
/// Rows behind a chart; of a larger window the newest ones are drawn.
pub const MAX_CHART_ROWS: usize = 1_000_000;
/// Anomalies marked in a chart, the oddest.
pub const MAX_CHART_ANOMALIES: usize = 500;
/// Gaps that the usual interval is taken from.
const INTERVAL_GAPS: usize = 1_000;

/// Which part of a metric's rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartQuery {
    /// Not before this time; `None` from the first row.
    pub since: Option<i64>,
    /// Not after this time; `None` to the last row.
    pub until: Option<i64>,
    /// At most so many parts, 1 to [`MAX_CHART_POINTS`].
    pub points: usize,
    /// Detection scores from this on are marked.
    pub min_score: f64,
}

/// Columns of equal length, one entry a part; parts without a row are left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Columns {
    /// Time of the first row of the part, unix seconds.
    pub time: Vec<i64>,
    /// Mean value.
    pub value: Vec<f64>,
    /// Smallest value.
    pub value_min: Vec<f64>,
    /// Largest value.
    pub value_max: Vec<f64>,
    /// Largest raw anomaly score.
    pub raw: Vec<Option<f64>>,
    /// Largest anomaly score.
    pub anomaly: Vec<Option<f64>>,
    /// Largest detection score.
    pub detection: Vec<Option<f64>>,
    /// Largest alert score.
    pub alert: Vec<Option<f64>>,
}

/// A run of elevated rows, marked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Marked {
    /// Time of its first row.
    pub from: i64,
    /// Time of its last row.
    pub until: i64,
    /// Time of its largest score.
    pub peak_at: i64,
    /// Row of that score.
    pub rowid: RowId,
    /// Its largest detection score.
    pub max_score: f64,
    /// Value of that row.
    pub value: f64,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Chart {
    /// Seconds of a part; 0 where every row is a part of its own.
    pub step_s: i64,
    /// Rows in the window.
    pub rows: usize,
    /// Time of the first row.
    pub from: Option<i64>,
    /// Time of the last row.
    pub until: Option<i64>,
    /// Usual seconds between two rows.
    pub usual_interval_s: Option<i64>,
    /// What lies in the parts.
    #[serde(flatten)]
    pub columns: Columns,
    /// The oddest rows, in their order.
    pub anomalies: Vec<Marked>,
}

impl Operations {
    /// The columns of one metric.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a number of points out of bounds, or from the database.
    pub fn chart(&self, metric: &Metric, query: &ChartQuery) -> Result<Chart, OperationError> {
        if !(1..=MAX_CHART_POINTS).contains(&query.points) {
            let found = query.points;
            return Err(OperationError::invalid(format!(
                "points is {found}; expected 1 to {MAX_CHART_POINTS}"
            )));
        }
        let wanted = DataQuery {
            since: query.since,
            until: query.until,
            limit: Some(MAX_CHART_ROWS),
            ..DataQuery::default()
        };
        let mut reader = RowReader::new(metric.uid.clone(), wanted, RowOrder::NewestFirst);
        let mut rows = Vec::new();
        loop {
            let page = reader.next_page(self.repository())?;
            if page.is_empty() {
                break;
            }
            rows.extend(page.iter().map(Point::of));
        }
        rows.reverse();
        Ok(chart_of(&rows, query))
    }
}

/// What a chart needs of a row; a few of a hundred bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    row_id: RowId,
    timestamp: i64,
    value: f64,
    raw: Option<f64>,
    anomaly: Option<f64>,
    detection: Option<f64>,
    alert: Option<f64>,
}

impl Point {
    fn of(row: &MetricRow) -> Self {
        Self {
            row_id: row.row_id,
            timestamp: row.timestamp,
            value: row.value,
            raw: row.raw_anomaly_score,
            anomaly: row.anomaly_score,
            detection: row.detection.map(|detection| detection.score),
            alert: row.detection.map(|detection| detection.alert_score),
        }
    }
}

fn chart_of(rows: &[Point], query: &ChartQuery) -> Chart {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Chart::default() };
    let points = i64::try_from(query.points).unwrap_or(1);
    let is_fine = rows.len() <= query.points;
    let step_s = if is_fine { 0 } else { (last.timestamp - first.timestamp) / points + 1 };
    let mut columns = Columns::default();
    let is_same_part = |one: &Point, other: &Point| {
        step_s > 0
            && (one.timestamp - first.timestamp) / step_s == (other.timestamp - first.timestamp) / step_s
    };
    for part in rows.chunk_by(is_same_part) {
        columns.push(part);
    }
    Chart {
        step_s,
        rows: rows.len(),
        from: Some(first.timestamp),
        until: Some(last.timestamp),
        usual_interval_s: usual_interval(rows),
        columns,
        anomalies: marked(rows, query.min_score.max(ELEVATED_SCORE)),
    }
}

impl Columns {
    fn push(&mut self, part: &[Point]) {
        let Some(first) = part.first() else { return };
        let count = u32::try_from(part.len()).map_or(f64::INFINITY, f64::from);
        // Divided first: the sum of large values need not be finite.
        self.time.push(first.timestamp);
        self.value.push(if part.len() == 1 {
            first.value
        } else {
            part.iter().map(|it| it.value / count).sum()
        });
        self.value_min.push(part.iter().map(|it| it.value).fold(f64::INFINITY, f64::min));
        self.value_max.push(part.iter().map(|it| it.value).fold(f64::NEG_INFINITY, f64::max));
        self.raw.push(largest(part, |it| it.raw));
        self.anomaly.push(largest(part, |it| it.anomaly));
        self.detection.push(largest(part, |it| it.detection));
        self.alert.push(largest(part, |it| it.alert));
    }
}

fn largest(part: &[Point], score: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
    part.iter().filter_map(score).reduce(f64::max)
}

/// The middle one of the newest gaps.
fn usual_interval(rows: &[Point]) -> Option<i64> {
    let newest = &rows[rows.len().saturating_sub(INTERVAL_GAPS + 1)..];
    let mut gaps: Vec<i64> = newest.windows(2).map(|pair| pair[1].timestamp - pair[0].timestamp).collect();
    if gaps.is_empty() {
        return None;
    }
    let middle = gaps.len() / 2;
    Some(*gaps.select_nth_unstable(middle).1)
}

fn marked(rows: &[Point], min_score: f64) -> Vec<Marked> {
    let elevated = rows.iter().filter_map(|row| {
        let score = row.detection.filter(|score| *score >= min_score)?;
        Some((row.row_id, row.timestamp, score))
    });
    let mut found: Vec<Episode> = episodes(elevated);
    found.sort_by(|one, other| other.max_score.total_cmp(&one.max_score));
    found.truncate(MAX_CHART_ANOMALIES);
    found.sort_by_key(|episode| episode.peak);
    let value_of =
        |peak: RowId| rows.binary_search_by_key(&peak, |row| row.row_id).ok().map(|at| rows[at].value);
    let mark = |episode: Episode| {
        Some(Marked {
            from: episode.from,
            until: episode.until,
            peak_at: episode.peak_at,
            rowid: episode.peak,
            max_score: episode.max_score,
            value: value_of(episode.peak)?,
        })
    };
    found.into_iter().filter_map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(count: i64) -> Vec<Point> {
        let point = |at: i64| Point {
            row_id: RowId(at + 1),
            timestamp: 1_000 + 300 * at,
            value: if at % 2 == 0 { 1.0 } else { 3.0 },
            raw: Some(0.5),
            anomaly: None,
            detection: Some(if at == 57 { 0.4 } else { 0.01 }),
            alert: Some(0.0),
        };
        (0..count).map(point).collect()
    }

    fn query(points: usize) -> ChartQuery {
        ChartQuery { since: None, until: None, points, min_score: 0.135 }
    }

    #[test]
    fn few_rows_are_parts_of_their_own() {
        let chart = chart_of(&points(100), &query(100));
        assert_eq!((chart.step_s, chart.rows, chart.columns.time.len()), (0, 100, 100));
        assert_eq!(chart.columns.value_min, chart.columns.value_max);
        assert_eq!(chart.usual_interval_s, Some(300));
        assert_eq!(chart_of(&[], &query(100)), Chart::default());
    }

    #[test]
    fn many_rows_keep_their_extremes_and_their_highest_scores() {
        let chart = chart_of(&points(1_000), &query(100));
        assert!((90..=100).contains(&chart.columns.time.len()), "{}", chart.columns.time.len());
        let columns = &chart.columns;
        assert!(columns.value_min.iter().all(|&value| value.to_bits() == 1_f64.to_bits()));
        assert!(columns.value_max.iter().all(|&value| value.to_bits() == 3_f64.to_bits()));
        assert!(columns.value.iter().all(|value| (value - 2.0).abs() < 0.3), "{:?}", columns.value);
        assert_eq!(columns.detection.iter().filter(|score| **score == Some(0.4)).count(), 1);
        assert!(columns.anomaly.iter().all(Option::is_none));
        let [mark] = chart.anomalies[..] else { panic!("{:?}", chart.anomalies) };
        assert_eq!((mark.rowid, mark.peak_at, mark.max_score), (RowId(58), 1_000 + 300 * 57, 0.4));
        assert!((mark.value - 3.0).abs() < 1e-12);
    }
}
