//! The end of a run: nothing goes wrong any more, all work is done, and everything that was promised holds.

use std::collections::BTreeMap;
use std::time::Duration;

use htmengine::bus::BusError;
use htmengine::reject::RejectReason;
use htmengine::repository::metric::MetricStatus;

use super::bus::Exchange;
use super::fault::Fault;
use super::lone_model;
use super::plan::{MetricPlan, ModelPlan};
use super::tables::Tables;
use super::verdict::Violation;
use super::world::{World, lock};

/// Rounds of turns after which work that is left will never be done: with nothing to do a round takes a second.
const MAX_ROUNDS: usize = 3_000;
/// Longer than the ledger of refused lines stays in memory.
const LEDGER_PAUSE: Duration = Duration::from_secs(2);

impl World {
    /// Takes turns until all work is done, and checks everything.
    pub(super) fn verify(&self) {
        self.begin_all();
        lock(&self.clients).send_rest();
        if !self.drain() {
            let what = self.unfinished();
            self.stage.violate(Violation::NotDrained { what });
        }
        self.check_refusals();
        self.note_results(false);
        self.settle_accepted(0);
        self.check_rows();
        self.check_lines();
        self.check_rejects();
        self.check_scores();
        self.stage.note(format_args!("verified"));
    }

    fn drain(&self) -> bool {
        for _ in 0..MAX_ROUNDS {
            self.operate();
            let mut is_idle = true;
            for at in 0..self.role_count() {
                is_idle &= self.take_turn(at).unwrap_or(true);
            }
            for process in 0..self.plan.processes.len() {
                self.bus.flush(&self.stage, process, usize::MAX);
            }
            self.note_results(false);
            self.begin_all();
            if is_idle && self.unfinished().is_empty() {
                return true;
            }
            self.stage.pass(if is_idle { Duration::from_secs(1) } else { Duration::from_millis(10) });
        }
        false
    }

    /// What is left to do, in words; nothing if nothing is.
    fn unfinished(&self) -> String {
        let mut left = Vec::new();
        let clients = lock(&self.clients);
        if !clients.is_done() || !lock(clients.sockets()).is_empty() || self.held_line_count() > 0 {
            left.push("lines wait to be read".to_owned());
        }
        drop(clients);
        if !self.has_operator_finished() {
            left.push("the operator waits".to_owned());
        }
        if !self.bus.is_empty() {
            left.push(self.bus.summary());
        }
        if self.has_kept_lines() {
            left.push("kept lines wait".to_owned());
        }
        let tables = lock(&self.tables);
        left.extend(self.plan.metrics.iter().filter_map(|plan| self.unfinished_metric(plan, &tables)));
        left.join("; ")
    }

    fn unfinished_metric(&self, plan: &MetricPlan, tables: &Tables) -> Option<String> {
        let name = &plan.name;
        let Some(table) = tables.by_name(name) else {
            let is_made = matches!(plan.model, ModelPlan::Complete(_) | ModelPlan::Declared { .. });
            return is_made.then(|| format!("{name} is missing"));
        };
        let metric = &table.metric;
        let (reached, last) = (table.scored_up_to, metric.last_rowid);
        let row_count = usize::try_from(last.0).unwrap_or(0);
        let expected = lone_model::expected_status(&plan.model, row_count, self.learning_rows());
        let is_done = metric.status == expected && (expected != MetricStatus::Active || reached == last);
        (!is_done)
            .then(|| format!("{name} is {}, scored up to row {reached} of {last}", metric.status.label()))
    }

    fn learning_rows(&self) -> usize {
        usize::try_from(self.plan.learning_rows).expect("a few")
    }

    /// With nothing going wrong, each refused line is counted once.
    fn check_refusals(&self) {
        let counts = || -> BTreeMap<RejectReason, u64> {
            lock(&self.tables).rejects.values().map(|entry| (entry.reason, entry.count)).collect()
        };
        self.flush_ledger();
        let before = counts();
        let refused = lock(&self.clients).send_refused();
        if !self.drain() {
            self.stage.violate(Violation::NotDrained { what: self.unfinished() });
        }
        self.flush_ledger();
        let after = counts();
        let mut expected = before;
        for (reason, count) in refused {
            *expected.entry(reason).or_default() += count;
        }
        if after != expected {
            let what = format!("in quiet times they were {after:?}, expected {expected:?}");
            self.stage.violate(Violation::Rejects { what });
        }
    }

