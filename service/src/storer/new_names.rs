//! How many new metrics samples may still make: of all senders together, and of each in an hour.
//!
//! A metric is a row, and with a model a file of a megabyte: a flood of made-up names must not fill the disk. Metrics that
//! exist are never asked about, so they go on whatever their sender does otherwise.
//!
//! Each address may make [`NewNameLimits::per_source`] metrics at once, and gets the right back evenly within an hour.
//! Addresses of one IPv6 network of 64 bits count as one, because a machine may have all of them. Lines whose sender is
//! not known (from a broker or over HTTP, where both ask who it is) are bound by the limit of all only.
//!
//! Invariants: what was asked for in a transaction is counted once it committed (`NewNames::settle`), so that its
//! repetition counts nothing twice; at most `MAX_SOURCES` addresses are remembered, and those beyond share one right.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::reject::RejectReason;
use crate::repository::{Repository, RepositoryError};

/// Default of [`NewNameLimits::max_metrics`].
pub const DEFAULT_MAX_METRICS: usize = 250_000;
/// Default of [`NewNameLimits::per_source`].
pub const DEFAULT_MAX_NEW_METRICS: usize = 50_000;
/// In which a sender gets its whole right back.
const REFILL_TIME: Duration = Duration::from_secs(3_600);
/// Addresses that are remembered.
const MAX_SOURCES: usize = 16_384;
/// Whose right those share that are not.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Those who have their whole right again are looked for at most this often.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);
/// The database is asked for the number of metrics this often while new ones come, ...
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// ... and this often while there is room for none: somebody may have deleted some.
const FULL_COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// Limits; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNameLimits {
    /// Metrics altogether, beyond which samples make no more.
    pub max_metrics: usize,
    /// Metrics that the samples of one address may make in an hour.
    pub per_source: usize,
}

impl Default for NewNameLimits {
    fn default() -> Self {
        Self { max_metrics: DEFAULT_MAX_METRICS, per_source: DEFAULT_MAX_NEW_METRICS }
    }
}

/// What was used.
#[derive(Debug)]
pub(super) struct NewNames {
    limits: NewNameLimits,
    /// Metrics at the last count and those made since; `None` before the first.
    metric_count: Option<usize>,
    counted_at: Duration,
    /// Of each address that has not its whole right: how much it has used, and when that was reckoned.
    used: HashMap<IpAddr, (f64, Duration)>,
    trimmed_at: Option<Duration>,
}

/// What one transaction makes.
#[derive(Debug, Default)]
pub(super) struct Asked {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

impl NewNames {
    pub(super) fn new(limits: NewNameLimits) -> Self {
        Self {
            limits,
            metric_count: None,
            counted_at: Duration::ZERO,
            used: HashMap::new(),
            trimmed_at: None,
        }
    }

    /// Counts the metrics, if it is time to. To be called outside transactions.
    pub(super) fn refresh(
        &mut self,
        repository: &dyn Repository,
        now: Duration,
    ) -> Result<(), RepositoryError> {
        if self.limits.max_metrics == 0 {
            return Ok(());
        }
        let interval = match self.metric_count {
            None => Duration::ZERO,
            Some(count) if count >= self.limits.max_metrics => FULL_COUNT_INTERVAL,
            Some(_) => COUNT_INTERVAL,
        };
        if now.saturating_sub(self.counted_at) >= interval {
            self.metric_count = Some(repository.metric_count()?);
            self.counted_at = now;
        }
        Ok(())
    }

    /// Whether a line of one of `sources` may make one more metric beside what was `asked` for; if so it is asked for.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn ask(
        &self,
        asked: &mut Asked,
        sources: impl Iterator<Item = Option<IpAddr>>,
        now: Duration,
    ) -> Result<(), RejectReason> {
        let count = self.metric_count.unwrap_or(0) + asked.total;
        if self.limits.max_metrics > 0 && count >= self.limits.max_metrics {
            return Err(RejectReason::TooManyMetrics);
        }
        for source in sources {
            let Some(source) = source.filter(|_| self.limits.per_source > 0) else {
                asked.total += 1;
                return Ok(());
            };
            let source = self.remembered(source);
            let in_hand = asked.by_source.entry(source).or_default();
            if self.used_at(source, now) + units(*in_hand + 1) <= units(self.limits.per_source) {
                *in_hand += 1;
                asked.total += 1;
                return Ok(());
            }
        }
        Err(RejectReason::TooManyNewMetrics)
    }

    /// What was asked for has been made.
    pub(super) fn settle(&mut self, asked: Asked, now: Duration) {
        if let Some(count) = &mut self.metric_count {
            *count += asked.total;
        }
        for (source, made) in asked.by_source.into_iter().filter(|(_, made)| *made > 0) {
            let used = self.used_at(source, now) + units(made);
            self.used.insert(source, (used, now));
        }
        let is_due = self.trimmed_at.is_none_or(|at| now.saturating_sub(at) >= TRIM_INTERVAL);
        if self.used.len() >= MAX_SOURCES && is_due {
            self.trimmed_at = Some(now);
            let whole: Vec<IpAddr> =
                self.used.keys().copied().filter(|source| self.used_at(*source, now) <= 0.0).collect();
            for source in whole {
                self.used.remove(&source);
            }
        }
    }

