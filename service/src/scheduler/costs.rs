//! What stepping and saving one model cost, measured, and after how many rows saving pays.
//!
//! Invariant: costs decide when a model is saved, never what it says of a row.

use std::time::Duration;

use htm_core::ids::ModelId;

/// Weight of a new measurement: one outlier moves a cost by an eighth of its distance.
const SMOOTHING: f64 = 0.125;
/// Below this nothing is measured reliably, and a clock that stands still must not divide by zero.
const MIN_SECONDS: f64 = 1e-6;
/// Before anything was measured: a step of a young model, and a synced file of a few hundred KiB.
const TYPICAL_STEP_S: f64 = 100e-6;
const TYPICAL_CHECKPOINT_S: f64 = 3e-3;

/// How long all workers together would take, after a crash, to step the models in memory over the rows since their files.
const RECOVERY_TIME: Duration = Duration::from_secs(10);
/// Saving a model must spare a crash so many times the time that it takes: it is done for certain, and a crash hardly ever comes.
const MIN_SPARED: u32 = 2;

/// A smoothed duration.
#[derive(Debug, Clone, Copy, Default)]
struct Smoothed(Option<f64>);

impl Smoothed {
    fn add(&mut self, seconds: f64) {
        let seconds = seconds.max(MIN_SECONDS);
        self.0 = Some(self.0.map_or(seconds, |old| old + (seconds - old) * SMOOTHING));
    }
}

/// Costs of one model, or of models in general.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Costs {
    step: Smoothed,
    checkpoint: Smoothed,
}

impl Costs {
    /// Notes that stepping `rows` rows took so long.
    pub(super) fn add_steps(&mut self, rows: usize, elapsed: Duration) {
        if let Ok(rows) = u32::try_from(rows)
            && rows > 0
        {
            self.step.add(elapsed.as_secs_f64() / f64::from(rows));
        }
    }

    /// Notes that saving took so long.
    pub(super) fn add_checkpoint(&mut self, elapsed: Duration) {
        self.checkpoint.add(elapsed.as_secs_f64());
    }

    /// One step, if any was measured.
    pub(super) fn step(&self) -> Option<Duration> {
        self.step.0.map(Duration::from_secs_f64)
    }

    /// Outstanding rows from which a model that leaves memory is better saved than dropped; at least 1.
    ///
    /// Take a model that leaves memory after every row and is saved at every K-th. Its swap-ins step 0, 1, ... K-1
    /// outstanding rows again: K(K-1)/2 steps and one checkpoint for K rows, so each row costs
    /// (K-1)/2 * step + checkpoint / K on top of its own step. That is least where step/2 = checkpoint / K^2,
    /// at K = sqrt(2 * checkpoint / step).
    pub(super) fn rows_worth_a_checkpoint(&self, typical: &Self) -> f64 {
        (2.0 * self.checkpoint_s(typical) / self.step_s(typical)).sqrt().max(1.0)
    }

    /// Whether a model that stays in memory is better saved after so many rows, for all `models` that are there would have to
    /// be stepped over the rows since their files, by `workers` threads, if the process were killed. Models are saved at
    /// different times, so that a crash costs each half of the most on average.
    pub(super) fn is_saving_due(&self, typical: &Self, rows: i64, models: usize, workers: usize) -> bool {
        let whole = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let most = RECOVERY_TIME.saturating_mul(2).saturating_mul(whole(workers)) / whole(models);
        let least = Duration::from_secs_f64(self.checkpoint_s(typical)).saturating_mul(MIN_SPARED);
        let step = Duration::from_secs_f64(self.step_s(typical));
        step.saturating_mul(u32::try_from(rows.max(0)).unwrap_or(u32::MAX)) >= most.max(least)
    }

    fn step_s(&self, typical: &Self) -> f64 {
        self.step.0.or(typical.step.0).unwrap_or(TYPICAL_STEP_S)
    }

    fn checkpoint_s(&self, typical: &Self) -> f64 {
        self.checkpoint.0.or(typical.checkpoint.0).unwrap_or(TYPICAL_CHECKPOINT_S)
    }
}

/// 0.5 to 1.5, the same for a model in every life: what its first interval is scaled by, so that models that started
/// together are not all saved together.
pub(super) fn first_interval_scale(id: &ModelId) -> f64 {
    // FNV-1a; any hash that spreads ids evenly will do.
    let hash = id
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    0.5 + f64::from(hash >> 16) / 65_535.0
}

/// `rows` scaled, as a number of rows from 1 to `most`.
pub(super) fn whole_rows(rows: f64, most: i64) -> i64 {
    // Float to integer casts saturate, so that a wild measurement cannot wrap.
    #[expect(clippy::cast_possible_truncation, reason = "saturates; far fewer rows than that are meant")]
    let rows = rows.round() as i64;
    rows.clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(step_us: u64, checkpoint_us: u64) -> Costs {
        let mut costs = Costs::default();
        costs.add_steps(1, Duration::from_micros(step_us));
        costs.add_checkpoint(Duration::from_micros(checkpoint_us));
        costs
    }

    #[test]
    fn saving_pays_later_the_dearer_it_is() {
        let typical = Costs::default();
        let rows =
            |step, checkpoint| whole_rows(costs(step, checkpoint).rows_worth_a_checkpoint(&typical), 1000);
        assert_eq!(rows(100, 5_000), 10);
        assert_eq!(rows(50, 10_000), 20);
        assert_eq!(rows(2_000, 100), 1, "never less than one row");
        assert_eq!(rows(1, 60_000_000), 1000, "never more than the setting");
    }

    /// By trying every K instead of deriving it.
    #[test]
    fn no_other_number_of_rows_is_cheaper() {
        let cost = |k: u32| (f64::from(k) - 1.0) / 2.0 * 80.0 + 4_000.0 / f64::from(k);
        let best = (1..200).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).expect("some");
        let derived = costs(80, 4_000).rows_worth_a_checkpoint(&Costs::default());
        assert_eq!(i64::from(best), whole_rows(derived, 1000));
    }

    #[test]
    fn the_more_models_the_earlier_they_are_saved() {
        let costs = costs(100, 3_000);
        let first = |models, workers| {
            let is_due = |rows: &i64| costs.is_saving_due(&Costs::default(), *rows, models, workers);
            (0..100_000).find(is_due)
        };
        assert_eq!(first(1_000, 1), Some(200), "half of 200 rows of 1,000 models, in 10 s");
        assert_eq!(first(1_000, 4), Some(800), "four can step four times as many");
        assert_eq!(first(100_000, 1), Some(60), "never before it spares twice what it costs");
        assert_eq!(first(1, 1), None, "one model is stepped again at once");
    }

    #[test]
    fn first_intervals_spread_evenly() {
        let scales: Vec<f64> = (0..1000_u16)
            .map(|number| {
                let mut bytes = [7; 16];
                bytes[..2].copy_from_slice(&number.to_le_bytes());
                first_interval_scale(&ModelId::from_random_bytes(bytes))
            })
            .collect();
        assert!(scales.iter().all(|scale| (0.5..=1.5).contains(scale)));
        let early = scales.iter().filter(|scale| **scale < 1.0).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }
}