    fn flush_ledger(&self) {
        self.stage.pass(LEDGER_PAUSE);
        for at in 0..self.role_count() {
            self.take_turn(at);
        }
    }

    fn check_rows(&self) {
        let difference = lock(&self.expectation).difference(&lock(&self.tables));
        if let Some((metric, what)) = difference {
            self.stage.violate(Violation::Rows { metric, what });
        }
    }

    /// Where nothing dies, every line that was sent as a whole comes to the storer; at a broker that does not always say so
    /// in time, perhaps more than once.
    fn check_lines(&self) {
        if !self.plan.loses_no_line() {
            return;
        }
        let (clients, expectation) = (lock(&self.clients), lock(&self.expectation));
        let is_repeated = self.plan.rates.of(Fault::ConfirmationLost) > 0;
        for (line, sent) in clients.lines() {
            let accepted = expectation.lines().get(line).copied().unwrap_or(0);
            if accepted < *sent || (accepted > *sent && !is_repeated) {
                let what = format!("`{}` was sent {sent} times and accepted {accepted}", line.escape_ascii());
                self.stage.violate(Violation::Rows { metric: "?".to_owned(), what });
                return;
            }
        }
    }

    /// Where nothing dies, every refused line is counted; once, unless it may have been delivered or written again.
    fn check_rejects(&self) {
        if !self.plan.loses_no_line() {
            return;
        }
        let expectation = lock(&self.expectation);
        let tables = lock(&self.tables);
        let is_exact = self.plan.repeats_no_count();
        let expected = expectation.rejects(&tables);
        for (reason, expected) in &expected {
            let found = tables.reject_count(*reason);
            // What was stored and comes again may be late where it was a duplicate before, so these count together below.
            let is_old = matches!(reason, RejectReason::LateSample | RejectReason::DuplicateSample);
            if (is_exact && found != *expected) || (!is_exact && !is_old && found < *expected) {
                let what = format!("{} {} lines are counted, {expected} came", found, reason.name());
                self.stage.violate(Violation::Rejects { what });
            }
        }
        let old = [RejectReason::LateSample, RejectReason::DuplicateSample];
        let found: u64 = old.iter().map(|reason| tables.reject_count(*reason)).sum();
        let expected: u64 = old.iter().filter_map(|reason| expected.get(reason)).sum();
        if found < expected {
            let what = format!("{found} late and repeated samples are counted, {expected} came");
            self.stage.violate(Violation::Rejects { what });
        }
    }

    fn check_scores(&self) {
        let (expectation, tables) = (lock(&self.expectation), lock(&self.tables));
        for table in tables.metrics.values() {
            let name = &table.metric.name;
            let planned = self.plan.metrics.iter().find(|plan| plan.name == *name);
            let model = planned.map_or(&ModelPlan::None, |plan| &plan.model);
            let samples = expectation.samples(name);
            if let Some(what) = lone_model::difference(table, model, samples, self.learning_rows()) {
                self.stage.violate(Violation::Score { metric: table.metric.name.clone(), what });
            }
        }
        for violation in lock(&self.results).violations(&tables) {
            self.stage.violate(violation);
        }
    }
}

/// A reader of results, as the results role has one for each of its clients: it sees every message or is told how many it
/// missed.
pub(super) struct Reader {
    subscription: Box<dyn htmengine::bus::Subscription<htmengine::bus::message::ResultMessage>>,
}

impl Reader {
    pub(super) fn new(exchange: &Exchange) -> Self {
        Self { subscription: exchange.subscribe() }
    }

    /// Reads all there is; the messages that were sent to it, missed ones included.
    pub(super) fn count(&mut self) -> u64 {
        let mut count = 0;
        loop {
            match self.subscription.receive(Duration::ZERO) {
                Ok(Some(_)) => count += 1,
                Err(BusError::Lagged { lost }) => count += lost,
                Ok(None) | Err(_) => return count,
            }
        }
    }
}
