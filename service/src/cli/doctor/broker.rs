//! What `htmengine doctor` sees of the broker: whether it answers, lets us in, and has the queues as they should be.

use super::database::said_by;
use super::reach::{ANSWER_LIMIT, reach, within};
use super::{Level, Report};
use crate::backends::{BusChoice, start_runtime};
use crate::bus::rabbitmq::RabbitBus;
use crate::config::Settings;

impl Report {
    pub(super) fn look_at_broker(&mut self, settings: &Settings) {
        let rabbit = match settings.bus_choice() {
            BusChoice::Memory => {
                self.good("broker", "no broker is needed: the roles meet in one process");
                return;
            }
            BusChoice::Rabbitmq(rabbit) => rabbit,
        };
        let (host, port) = (rabbit.host.clone(), rabbit.port);
        if let Err(found) = reach(&host, port) {
            let said = said_by(settings.said().broker_host.as_ref());
            self.problem(
                "broker",
                format!("{found}: start RabbitMQ, or correct the broker's host and port{said}"),
            );
            return;
        }
        let findings = within(ANSWER_LIMIT, move || {
            let runtime = start_runtime().map_err(|error| error.to_string())?;
            Ok::<_, String>(RabbitBus::check(&rabbit, runtime.handle()))
        });
        match findings {
            Some(Ok(findings)) => {
                for finding in findings {
                    let level = if finding.is_good { Level::Good } else { Level::Problem };
                    self.find(level, "broker", format!("{}: {}", finding.subject, finding.says));
                }
            }
            Some(Err(error)) => self.problem("broker", format!("it cannot be looked at: {error}")),
            None => {
                let seconds = ANSWER_LIMIT.as_secs();
                self.problem(
                    "broker",
                    format!("{host}:{port} accepted a connection but said nothing for {seconds} s: is it RabbitMQ?"),
                );
            }
        }
    }
}
