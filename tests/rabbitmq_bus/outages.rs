//! Brokers and connections that go away in the middle of a stream: nothing is lost, and what comes for the first time comes in
//! its order.

use std::thread;
use std::time::Duration;

use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::bus::rabbitmq::DATA_PREFETCH;
use htmengine::bus::{Bus, BusError};

use crate::peer::{Peer, connect, hint, lines, receive};

/// Publishes `count` messages from one thread while another receives and acknowledges them, and calls `disturb` with
/// the number received so far, until all were seen.
fn stream(bus: &dyn Bus, count: usize, mut disturb: impl FnMut(usize)) {
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for number in 0..count {
                bus.data().publish(lines([format!("m {number} 1")])).expect("open");
                if number % 100 == 0 {
                    // Slow enough that the stream is still going when it is disturbed.
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let mut seen = Seen::default();
        wait_until("every message", || {
            match bus.data().receive(50, Duration::from_millis(100)) {
                Ok(deliveries) => {
                    let last = deliveries.last().map(|delivery| delivery.tag);
                    deliveries.into_iter().flat_map(|delivery| delivery.message.lines).for_each(|line| {
                        seen.note(line);
                    });
                    disturb(seen.count);
                    // Of a lost connection: they come again.
                    let acknowledged = last.map_or(Ok(()), |last| bus.data().acknowledge(last));
                    assert!(matches!(acknowledged, Ok(()) | Err(BusError::Transient { .. })));
                }
                Err(BusError::Transient { .. }) => disturb(seen.count),
                Err(error) => panic!("{error}"),
            }
            seen.count == count
        });
        publisher.join().expect("no panic");
    });
}

/// What came of a stream: each message in its order, some of them again.
#[derive(Default)]
struct Seen {
    /// From the first on, without a gap.
    count: usize,
}

impl Seen {
    #[track_caller]
    fn note(&mut self, line: Vec<u8>) {
        let line = String::from_utf8(line).expect("text");
        let number = line.strip_prefix("m ").and_then(|rest| rest.strip_suffix(" 1"));
        let number: usize = number.and_then(|number| number.parse().ok()).expect("one of the stream");
        assert!(number <= self.count, "message {number} came before message {}", self.count);
        self.count = self.count.max(number + 1);
    }
}

#[test]
fn a_broker_that_is_stopped_or_killed_in_the_middle_loses_nothing() {
    let broker = PrivateRabbitMq::start();
    let settings = broker.fresh_settings();
    let bus = connect(&settings);
    let mut results = bus.results().subscribe();
    let (mut is_stopped, mut is_killed) = (false, false);
    // Received and not yet acknowledged when the broker goes: they come again.
    stream(&bus, 4_000, |received| {
        if received > 300 && !is_stopped {
            is_stopped = true;
            broker.stop();
            broker.start_again();
        } else if received > 2_000 && !is_killed {
            is_killed = true;
            broker.kill();
            broker.start_again();
        }
    });
    assert!(is_stopped && is_killed);
    // Every other meeting point is back as well.
    bus.hints().publish(hint("a")).expect("open");
    assert_eq!(receive(bus.hints(), 1)[0].message, hint("a"));
    let message = crate::wire::captured_results().remove(0);
    let mut gaps = 0;
    let arrived = wait_for("a result", || {
        bus.results().publish(message.clone()).expect("open");
        match results.receive(Duration::from_millis(200)) {
            Ok(arrived) => arrived,
            Err(BusError::Lagged { .. }) => {
                gaps += 1;
                None
            }
            Err(error) => panic!("{error}"),
        }
    });
    assert_eq!(arrived, message);
    assert!(gaps > 0, "readers are told that something may be missing");
}

#[test]
fn what_is_durable_survives_a_restart_of_the_broker() {
    let broker = PrivateRabbitMq::start();
    let settings = broker.fresh_settings();
    let bus = connect(&settings);
    for number in 0..10 {
        bus.data().publish(lines([format!("m {number} 1")])).expect("open");
    }
    bus.hints().publish(hint("a")).expect("open");
    bus.close();
    broker.stop();
    // A role that is started now is told to try again.
    drop(bus);
    broker.start_again();
    let bus = connect(&settings);
    let received = receive(bus.data(), 10);
    assert_eq!(received[9].message, lines(["m 9 1"]));
    assert_eq!(bus.hints().receive(1, Duration::from_millis(200)), Ok(Vec::new()), "hints may be lost");
}

