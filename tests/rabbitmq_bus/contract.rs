//! What every bus promises, of the one in memory and of the one at a broker alike.

use std::thread;
use std::time::Duration;

use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::waiting::wait_until;
use htmengine::bus::memory::{MemoryBus, MemoryBusLimits};
use htmengine::bus::rabbitmq::{DATA_PREFETCH, RabbitSettings, WINDOW_MESSAGES};
use htmengine::bus::{Bus, BusError, TryPublishError};

use crate::peer::{Peer, connect, hint, lines, receive};

/// Asks `check` of both buses.
fn check_both(check: impl Fn(&dyn Bus)) {
    check(&MemoryBus::new(MemoryBusLimits::default()));
    check(&connect(&PrivateRabbitMq::shared().fresh_settings()));
}

#[test]
fn messages_come_in_publishing_order_with_ascending_tags() {
    check_both(|bus| {
        let queue = bus.data();
        for number in 0..50 {
            queue.publish(lines([format!("m {number} 1")])).expect("open");
        }
        let received = receive(queue, 50);
        let expected: Vec<_> = (0..50).map(|number| lines([format!("m {number} 1")])).collect();
        assert!(received.is_sorted_by(|one, next| one.tag < next.tag));
        assert_eq!(received.into_iter().map(|delivery| delivery.message).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn an_empty_queue_answers_nothing_in_time() {
    check_both(|bus| {
        assert_eq!(bus.hints().receive(1, Duration::from_millis(1)), Ok(Vec::new()));
        assert_eq!(bus.hints().receive(0, Duration::from_secs(20)), Ok(Vec::new()));
    });
}

#[test]
fn only_delivered_tags_can_be_acknowledged() {
    check_both(|bus| {
        let queue = bus.hints();
        queue.publish(hint("a")).expect("open");
        let tag = receive(queue, 1)[0].tag;
        queue.acknowledge(tag).expect("delivered");
        queue.acknowledge(tag).expect("a second time is no harm");
        let next = htmengine::bus::DeliveryTag(tag.0 + 1);
        assert!(matches!(queue.acknowledge(next), Err(BusError::Transient { .. })));
    });
}

#[test]
fn closing_lets_receivers_drain_and_publishers_fail() {
    check_both(|bus| {
        let queue = bus.data();
        for number in 0..300 {
            queue.publish(lines([format!("m {number} 1")])).expect("open");
        }
        queue.close();
        assert_eq!(queue.publish(lines(["late"])), Err(BusError::Closed));
        assert!(matches!(queue.try_publish(lines(["late"])), Err(TryPublishError::Closed(_))));
        let received = receive(queue, 300);
        assert_eq!(received[299].message, lines(["m 299 1"]));
        queue.acknowledge(received[299].tag).expect("what was drained can be acknowledged");
        wait_until("the end of the queue", || match queue.receive(1, Duration::from_millis(50)) {
            Ok(none) => {
                assert!(none.is_empty());
                false
            }
            Err(error) => error == BusError::Closed,
        });
    });
}

#[test]
fn depth_counts_what_waits() {
    check_both(|bus| {
        let queue = bus.data();
        assert_eq!(queue.depth(), 0);
        for _ in 0..5 {
            queue.publish(lines(["m 1 1"])).expect("open");
        }
        wait_until("5 waiting messages", || queue.depth() == 5);
        let received = receive(queue, 5);
        wait_until("an empty queue", || queue.depth() == 0);
        queue.acknowledge(received[4].tag).expect("delivered");
    });
}

#[test]
fn every_subscriber_sees_every_result() {
    check_both(|bus| {
        let mut readers = [bus.results().subscribe(), bus.results().subscribe()];
        let message = crate::wire::captured_results().remove(0);
        bus.results().publish(message.clone()).expect("open");
        for reader in &mut readers {
            assert_eq!(reader.receive(Duration::from_secs(20)), Ok(Some(message.clone())));
            assert_eq!(reader.receive(Duration::from_millis(1)), Ok(None));
        }
    });
}

#[test]
fn a_message_is_gone_only_after_it_was_acknowledged() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let first = connect(&settings);
    for number in 0..6 {
        first.data().publish(lines([format!("m {number} 1")])).expect("open");
    }
    let received = receive(first.data(), 4);
    first.data().acknowledge(received[1].tag).expect("delivered");
    drop(first);
    let second = connect(&settings);
    let again: Vec<_> = receive(second.data(), 4).into_iter().map(|delivery| delivery.message).collect();
    assert_eq!(again, [2, 3, 4, 5].map(|number| lines([format!("m {number} 1")])));
}

#[test]
fn deliveries_that_wait_for_acknowledgement_are_bounded() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let prefetch = usize::from(DATA_PREFETCH);
    for number in 0..prefetch + 50 {
        bus.data().publish(lines([format!("m {number} 1")])).expect("open");
    }
    let received = receive(bus.data(), prefetch);
    assert_eq!(bus.data().receive(9, Duration::from_millis(50)), Ok(Vec::new()));
    assert_eq!(Peer::new(&settings).look(&settings.data_queue), (50, 1));
    bus.data().acknowledge(received[prefetch - 1].tag).expect("delivered");
    assert_eq!(receive(bus.data(), 50)[49].message, lines([format!("m {} 1", prefetch + 49)]));
}

#[test]
fn a_full_data_queue_holds_the_listener_back() {
    let settings = RabbitSettings { max_data_messages: 3, ..PrivateRabbitMq::shared().fresh_settings() };
    let bus = connect(&settings);
    let queue = bus.data();
    let (mut taken, mut refused_in_a_row) = (0, 0);
    // The window is filled within moments; then nothing is taken any more, for as long as nobody reads.
    wait_until("a queue that stays full", || match queue.try_publish(lines([format!("m {taken} 1")])) {
        Ok(()) => {
            (taken, refused_in_a_row) = (taken + 1, 0);
            false
        }
        Err(TryPublishError::Full(message)) => {
            assert_eq!(message, lines([format!("m {taken} 1")]));
            refused_in_a_row += 1;
            refused_in_a_row == 100
        }
        Err(TryPublishError::Closed(_)) => panic!("closed"),
    });
    assert!(taken >= WINDOW_MESSAGES, "{taken} were taken");
    let depth = Peer::new(&settings).look(&settings.data_queue).0;
    assert!(usize::try_from(depth).expect("small") < taken, "{depth} of {taken} passed the bound");
    thread::scope(|scope| {
        let publisher = scope.spawn(|| queue.publish(lines(["last 1 1"])));
        let mut last = None;
        for _ in 0..=taken {
            let delivery = receive(queue, 1).remove(0);
            queue.acknowledge(delivery.tag).expect("delivered");
            last = Some(delivery.message);
        }
        assert_eq!(publisher.join().expect("no panic"), Ok(()));
        assert_eq!(last, Some(lines(["last 1 1"])));
    });
}

#[test]
fn hints_and_scores_have_one_reader() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let (first, second) = (connect(&settings), connect(&settings));
    assert_eq!(first.hints().receive(1, Duration::ZERO), Ok(Vec::new()));
    wait_until("the first reader", || Peer::new(&settings).look(&settings.hints_queue).1 == 1);
    wait_until("a refusal", || match second.hints().receive(1, Duration::from_millis(50)) {
        Ok(none) => {
            assert!(none.is_empty());
            false
        }
        Err(BusError::Transient { reason }) => {
            assert!(reason.contains(&settings.hints_queue), "{reason}");
            assert!(reason.contains("only one scheduler may run"), "{reason}");
            true
        }
        Err(error) => panic!("{error}"),
    });
    first.hints().publish(hint("a")).expect("open");
    drop(first);
    // Hints of a queue that is not durable survive as long as the broker does.
    assert_eq!(receive(second.hints(), 1)[0].message, hint("a"));
    // Any number of storers may share the lines.
    let third = connect(&settings);
    for bus in [&second, &third] {
        assert_eq!(bus.data().receive(1, Duration::ZERO), Ok(Vec::new()));
    }
    wait_until("two storers", || Peer::new(&settings).look(&settings.data_queue).1 == 2);
}
