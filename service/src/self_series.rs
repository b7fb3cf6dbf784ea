//! The engine's own figures as metrics of its own, as carbon keeps them under `carbon.agents`: every minute a line for each
//! goes to the data queue like anybody else's, and may be monitored.
//!
//! Names: `htmengine.agents.HOST.FIGURE`, with the figure's Prometheus name without its prefix and the value of its label
//! behind it, such as `htmengine.agents.web1.rejects_total.bad_value`. Of histograms their sum and their count.
//!
//! Invariant: it never waits for room in the queue; a minute that finds none is left out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::bus::Bus;
use crate::bus::message::DataMessage;
use crate::clock::Clock;
use crate::operations::Operations;
use crate::operations::overview::Gauge;
use crate::self_metrics;
use crate::stoppable_thread::StoppableThread;

/// As carbon's.
pub const INTERVAL: Duration = Duration::from_secs(60);
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Lines in one message; the original's listener never put more.
const MAX_LINES: usize = 200;

/// What it needs.
pub struct SelfSeries {
    /// Where lines go.
    pub bus: Arc<dyn Bus>,
    /// What asks for metrics and rows.
    pub operations: Operations,
    /// The time of the lines.
    pub clock: Arc<dyn Clock>,
    /// Where the scheduler leaves its figures.
    pub gauge: Gauge,
    /// This machine, for the names.
    pub host: String,
}

impl SelfSeries {
    /// Publishes at once, and then every `interval` until the thread is told to stop.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn spawn(self, interval: Duration) -> std::io::Result<StoppableThread> {
        self_metrics::switch_on();
        StoppableThread::start("self-series", move |stop| {
            let mut next = self.clock.monotonic();
            while !stop.load(Ordering::Relaxed) {
                if self.clock.monotonic() >= next {
                    next += interval;
                    self.publish();
                }
                thread::sleep(STOP_CHECK_INTERVAL);
            }
        })
    }

    fn publish(&self) {
        let text = match self.operations.figures_text(&self.gauge) {
            Ok(text) => text,
            Err(error) => {
                tracing::debug!("the engine's own series miss a minute: {error}");
                return;
            }
        };
        let lines = graphite_lines(&text, &self.host, self.clock.unix_seconds());
        for part in lines.chunks(MAX_LINES) {
            if self.bus.data().try_publish(DataMessage::new(part.to_vec())).is_err() {
                tracing::debug!("the engine's own series miss a minute: the data queue has no room");
                return;
            }
        }
    }
}

/// A Graphite line for each figure of a text in Prometheus' format.
fn graphite_lines(text: &str, host: &str, now: i64) -> Vec<Vec<u8>> {
    let line = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.strip_prefix("htmengine_")?;
        let (figure, label) = name.split_once('{').unwrap_or((name, ""));
        if figure.ends_with("_bucket") {
            return None;
        }
        let label = label.split('"').nth(1).map_or_else(String::new, |value| format!(".{value}"));
        Some(format!("htmengine.agents.{host}.{figure}{label} {value} {now}").into_bytes())
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_lines() {
        let text = "# TYPE htmengine_rows gauge\nhtmengine_rows 7\n\nhtmengine_rejects_total{reason=\"bad_value\"} 2\n\
                    htmengine_step_seconds_bucket{le=\"0.1\"} 3\nhtmengine_step_seconds_sum 0.5\nother 1\n";
        let lines: Vec<String> = graphite_lines(text, "h", 9)
            .into_iter()
            .map(|line| String::from_utf8(line).expect("text"))
            .collect();
        assert_eq!(
            lines,
            [
                "htmengine.agents.h.rows 7 9",
                "htmengine.agents.h.rejects_total.bad_value 2 9",
                "htmengine.agents.h.step_seconds_sum 0.5 9",
            ]
        );
    }
}
