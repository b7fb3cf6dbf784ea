//! Faults of roles in processes of their own, over a broker and a database.

use std::thread;
use std::time::Duration;

use htmengine::bus::rabbitmq::RabbitSettings;

use super::fault::{Fault, freeze};
use super::tally::Tally;
use super::{Phase, progress};
use crate::audit::Audit;
use crate::installation::{Installation, RoleProcess};
use crate::private_mariadb::PrivateMariadb;
use crate::private_rabbitmq::PrivateRabbitMq;
use crate::seeded_random::SeededRandom;

/// Every role with rows or lines, in the order of a sample.
const ROLES: [&str; 4] = [LISTENER, "storer", "scheduler", "anomaly"];
/// The one that takes lines.
const LISTENER: &str = "listener";
const LONGEST_FREEZE_MS: usize = 1_500;
/// How long a server stays away.
const AWAY: Duration = Duration::from_millis(300);

/// Runs a phase of one of [`Fault::SEPARATE`], in servers of its own; it ends early when something is lost.
///
/// # Panics
/// If something does not start or end, samples are not taken any more, or a row was not published as it is stored.
pub fn run(fault: Fault, phase: &Phase) -> Tally {
    let (broker, database) = (PrivateRabbitMq::start(), PrivateMariadb::start_own());
    let settings = RabbitSettings { extended_results: true, ..broker.fresh_settings() };
    let installation = Installation::new(&settings, &database.migrated_database());
    let audit = Audit::start(&settings);
    let load = phase.load();
    let mut random = phase.random();
    let mut tally = Tally::new(fault);
    load.monitor(&*installation.repository());
    let mut running: Vec<RoleProcess> = ROLES.map(|role| installation.start(role)).into();
    running.iter().for_each(RoleProcess::wait_until_ready);
    for round in 1..=phase.injections {
        let sent = round * phase.rows_between;
        let target = (sent, installation.listener_address());
        let struck = phase.send_until_fault(&mut random, &*installation.repository(), &load, target);
        let mut killed = None;
        match fault {
            Fault::KillRole => killed = Some(kill_role(&installation, &mut running, &mut random)),
            Fault::FreezeRole => {
                let pause = Duration::from_millis(random.below(LONGEST_FREEZE_MS) as u64);
                freeze(running[random.below(ROLES.len())].process_id(), pause);
            }
            Fault::KillDatabase => {
                database.kill();
                thread::sleep(AWAY);
                database.start();
            }
            Fault::KillBroker => {
                broker.kill();
                thread::sleep(AWAY);
                broker.start_again();
            }
            Fault::KillEngine | Fault::FreezeEngine | Fault::FillDisk | Fault::SkewClock => {
                panic!("{} is no fault of roles in processes of their own", fault.name())
            }
        }
        tally.note(&struck.before, &progress(&*installation.repository(), &load), sent);
        if killed == Some(LISTENER) {
            // Its connection broke; what is missing is sent with the next rows.
            let _ = struck.sent();
        } else {
            tally.lost += struck.never_stored(&*installation.repository(), &load, sent);
            if tally.lost > 0 {
                // Before it is sent again.
                return tally;
            }
        }
    }
    // Everything sent so far is stored when this row is; what the sender lost with its connection is sent again.
    installation.flush("sentinel");
    installation.send(load.missing(&*installation.repository(), load.rows()).as_bytes());
    load.wait_for_scores(&*installation.repository());
    tally.compare(&load, &*installation.repository());
    audit.check(&load, &*installation.repository());
    tally
}

/// Kills one role, and starts it again; returns which.
fn kill_role(
    installation: &Installation,
    running: &mut Vec<RoleProcess>,
    random: &mut SeededRandom,
) -> &'static str {
    let killed = running.swap_remove(random.below(ROLES.len()));
    let role = killed.role();
    killed.kill();
    let again = installation.start(role);
    again.wait_until_ready();
    running.push(again);
    role
}
