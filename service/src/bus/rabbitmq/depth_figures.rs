//! How much waits in the broker's queues, as samples that an htmengine can watch for anomalies.
//!
//! Every [`SAMPLE_INTERVAL`] the number of ready messages of each queue is asked for; at each boundary of five minutes
//! of the hour the averages become lines `<prefix>-q-<queue>-ready.avg <average> <unix seconds>`, and
//! `<prefix>-allq-ready.avg` for all of them together. A queue that does not exist holds nothing.
//!
//! Source: `rmq_metric_collector_agent.py` of htmengine, which asked the management plugin for averages it had made.
//! Departures: the queues are asked themselves, so that the plugin is not needed, and `allq` is the sum of the queues
//! that were named instead of all queues of the broker.

use std::time::Duration;

use super::RabbitSettings;
use super::link::{BrokerError, Link, NOT_FOUND};
use super::topology::QueueSpec;
use crate::bus::BusError;

/// Time between two looks at the queues.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// Averages are over so many seconds, from boundary to boundary, unless another period is asked for.
pub const PERIOD_SECONDS: i64 = 300;

/// Ready messages of some queues, summed up over one period.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthAverages {
    queues: Vec<String>,
    /// Sums of ready messages, one for each queue.
    sums: Vec<u64>,
    samples: u32,
    period_seconds: i64,
    /// Number of the period that the sums are of.
    period: Option<i64>,
}

impl DepthAverages {
    /// Of these queues, over periods of so many seconds (at least 1); nothing seen yet.
    pub fn new(queues: Vec<String>, period_seconds: i64) -> Self {
        let period_seconds = period_seconds.max(1);
        Self { sums: vec![0; queues.len()], queues, samples: 0, period_seconds, period: None }
    }

    /// Takes what the queues hold at `unix_seconds`. When that is in another period than the sample before, returns
    /// the lines of the period that has ended, each `name value timestamp` without a line end, and starts the next.
    ///
    /// # Panics
    /// If there is not one figure for each queue.
    pub fn add(&mut self, ready: &[u32], unix_seconds: i64, prefix: &str) -> Vec<String> {
        assert_eq!(ready.len(), self.queues.len(), "one figure for each queue");
        let period = unix_seconds.div_euclid(self.period_seconds);
        let ended = self.period.filter(|&last| last != period);
        let lines = ended.map_or_else(Vec::new, |_| self.lines(prefix, period * self.period_seconds));
        if ended.is_some() {
            self.sums.fill(0);
            self.samples = 0;
        }
        self.period = Some(period);
        self.samples += 1;
        for (sum, &ready) in self.sums.iter_mut().zip(ready) {
            *sum += u64::from(ready);
        }
        lines
    }

    fn lines(&self, prefix: &str, unix_seconds: i64) -> Vec<String> {
        let all = (format!("{prefix}-allq-ready.avg"), self.sums.iter().sum());
        let each = self.queues.iter().zip(&self.sums);
        let each = each.map(|(queue, &sum)| (format!("{prefix}-q-{queue}-ready.avg"), sum));
        std::iter::once(all)
            .chain(each)
            .map(|(name, sum)| format!("{name} {:.6} {unix_seconds}.000000", self.average(sum)))
            .collect()
    }

    fn average(&self, sum: u64) -> f64 {
        // Exact up to 2^32 messages, and a line has six decimals.
        let [high, low] = [sum >> 32, sum & 0xFFFF_FFFF].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        (f64::from(high) * 4_294_967_296.0 + f64::from(low)) / f64::from(self.samples.max(1))
    }
}

/// Asks queues of one virtual host how many messages are ready in them.
pub struct DepthProbe {
    link: Link,
    queues: Vec<QueueSpec>,
}

impl DepthProbe {
    /// Of these queues, or of the data, hints and scores queues if none is named. Not connected yet.
    pub fn new(settings: &RabbitSettings, queues: &[String]) -> Self {
        let link = Link::new(settings, "queue depths");
        let named: Vec<_> = queues.iter().map(|name| QueueSpec::durable(name)).collect();
        let queues = if named.is_empty() { super::specs(settings).to_vec() } else { named };
        Self { link, queues }
    }

    /// The names of the queues.
    pub fn queues(&self) -> Vec<String> {
        self.queues.iter().map(|spec| spec.name.clone()).collect()
    }

    /// Ready messages of each queue; 0 of one that does not exist.
    ///
    /// # Errors
    /// [`BusError`] if the broker cannot be asked.
    pub async fn ready(&self) -> Result<Vec<u32>, BusError> {
        let mut ready = Vec::with_capacity(self.queues.len());
        let mut channel = None;
        for spec in &self.queues {
            let open = match channel.take() {
                Some(channel) => channel,
                None => self.link.channel().await?,
            };
            match spec.look(&self.link, &open).await {
                Ok(state) => {
                    ready.push(state.ready);
                    channel = Some(open);
                }
                // The broker has closed the channel with its answer.
                Err(BrokerError { code: Some(NOT_FOUND), .. }) => ready.push(0),
                Err(error) => return Err(error.error),
            }
        }
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_told_at_the_boundary() {
        let mut averages = DepthAverages::new(vec!["data".to_owned(), "scores".to_owned()], PERIOD_SECONDS);
        assert!(averages.add(&[1, 0], 1_443_197_100, "rmq").is_empty());
        assert!(averages.add(&[2, 1], 1_443_197_399, "rmq").is_empty());
        assert_eq!(
            averages.add(&[9, 9], 1_443_197_400, "rmq"),
            [
                "rmq-allq-ready.avg 2.000000 1443197400.000000",
                "rmq-q-data-ready.avg 1.500000 1443197400.000000",
                "rmq-q-scores-ready.avg 0.500000 1443197400.000000",
            ]
        );
        let next = averages.add(&[0, 0], 1_443_197_701, "rmq");
        assert_eq!(next[1], "rmq-q-data-ready.avg 9.000000 1443197700.000000");
    }
}
