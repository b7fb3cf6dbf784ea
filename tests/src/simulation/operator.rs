//! Somebody who has metrics monitored, gives models up and asks for them again, as a command line does: in a process of its
//! own, through the database.

use std::sync::Arc;

use htm_core::params::ValueRange;
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, MonitorError, RandomBytes};
use htmengine::repository::{Repository, RepositoryError};

use super::plan::{MetricPlan, ModelPlan};

/// The operator.
pub(super) struct Operator {
    repository: Arc<dyn Repository>,
    random: Arc<dyn RandomBytes>,
    metrics: Vec<MetricPlan>,
    /// What is done of each metric's tasks.
    done: Vec<usize>,
}

/// What there may be to do for a metric, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Monitor,
    GiveUp,
    MonitorAgain,
}

impl Operator {
    pub(super) fn new(
        repository: Arc<dyn Repository>,
        random: Arc<dyn RandomBytes>,
        metrics: &[MetricPlan],
    ) -> Self {
        Self { repository, random, metrics: metrics.to_vec(), done: vec![0; metrics.len()] }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        self.metrics.iter().zip(&self.done).all(|(metric, done)| tasks(metric).len() <= *done)
    }

    /// Does what is due, `sent` samples of each metric having been sent; says what was done. Trouble with the database puts it
    /// off.
    pub(super) fn work(&mut self, sent: impl Fn(usize) -> usize) -> Vec<String> {
        let mut said = Vec::new();
        for at in 0..self.metrics.len() {
            let metric = self.metrics[at].clone();
            let Some(task) = tasks(&metric).get(self.done[at]).copied() else { continue };
            let due = match task {
                Task::Monitor => metric.monitored_after,
                Task::GiveUp | Task::MonitorAgain => metric.monitored_after.midpoint(metric.sample_count),
            };
            if sent(at) < due {
                continue;
            }
            match self.perform(&metric, task) {
                // Done before, and the answer was lost.
                Ok(()) | Err(MonitorError::AlreadyMonitored { .. }) => {
                    self.done[at] += 1;
                    said.push(format!("{task:?} of {} is done", metric.name));
                }
                Err(MonitorError::Repository(RepositoryError::Transient { .. })) => {}
                Err(error) => said.push(format!("{task:?} of {} failed: {error}", metric.name)),
            }
        }
        said
    }

    fn perform(&self, metric: &MetricPlan, task: Task) -> Result<(), MonitorError> {
        let name = &metric.name;
        let mut spec = ModelSpec::for_metric(name);
        match &metric.model {
            ModelPlan::None | ModelPlan::Learned => {}
            ModelPlan::Complete(params) => spec.complete_model_params = Some(params.clone()),
            ModelPlan::Declared { min, max } => spec.range = Some(ValueRange { min: *min, max: *max }),
        }
        monitoring::in_transaction(&*self.repository, |tx| {
            let metric = monitoring::create_metric(tx, name, &*self.random)?;
            match task {
                Task::Monitor | Task::MonitorAgain => {
                    monitoring::monitor(tx, &metric, &spec, &*self.random).map(drop)
                }
                Task::GiveUp => monitoring::unmonitor(tx, &metric.uid),
            }
        })
    }
}

fn tasks(metric: &MetricPlan) -> &'static [Task] {
    match metric.model {
        ModelPlan::None | ModelPlan::Learned => &[],
        ModelPlan::Complete(_) | ModelPlan::Declared { .. } if metric.is_monitored_twice => {
            &[Task::Monitor, Task::GiveUp, Task::MonitorAgain]
        }
        ModelPlan::Complete(_) | ModelPlan::Declared { .. } => &[Task::Monitor],
    }
}
