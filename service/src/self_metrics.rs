//! The engine's own figures, for Prometheus: counted where things happen, gathered and written when somebody asks.
//!
//! Counters and histograms are this process's since its start; where roles run in processes of their own, each counts what
//! it does itself. Gauges are of the moment they are asked for ([`Gauges`]). Counting is switched on by [`switch_on`],
//! once for a process; before, a count costs the look at an atomic variable and goes nowhere.
//!
//! Invariant: labels take only values from this source or the settings, so the number of series is bounded.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::control::EngineFigures;
use crate::operations::overview::{MetricCounts, RowFigures};

/// Lines taken over TCP and UDP, good or bad.
const LINES: &str = "htmengine_lines_total";
/// Messages to the data queue.
const BATCHES: &str = "htmengine_batches_total";
/// Times that reading was paused because the data queue was full.
const PAUSES: &str = "htmengine_back_pressure_pauses_total";
/// Refused lines by reason.
const REJECTS: &str = "htmengine_rejects_total";
/// Rows stored.
const ROWS_STORED: &str = "htmengine_rows_stored_total";
/// Rows completed with scores.
const ROWS_SCORED: &str = "htmengine_rows_scored_total";
/// Rows stepped for the first time.
const STEPS: &str = "htmengine_steps_total";
/// Seconds of a step.
const STEP_SECONDS: &str = "htmengine_step_seconds";
/// Seconds from a sample's own time to its score.
const SCORE_DELAY: &str = "htmengine_score_delay_seconds";
/// Seconds of storing a group of rows.
const STORE_SECONDS: &str = "htmengine_store_seconds";
/// Seconds of writing a model file.
const SAVE_SECONDS: &str = "htmengine_model_save_seconds";
/// Calls to the database that were repeated.
const DATABASE_RETRIES: &str = "htmengine_database_retries_total";
/// Times that the broker was away.
const BUS_ERRORS: &str = "htmengine_bus_errors_total";
/// Requests answered, by class of status.
const REQUESTS: &str = "htmengine_http_requests_total";
/// Seconds of a request.
const REQUEST_SECONDS: &str = "htmengine_http_request_seconds";

/// Samples older than this are history that somebody sends again; their age is no delay of ours.
pub const MAX_DELAY_S: i64 = 3_600;

/// Bounds of the histograms, in seconds, each unlike its neighbour by a factor of about three.
const FINE_BOUNDS: [f64; 10] = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0];
const COARSE_BOUNDS: [f64; 11] = [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count; again does nothing. Returns whether there is something to write.
pub fn switch_on() -> bool {
    HANDLE.get_or_init(install).is_some()
}

fn install() -> Option<PrometheusHandle> {
    let fine = |name: &str| Matcher::Full(name.to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(fine(STEP_SECONDS), &FINE_BOUNDS)
        .and_then(|builder| builder.set_buckets(&COARSE_BOUNDS));
    let handle = match builder.map(PrometheusBuilder::install_recorder) {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) | Err(error) => {
            tracing::warn!("there are no figures for Prometheus: {error}");
            return None;
        }
    };
    describe();
    Some(handle)
}

/// All figures in Prometheus' text format, version 0.0.4.
pub fn written(gauges: &Gauges<'_>) -> String {
    let Some(Some(handle)) = HANDLE.get() else { return String::new() };
    gauges.set();
    handle.run_upkeep();
    handle.render()
}

/// What is asked for at the moment of writing.
#[derive(Debug, Clone, Copy)]
pub struct Gauges<'a> {
    /// Metrics by state.
    pub metrics: &'a MetricCounts,
    /// Metrics beyond which samples make no more; 0 for no limit.
    pub max_metrics: usize,
    /// Rows.
    pub rows: &'a RowFigures,
    /// Figures of the scheduler's process, if it leaves any here.
    pub engine: Option<&'a EngineFigures>,
}

