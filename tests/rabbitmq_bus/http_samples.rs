//! Samples over HTTP to a process that has nothing but the broker to put them: an answer that says they were handed over holds
//! whatever becomes of the process.

use std::time::Duration;

use htm_tests::http_client::request;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htmengine::backends::BusChoice;
use htmengine::bus::Bus;
use htmengine::engine::role::{Role, Roles};
use htmengine::engine::{Engine, EngineOptions};

use crate::peer::{connect, receive};

/// They were on their way when that was said: a process that was killed or stopped then, with the broker away, lost them.
#[test]
fn samples_are_handed_over_when_the_broker_has_confirmed_them() {
    let broker = PrivateRabbitMq::start();
    let settings = broker.fresh_settings();
    let folder = tempfile::tempdir().expect("a folder");
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut options = EngineOptions::new(folder.path().to_owned(), any);
    options.roles = Roles::Only(Role::Http);
    options.bus = BusChoice::Rabbitmq(settings.clone());
    options.http = Some(any);
    options.drain = Duration::from_secs(1);
    let engine = Engine::start(options).unwrap_or_else(|error| panic!("{error}"));
    let http = engine.http_address().expect("served");
    let post = |lines: &str| request(http, "POST", "/api/v1/ingest", lines);
    broker.stop();
    let answer = post("m 1 100\n");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("the broker did not confirm all within 5 s; 0 of 1 samples"), "{answer:?}");
    broker.start_again();
    let mut posted = 2;
    while post("m 2 200\n").status != 200 {
        posted += 1;
    }
    let bus = connect(&settings);
    assert_eq!(bus.data().depth(), posted, "they are there when it is said");
    let lines = receive(bus.data(), posted).into_iter().flat_map(|delivery| delivery.message.lines);
    assert_eq!(lines.take(2).collect::<Vec<_>>(), [b"m 1 100", b"m 2 200"]);
    engine.stop().unwrap_or_else(|error| panic!("{error}"));
}
