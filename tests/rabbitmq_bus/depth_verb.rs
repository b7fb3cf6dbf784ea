//! `htmengine queue-depths`: what waits in the broker's queues, as samples.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::program;
use htmengine::bus::Bus;

use crate::peer::{connect, lines};

/// Ended with the test, in whatever way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, or a test that failed and reports its own reason.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> Running {
    let mut command = program::command(["queue-depths", "--metric-prefix", " rmq ", "--period", "1"]);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    Running(command.spawn().expect("the program can be run"))
}

/// Name and value of each sample; the time is checked to be a whole second.
fn samples(text: &str) -> Vec<(String, String)> {
    let sample = |line: &str| {
        let [name, value, time]: [&str; 3] =
            line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
        assert!(time.ends_with(".000000") && time.parse::<f64>().is_ok(), "{line}");
        (name.to_owned(), value.to_owned())
    };
    text.split('\n').map(sample).collect()
}

#[test]
fn averages_are_sent_over_one_connection_or_printed() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    for _ in 0..3 {
        bus.data().publish(lines(["m 1 1"])).expect("open");
    }
    bus.close();
    let broker = format!("127.0.0.1:{}", settings.port);
    let common = ["--rmq-addr", &broker, "--rmq-vhost", &settings.virtual_host];
    let expected = [
        ("rmq-allq-ready.avg", "3.000000"),
        ("rmq-q-htmengine.metric.custom.data-ready.avg", "3.000000"),
        ("rmq-q-htmengine.mswapper.scheduler.notification-ready.avg", "0.000000"),
        ("rmq-q-htmengine.mswapper.results-ready.avg", "0.000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let sender = start(&[&common[..], &["--metric-addr", &address]].concat());
    let mut text = String::new();
    listener.accept().expect("a sender").0.read_to_string(&mut text).expect("text");
    assert_eq!(samples(&text), expected, "no line feed at the end");
    drop(sender);

    let queue = ["--dryrun", "--rmq-queues", "nowhere"];
    let mut dry = start(&[&common[..], &queue].concat());
    let mut printed = BufReader::new(dry.0.stdout.take().expect("piped")).lines();
    let mut next = || samples(&printed.next().expect("a line").expect("text")).remove(0);
    assert_eq!(next(), ("rmq-allq-ready.avg".to_owned(), "0.000000".to_owned()));
    assert_eq!(next(), ("rmq-q-nowhere-ready.avg".to_owned(), "0.000000".to_owned()));
}

#[test]
fn bad_arguments_are_refused() {
    let usage_error = 2;
    program::fail(["queue-depths", "--metric-prefix", "p"], usage_error, &["--metric-addr"]);
    program::fail(["queue-depths", "--metric-prefix", " ", "--dryrun"], usage_error, &["a prefix is a word"]);
    program::fail(["queue-depths", "--dryrun"], usage_error, &["--metric-prefix"]);
    let both = ["queue-depths", "--metric-prefix", "p", "--dryrun", "--metric-addr", "localhost:2003"];
    program::fail(both, usage_error, &["cannot be used with"]);
    let no_port = ["queue-depths", "--metric-prefix", "p", "--metric-addr", "localhost"];
    program::fail(no_port, usage_error, &["expected a host and a port"]);
}