#[test]
fn connections_that_an_operator_closes_lose_nothing() {
    let broker = PrivateRabbitMq::shared();
    let settings = broker.fresh_settings();
    let bus = connect(&settings);
    let mut closed_at = 0;
    stream(&bus, 3_000, |received| {
        if received >= closed_at + 500 {
            closed_at = received;
            broker.close_connections(&settings.virtual_host);
        }
    });
    assert!(closed_at > 0);
}

#[test]
fn deliveries_of_a_lost_connection_are_not_acknowledged_on_the_next() {
    let broker = PrivateRabbitMq::shared();
    let settings = broker.fresh_settings();
    let bus = connect(&settings);
    for number in 0..4 {
        bus.data().publish(lines([format!("m {number} 1")])).expect("open");
    }
    let before = receive(bus.data(), 4);
    broker.close_connections(&settings.virtual_host);
    let again = receive(bus.data(), 4);
    assert!(again[0].tag > before[3].tag);
    assert!(matches!(bus.data().acknowledge(before[3].tag), Err(BusError::Transient { .. })));
    bus.data().acknowledge(again[1].tag).expect("delivered over the new connection");
    drop(bus);
    let bus = connect(&settings);
    let rest: Vec<_> = receive(bus.data(), 2).into_iter().map(|delivery| delivery.message).collect();
    assert_eq!(rest, [lines(["m 2 1"]), lines(["m 3 1"])]);
}

#[test]
fn a_queue_that_is_deleted_is_declared_again() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    bus.data().publish(lines(["m 0 1"])).expect("open");
    let first = receive(bus.data(), 1);
    bus.data().acknowledge(first[0].tag).expect("delivered");
    peer.delete(&settings.data_queue);
    for number in 1..100 {
        bus.data().publish(lines([format!("m {number} 1")])).expect("open");
    }
    let mut seen = Seen { count: 1 };
    wait_until("the rest", || {
        if let Ok(deliveries) = bus.data().receive(100, Duration::from_millis(100)) {
            deliveries
                .into_iter()
                .flat_map(|delivery| delivery.message.lines)
                .for_each(|line| seen.note(line));
        }
        seen.count == 100
    });
}

/// Two connections on purpose: an alarm holds back the one that publishes, and what was delivered on the other one never
/// comes again. Acknowledgements that waited for confirms in vain were never repeated, so that a full prefetch ended all
/// reading, of lines and of scores.
#[test]
fn an_acknowledgement_that_an_alarm_delays_is_made_up_for() {
    let broker = PrivateRabbitMq::start();
    let settings = broker.fresh_settings();
    let bus = connect(&settings);
    let prefetch = usize::from(DATA_PREFETCH);
    for number in 0..=prefetch {
        bus.data().publish(lines([format!("m {number} 1")])).expect("open");
    }
    let held = receive(bus.data(), prefetch);
    // What a role publishes because of what it received.
    let watermark = broker.evaluate("vm_memory_monitor:get_vm_memory_high_watermark().");
    let set = |to: &str| broker.evaluate(&format!("vm_memory_monitor:set_vm_memory_high_watermark({to})."));
    set("0.000001");
    wait_until("the alarm", || broker.evaluate("rabbit_alarm:get_alarms().") != "[]");
    bus.hints().publish(hint("a")).expect("open");
    let last = held[prefetch - 1].tag;
    let delayed = bus.data().acknowledge(last).expect_err("the hint is not confirmed");
    assert!(delayed.to_string().contains("is the broker short of memory or disk?"), "{delayed}");
    assert_eq!(bus.data().receive(1, Duration::from_millis(300)), Ok(Vec::new()), "the prefetch is full");
    set(&watermark);
    let after = receive(bus.data(), 1);
    assert_eq!(after[0].message, lines([format!("m {prefetch} 1")]));
    drop(bus);
    let bus = connect(&settings);
    let again = receive(bus.data(), 1);
    assert_eq!(again[0].message, after[0].message, "only the last one was not acknowledged");
}
