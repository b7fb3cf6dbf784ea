//! A picture of one series: values with windows and labels above, the scores of each detector with its threshold and
//! alerts below. SVG, so that it opens in any browser.
//!
//! Long series are drawn as the range of values in each stretch of some pixels, so a picture stays small.

use std::path::Path;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::prelude::{Cartesian2d, DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::series::LineSeries;
use plotters::style::{BLACK, BLUE, Color, GREEN, RED, WHITE};

use super::BenchmarkError;
use super::alarms::Judged;
use crate::timestamp::format_seconds;

const WIDTH_PIXELS: u32 = 1400;
const VALUES_HEIGHT_PIXELS: u32 = 320;
const TRACK_HEIGHT_PIXELS: u32 = 130;
/// Stretches a long series is cut into.
const MAX_STRETCHES: usize = 1300;
const LABEL_PIXELS: u32 = 50;
const MARGIN_PIXELS: u32 = 8;

/// The scores of one detector.
#[derive(Debug, Clone, Copy)]
pub struct Track<'a> {
    /// The detector's.
    pub name: &'a str,
    /// Scores from here on are alerts.
    pub threshold: f64,
    /// With windows and labels, which all tracks share.
    pub judged: Judged<'a>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the picture into a file; without tracks there is none. `values` has one for each row of the tracks.
///
/// # Errors
/// If the file cannot be written.
///
/// # Panics
/// If there are fewer values than labels.
pub fn draw(path: &Path, title: &str, values: &[f64], tracks: &[Track<'_>]) -> Result<(), BenchmarkError> {
    let track_count = u32::try_from(tracks.len()).unwrap_or(u32::MAX);
    let height = VALUES_HEIGHT_PIXELS + TRACK_HEIGHT_PIXELS.saturating_mul(track_count);
    let failed = |error: &dyn std::fmt::Display| {
        BenchmarkError::of_file(path, format_args!("cannot be drawn: {error}"))
    };
    let Some(first) = tracks.first() else { return Ok(()) };
    let root = SVGBackend::new(path, (WIDTH_PIXELS, height)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let (upper, lower) = root.split_vertically(VALUES_HEIGHT_PIXELS);
    draw_values(&upper, title, values, first.judged).map_err(|reason| failed(&reason))?;
    for (area, track) in lower.split_evenly((tracks.len(), 1)).iter().zip(tracks) {
        draw_track(area, *track).map_err(|reason| failed(&reason))?;
    }
    root.present().map_err(|error| failed(&error))
}

fn draw_values(area: &Area<'_>, title: &str, values: &[f64], judged: Judged<'_>) -> Result<(), String> {
    let (min, max) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &value| (min.min(value), max.max(value)));
    // A constant series still needs an axis with a height.
    let padding = if max > min { (max - min) * 0.05 } else { 1.0 };
    let mut chart = chart(area, title, judged.timestamps, min - padding, max + padding)?;
    shade_windows(&mut chart, judged, min - padding, max + padding)?;
    let line = envelope(values).into_iter().map(|(row_idx, value)| (time_at(judged, row_idx), value));
    chart.draw_series(LineSeries::new(line, &BLUE)).map_err(in_words)?;
    let labelled = judged.labels.iter().enumerate().filter(|(_, is_labelled)| **is_labelled);
    let dots = labelled
        .map(|(row_idx, _)| Circle::new((time_at(judged, row_idx), values[row_idx]), 2, RED.filled()));
    chart.draw_series(dots).map_err(in_words)?;
    Ok(())
}

fn draw_track(area: &Area<'_>, track: Track<'_>) -> Result<(), String> {
    let judged = track.judged;
    let title = format!("{} (alerts from {} on)", track.name, track.threshold);
    let mut chart = chart(area, &title, judged.timestamps, 0.0, 1.05)?;
    shade_windows(&mut chart, judged, 0.0, 1.05)?;
    let line = envelope(judged.scores).into_iter().map(|(row_idx, score)| (time_at(judged, row_idx), score));
    chart.draw_series(LineSeries::new(line, &BLACK)).map_err(in_words)?;
    let last = judged.timestamps.len().saturating_sub(1);
    let ends = [(time_at(judged, 0), track.threshold), (time_at(judged, last), track.threshold)];
    chart.draw_series([PathElement::new(ends, RED.mix(0.6))]).map_err(in_words)?;
    let alerts = judged.scores.iter().enumerate().filter(|(_, score)| **score >= track.threshold);
    let dots =
        alerts.map(|(row_idx, &score)| Circle::new((time_at(judged, row_idx), score), 2, RED.filled()));
    chart.draw_series(dots).map_err(in_words)?;
    Ok(())
}

fn chart<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    timestamps: &[i64],
    min: f64,
    max: f64,
) -> Result<Chart<'a, 'b>, String> {
    let times = || timestamps.iter().copied();
    let first = times().min().unwrap_or(0);
    let last = times().max().unwrap_or(0).max(first + 1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(MARGIN_PIXELS)
        .x_label_area_size(LABEL_PIXELS / 2)
        .y_label_area_size(LABEL_PIXELS * 2)
        .build_cartesian_2d(axis(first)..axis(last), min..max)
        .map_err(in_words)?;
    chart
        .configure_mesh()
        .x_labels(10)
        .y_labels(4)
        .light_line_style(WHITE)
        .x_label_formatter(&|time| date_text(*time))
        .draw()
        .map_err(in_words)?;
    Ok(chart)
}

fn shade_windows(chart: &mut Chart<'_, '_>, judged: Judged<'_>, min: f64, max: f64) -> Result<(), String> {
    let shades = judged.windows.iter().map(|window| {
        let corners = [(time_at(judged, window.first), min), (time_at(judged, window.last), max)];
        Rectangle::new(corners, GREEN.mix(0.2).filled())
    });
    chart.draw_series(shades).map_err(in_words)?;
    Ok(())
}

/// Row and value of the lowest and the highest point of each stretch, in order of rows.
fn envelope(values: &[f64]) -> Vec<(usize, f64)> {
    let stretch = values.len().div_ceil(MAX_STRETCHES).max(1);
    let mut points = Vec::with_capacity(2 * values.len().div_ceil(stretch));
    for (stretch_idx, part) in values.chunks(stretch).enumerate() {
        let ends = part.iter().copied().enumerate();
        let lowest = ends.clone().min_by(|left, right| left.1.total_cmp(&right.1));
        let highest = ends.max_by(|left, right| left.1.total_cmp(&right.1));
        let mut both: Vec<(usize, f64)> = lowest.into_iter().chain(highest).collect();
        both.sort_by_key(|(offset, _)| *offset);
        both.dedup_by_key(|(offset, _)| *offset);
        points.extend(both.into_iter().map(|(offset, value)| (stretch_idx * stretch + offset, value)));
    }
    points
}

fn time_at(judged: Judged<'_>, row_idx: usize) -> f64 {
    judged.timestamps.get(row_idx).copied().map_or(0.0, axis)
}

#[expect(clippy::cast_precision_loss, reason = "seconds of the years 0 to 9999 are exact")]
fn axis(unix_seconds: i64) -> f64 {
    unix_seconds as f64
}

fn date_text(time: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a tick between two times of the series")]
    let text = format_seconds(time as i64);
    text.map(|text| text.chars().take("YYYY-MM-DD HH:MM".len()).collect()).unwrap_or_default()
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::window::Window;

    #[test]
    fn a_long_series_keeps_its_extremes() {
        let mut values = vec![0.0; 100_000];
        (values[77_777], values[77_778]) = (9.0, -9.0);
        let points = envelope(&values);
        assert!(points.len() <= 2 * MAX_STRETCHES);
        assert!(points.contains(&(77_777, 9.0)) && points.contains(&(77_778, -9.0)));
        assert!(points.is_sorted_by_key(|(row_idx, _)| *row_idx));
        assert_eq!(envelope(&[1.0, 2.0]), [(0, 1.0), (1, 2.0)]);
    }

    #[test]
    fn a_picture_shows_windows_labels_scores_and_alerts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.svg");
        let timestamps: Vec<i64> = (0..100).map(|row| row * 300).collect();
        let labels: Vec<bool> = (0..100).map(|row| row == 50).collect();
        let scores: Vec<f64> = (0..100).map(|row| if row == 51 { 0.9 } else { 0.1 }).collect();
        let windows = [Window { first: 45, last: 55 }];
        let judged = Judged { scores: &scores, timestamps: &timestamps, labels: &labels, windows: &windows };
        let track = Track { name: "likelihood", threshold: 0.5, judged };
        draw(&path, "a.csv", &vec![5.0; 100], &[track, track]).expect("drawn");
        let text = std::fs::read_to_string(&path).expect("written");
        for expected in
            ["<svg", "a.csv", "likelihood (alerts from 0.5 on)", "1970-01-01", "<polyline", "<rect"]
        {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        // One label, and one alert in each of two tracks.
        assert_eq!(text.matches("<circle").count(), 3);
        let error = draw(Path::new("/nonexistent/a.svg"), "a", &[1.0; 100], &[track]).expect_err("no folder");
        assert!(error.to_string().starts_with("/nonexistent/a.svg: cannot be drawn"), "{error}");
    }
}
