//! The picture of a run: memory, latency, what waits and the processors, one above the other, over the same hours.

use std::error::Error;
use std::io;
use std::path::Path;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::element::PathElement;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::series::LineSeries;
use plotters::style::{BLUE, GREEN, RED, RGBColor, WHITE};

use crate::moment::Moment;

const SIZE_PIXELS: (u32, u32) = (1_200, 1_200);
const MARGIN_PIXELS: u32 = 10;
const LABEL_PIXELS: u32 = 60;
/// Above the highest point.
const HEADROOM: f64 = 1.1;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Line = (&'static str, RGBColor, fn(&Moment) -> f64);

const TRACKS: [(&str, &[Line]); 4] = [
    (
        "memory, MiB",
        &[
            ("resident", BLUE, |moment| moment.resident_mib),
            ("anonymous", GREEN, |moment| moment.anonymous_mib),
            ("models, as the engine counts", RED, |moment| moment.models_mib),
        ],
    ),
    (
        "from the socket to live results, ms",
        &[("p50 of ten seconds", BLUE, |moment| moment.p50_ms), ("p99", RED, |moment| moment.p99_ms)],
    ),
    (
        "what waits",
        &[
            ("rows without scores", BLUE, |moment| moment.unscored),
            ("messages in queues", RED, |moment| moment.queued),
        ],
    ),
    (
        "processors",
        &[
            ("kept busy by the engine", BLUE, |moment| moment.cores),
            ("given to others by the host", RED, |moment| moment.stolen_cores),
        ],
    ),
];

/// Draws it.
pub(crate) fn draw(folder: &Path, moments: &[Moment]) -> io::Result<()> {
    let path = folder.join("soak.svg");
    let failed = |error: Box<dyn Error>| io::Error::other(format!("{}: {error}", path.display()));
    let root = SVGBackend::new(&path, SIZE_PIXELS).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(error.into()))?;
    for (area, (title, lines)) in root.split_evenly((TRACKS.len(), 1)).iter().zip(TRACKS) {
        draw_track(area, title, lines, moments).map_err(failed)?;
    }
    root.present().map_err(|error| failed(error.into()))
}

fn draw_track(
    area: &Area<'_>,
    title: &str,
    lines: &[Line],
    moments: &[Moment],
) -> Result<(), Box<dyn Error>> {
    let minutes = moments.last().map_or(1.0, |moment| moment.elapsed_s / 60.0);
    let values = lines.iter().flat_map(|(_, _, figure)| moments.iter().map(figure));
    let highest = values.fold(1.0, f64::max) * HEADROOM;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(MARGIN_PIXELS)
        .x_label_area_size(LABEL_PIXELS / 2)
        .y_label_area_size(LABEL_PIXELS)
        .build_cartesian_2d(0.0..minutes, 0.0..highest)
        .map_err(|error| error.to_string())?;
    chart.configure_mesh().x_desc("minutes").draw().map_err(|error| error.to_string())?;
    for (name, color, figure) in lines {
        let points = moments.iter().map(|moment| (moment.elapsed_s / 60.0, figure(moment)));
        chart
            .draw_series(LineSeries::new(points, color))
            .map_err(|error| error.to_string())?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart.configure_series_labels().border_style(WHITE).draw().map_err(|error| error.to_string())?;
    Ok(())
}