    /// Under which address a sender is remembered.
    fn remembered(&self, source: IpAddr) -> IpAddr {
        let network = match source.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let mut octets = address.octets();
                octets[8..].fill(0);
                IpAddr::V6(Ipv6Addr::from(octets))
            }
        };
        let is_known = self.used.contains_key(&network) || self.used.len() < MAX_SOURCES;
        if is_known { network } else { OTHERS }
    }

    fn used_at(&self, source: IpAddr, now: Duration) -> f64 {
        let Some((used, since)) = self.used.get(&source) else { return 0.0 };
        let passed = now.saturating_sub(*since).as_secs_f64() / REFILL_TIME.as_secs_f64();
        (used - passed * units(self.limits.per_source)).max(0.0)
    }
}

fn units(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = REFILL_TIME;

    fn names(max_metrics: usize, per_source: usize, metric_count: usize) -> NewNames {
        let mut names = NewNames::new(NewNameLimits { max_metrics, per_source });
        names.metric_count = Some(metric_count);
        names
    }

    /// Asks so often for one source and settles; returns how many it got, and why not more.
    fn make(
        names: &mut NewNames,
        source: &str,
        count: usize,
        now: Duration,
    ) -> (usize, Option<RejectReason>) {
        let source = source.parse().ok();
        let mut asked = Asked::default();
        let refused = (0..count).find_map(|_| names.ask(&mut asked, [source].into_iter(), now).err());
        let made = asked.total;
        names.settle(asked, now);
        (made, refused)
    }

    #[test]
    fn a_sender_that_used_its_right_up_gets_it_back_evenly() {
        let mut names = names(0, 60, 0);
        let refused = Some(RejectReason::TooManyNewMetrics);
        assert_eq!(make(&mut names, "10.0.0.1", 50, Duration::ZERO), (50, None));
        assert_eq!(make(&mut names, "10.0.0.1", 50, Duration::ZERO), (10, refused));
        assert_eq!(make(&mut names, "10.0.0.2", 60, Duration::ZERO), (60, None), "others are others");
        assert_eq!(make(&mut names, "10.0.0.1", 50, HOUR / 2), (30, refused));
        assert_eq!(make(&mut names, "10.0.0.1", 70, HOUR * 9), (60, refused), "never more than the whole");
    }

    #[test]
    fn the_limit_of_all_holds_for_everybody() {
        let mut names = names(10, 6, 3);
        assert_eq!(make(&mut names, "10.0.0.1", 6, HOUR), (6, None));
        let full = Some(RejectReason::TooManyMetrics);
        assert_eq!(make(&mut names, "10.0.0.2", 6, HOUR), (1, full));
        assert_eq!(make(&mut names, "nobody", 1, HOUR), (0, full));
        names.metric_count = Some(5);
        assert_eq!(
            make(&mut names, "nobody", 9, HOUR),
            (5, full),
            "who is not known has no limit of its own"
        );
    }

    #[test]
    fn what_did_not_commit_was_not_used() {
        let mut names = names(0, 2, 0);
        let source = || ["10.0.0.1".parse().ok()].into_iter();
        let mut rolled_back = Asked::default();
        assert_eq!(names.ask(&mut rolled_back, source(), HOUR), Ok(()));
        assert_eq!(make(&mut names, "10.0.0.1", 2, HOUR), (2, None));
    }

    #[test]
    fn whoever_of_several_may_makes_the_metric() {
        let mut names = names(0, 1, 0);
        make(&mut names, "10.0.0.1", 1, HOUR);
        let sources = ["10.0.0.1", "10.0.0.2"].map(|source| source.parse().ok());
        let mut asked = Asked::default();
        assert_eq!(names.ask(&mut asked, sources.into_iter(), HOUR), Ok(()));
        assert_eq!(names.ask(&mut asked, sources.into_iter(), HOUR), Err(RejectReason::TooManyNewMetrics));
    }

    #[test]
    fn a_network_counts_as_one_and_memory_is_bounded() {
        let mut names = names(0, 3, 0);
        make(&mut names, "2001:db8::1", 2, HOUR);
        assert_eq!(make(&mut names, "2001:db8::ffff:2", 3, HOUR).0, 1);
        assert_eq!(make(&mut names, "2001:db8:0:1::1", 3, HOUR).0, 3);
        for number in 0..2 * u32::try_from(MAX_SOURCES).expect("small") {
            make(&mut names, &Ipv4Addr::from(number + (10 << 24)).to_string(), 1, HOUR);
        }
        assert!(names.used.len() <= MAX_SOURCES + 1);
        assert_eq!(make(&mut names, "9.9.9.9", 1, HOUR).0, 0, "the shared right is used up");
        assert_eq!(make(&mut names, "9.9.9.9", 1, HOUR * 2).0, 1, "an hour later nothing is in use");
    }
}