impl Gauges<'_> {
    fn set(&self) {
        let MetricCounts { total: _, active, learning, create_pending, pending_data, error, unmonitored } =
            *self.metrics;
        let by_state = [
            ("active", active - learning.min(active)),
            ("learning", learning),
            ("creating", create_pending),
            ("waiting", pending_data),
            ("error", error),
            ("unmonitored", unmonitored),
        ];
        for (state, count) in by_state {
            gauge!("htmengine_metrics", "state" => state).set(rounded(count as u64));
        }
        gauge!("htmengine_metrics_limit").set(rounded(self.max_metrics as u64));
        gauge!("htmengine_rows_unscored").set(rounded(self.rows.unscored.unsigned_abs()));
        gauge!("htmengine_rows").set(rounded(self.rows.stored_total.unsigned_abs()));
        let Some(engine) = self.engine else { return };
        for (queue, depth) in
            [("data", engine.data_queue), ("hints", engine.hints_queue), ("scores", engine.scores_queue)]
        {
            gauge!("htmengine_queue_depth", "queue" => queue).set(rounded(depth as u64));
        }
        let models = &engine.models;
        gauge!("htmengine_models_resident").set(rounded(models.resident_models as u64));
        gauge!("htmengine_models_known").set(rounded(models.known_models as u64));
        gauge!("htmengine_models_hungry").set(rounded((models.fresh_models + models.backlog_models) as u64));
        gauge!("htmengine_resident_bytes").set(rounded(models.resident_bytes as u64));
        gauge!("htmengine_memory_budget_bytes").set(rounded(models.memory_budget_bytes as u64));
        gauge!("htmengine_model_file_bytes").set(rounded(models.model_file_bytes));
        counter!("htmengine_swaps_in_total").absolute(models.swaps_in);
        counter!("htmengine_swaps_out_total").absolute(models.swaps_out);
        counter!("htmengine_replayed_rows_total").absolute(models.replayed_rows);
        counter!("htmengine_checkpoints_total").absolute(models.checkpoints);
        counter!("htmengine_failed_checkpoints_total").absolute(models.failed_checkpoints);
        counter!("htmengine_models_dropped_total").absolute(models.dropped);
        counter!("htmengine_models_quarantined_total").absolute(models.quarantined);
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn rounded(count: u64) -> f64 {
    count as f64
}

/// Lines were framed.
pub fn count_lines(lines: u64) {
    counter!(LINES).increment(lines);
}

/// Messages went to the data queue.
pub fn count_batches(batches: u64) {
    counter!(BATCHES).increment(batches);
}

/// Reading was paused.
pub fn count_pause() {
    counter!(PAUSES).increment(1);
}

/// Lines were refused.
pub fn count_rejects(reason: &'static str, lines: u64) {
    counter!(REJECTS, "reason" => reason).increment(lines);
}

/// Rows were stored, and committed.
pub fn count_stored(rows: usize) {
    counter!(ROWS_STORED).increment(rows as u64);
}

/// A turn of the storer stored all it had received.
pub fn count_store_turn(elapsed: Duration) {
    histogram!(STORE_SECONDS).record(elapsed);
}

/// Rows of one share were stepped.
pub fn count_steps(rows: usize, elapsed: Duration) {
    let Ok(count) = u32::try_from(rows) else { return };
    if count > 0 {
        counter!(STEPS).increment(u64::from(count));
        histogram!(STEP_SECONDS).record_many((elapsed / count).as_secs_f64(), rows);
    }
}

/// Rows of one metric were completed; the last of them is `age_s` old.
pub fn count_scored(rows: usize, age_s: i64) {
    counter!(ROWS_SCORED).increment(rows as u64);
    if let Ok(age) = u32::try_from(age_s)
        && age_s <= MAX_DELAY_S
    {
        histogram!(SCORE_DELAY).record(f64::from(age));
    }
}

/// A model file was written.
pub fn count_save(elapsed: Duration) {
    histogram!(SAVE_SECONDS).record(elapsed);
}

/// A call to the database is repeated.
pub fn count_database_retry() {
    counter!(DATABASE_RETRIES).increment(1);
}

/// The broker did not take or give something.
pub fn count_bus_error() {
    counter!(BUS_ERRORS).increment(1);
}

/// A request was answered with this status.
pub fn count_request(status: u16, elapsed: Duration) {
    let class = match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    counter!(REQUESTS, "status" => class).increment(1);
    histogram!(REQUEST_SECONDS).record(elapsed);
}

fn describe() {
    for (name, text) in [
        (LINES, "Lines taken over TCP and UDP, good or bad"),
        (BATCHES, "Messages of lines handed to the data queue"),
        (PAUSES, "Times that reading paused because the data queue was full"),
        (REJECTS, "Refused lines and samples by reason"),
        (ROWS_STORED, "Rows stored"),
        (ROWS_SCORED, "Rows completed with their scores"),
        (STEPS, "Rows that models stepped for the first time"),
        (DATABASE_RETRIES, "Calls to the database repeated after a transient failure"),
        (BUS_ERRORS, "Times that the broker took or gave nothing"),
        (REQUESTS, "HTTP requests answered, by class of status"),
        ("htmengine_swaps_in_total", "Models opened from their file"),
        ("htmengine_swaps_out_total", "Models that left memory"),
        ("htmengine_replayed_rows_total", "Rows stepped again after a model was opened"),
        ("htmengine_checkpoints_total", "Model files written"),
        ("htmengine_failed_checkpoints_total", "Model files that could not be written"),
        ("htmengine_models_dropped_total", "Models that left memory without being saved"),
        ("htmengine_models_quarantined_total", "Model files put aside because they could not be used"),
    ] {
        describe_counter!(name, text);
    }
    for (name, unit, text) in [
        (STEP_SECONDS, Unit::Seconds, "Time of one step of a model, mean of each share"),
        (
            SCORE_DELAY,
            Unit::Seconds,
            "Age of a sample when its score was committed; samples of the last hour",
        ),
        (STORE_SECONDS, Unit::Seconds, "Time of storing a group of rows"),
        (SAVE_SECONDS, Unit::Seconds, "Time of writing a model file"),
        (REQUEST_SECONDS, Unit::Seconds, "Time to the head of an HTTP answer"),
    ] {
        describe_histogram!(name, unit, text);
    }
    for (name, text) in [
        ("htmengine_metrics", "Metrics by state"),
        ("htmengine_metrics_limit", "Metrics beyond which samples make no more; 0 for no limit"),
        ("htmengine_rows", "Rows stored so far, deleted ones too"),
        ("htmengine_rows_unscored", "Rows of active metrics that wait for their scores"),
        ("htmengine_queue_depth", "Messages that wait in a queue"),
        ("htmengine_models_resident", "Models in memory"),
        ("htmengine_models_known", "Models stepped since the start"),
        ("htmengine_models_hungry", "Models that have rows to step"),
        ("htmengine_resident_bytes", "Memory of models"),
        ("htmengine_memory_budget_bytes", "Memory that models may take"),
        ("htmengine_model_file_bytes", "Size of all model files, roughly"),
    ] {
        describe_gauge!(name, text);
    }
}
