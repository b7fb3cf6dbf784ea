//! A listener that stops while the broker is away, or confirms nothing: its clients have seen the end of their connections, so
//! what they sent must not go with it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use htm_tests::installation::Installation;
use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::sender::send;
use htm_tests::stored::row_count;
use htm_tests::waiting::wait_until;
use htmengine::backends::BusChoice;
use htmengine::bus::Bus;
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::engine::role::{Role, Roles};
use htmengine::engine::{Engine, EngineOptions};

use crate::peer::{WAIT, connect};

fn listener(folder: &Path, broker: &RabbitSettings) -> Engine {
    let mut options = EngineOptions::new(folder.to_owned(), "127.0.0.1:0".parse().expect("an address"));
    options.roles = Roles::Only(Role::Listener);
    options.bus = BusChoice::Rabbitmq(broker.clone());
    options.drain = Duration::from_secs(2);
    Engine::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Up to two windows of messages were given up after five seconds, with a warning only.
#[test]
fn lines_that_a_broker_has_not_confirmed_are_published_by_the_next_listener() {
    let broker = PrivateRabbitMq::start();
    let settings = broker.fresh_settings();
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("unstored.lines");
    let engine = listener(folder.path(), &settings);
    broker.stop();
    let sent = (0..1_000).fold(String::new(), |mut text, number| {
        writeln!(text, "m {number} {number}").expect("a string takes all");
        text
    });
    send(engine.graphite_address(), sent.as_bytes());
    engine.stop().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fs::read_to_string(&kept).expect("kept"), sent);

    broker.start_again();
    let engine = listener(folder.path(), &settings);
    assert!(!kept.exists(), "the broker has them");
    send(engine.graphite_address(), b"m 1000 1000\n");
    engine.stop().unwrap_or_else(|error| panic!("{error}"));
    assert!(!kept.exists(), "the broker was there");
    let bus = connect(&settings);
    let mut arrived = String::new();
    wait_until("every line, and the new one behind them", || {
        let deliveries = bus.data().receive(100, WAIT).expect("a broker");
        for line in deliveries.into_iter().flat_map(|delivery| delivery.message.lines) {
            arrived += str::from_utf8(&line).expect("text");
            arrived.push('\n');
        }
        arrived.ends_with("m 1000 1000\n")
    });
    assert_eq!(arrived, sent + "m 1000 1000\n");
}

/// The stop closes the queue, so that the storer beside it may end before it is told to, which is no failure.
#[test]
fn a_stop_while_kept_lines_are_published_is_an_orderly_end_and_leaves_them() {
    let broker = PrivateRabbitMq::start();
    let settings = broker.fresh_settings();
    let installation = Installation::new(&settings, &PrivateMariadb::shared().migrated_database());
    let kept = installation.data_dir().join("unstored.lines");
    let lines = "m 1 1400000000\nm 2 1400000300\n";
    fs::create_dir(installation.data_dir()).expect("a folder");
    fs::write(&kept, lines).expect("written");
    // It still delivers, and confirms nothing.
    broker.evaluate("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).");
    let serve = installation.start("serve");
    let consumers = format!("length(rabbit_amqqueue:consumers_all(<<\"{}\">>)).", settings.virtual_host);
    wait_until("the storer", || broker.evaluate(&consumers) != "0");
    serve.terminate();
    assert_eq!(fs::read_to_string(&kept).expect("kept"), lines);

    broker.evaluate("rabbit_alarm:clear_alarm({resource_limit, memory, node()}).");
    let serve = installation.start("serve");
    serve.wait_until_ready();
    assert!(!kept.exists(), "the broker has them");
    wait_until("both rows", || row_count(&*installation.repository(), "m") == 2);
    serve.terminate();
}
