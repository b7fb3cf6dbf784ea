//! What is refused: messages that cannot be read, and brokers that will not have us.

use std::net::TcpListener;
use std::time::Duration;

use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::waiting::wait_until;
use htmengine::bus::rabbitmq::depth_figures::DepthProbe;
use htmengine::bus::rabbitmq::{REJECTED_SUFFIX, RabbitBus, RabbitSettings};
use htmengine::bus::{Bus, BusError, RejectedMessage};

use crate::peer::{Peer, connect, lines, receive, runtime};

fn refusal(settings: &RabbitSettings) -> BusError {
    RabbitBus::connect(settings, runtime().handle()).expect_err("refused")
}

#[track_caller]
fn says(reason: &str, parts: &[&str]) {
    for part in parts {
        assert!(reason.contains(part), "`{part}` is not said in: {reason}");
    }
}

#[test]
fn a_bad_message_costs_only_itself_and_is_kept_with_its_reason() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    let bad: [(&[u8], &str); 5] = [
        (b"foo.bar 1 2", "expected an object such as"),
        (br#"{"data": ["a 1 2"]}"#, "missing field `protocol`"),
        (br#"{"protocol": "carbon", "data": ["a 1 2"]}"#, "the protocol is `carbon`, expected `plain`"),
        (br#"{"protocol": "plain", "data": ["a 1 2", 7]}"#, "expected a string"),
        (b"\x00\xff", "expected value"),
    ];
    for (number, (body, _)) in bad.iter().enumerate() {
        peer.publish(
            &settings.data_queue,
            format!(r#"{{"protocol": "plain", "data": ["m {number} 1"]}}"#).as_bytes(),
        );
        peer.publish(&settings.data_queue, body);
    }
    bus.data().publish(lines([&b"m 5 1"[..], b"\xff\xfe 1 2"])).expect("open");
    let received = receive(bus.data(), 6);
    for (number, delivery) in received.iter().enumerate().take(5) {
        assert_eq!(delivery.message, lines([format!("m {number} 1")]));
    }
    assert_eq!(
        received[5].message,
        lines([&b"m 5 1"[..], b"\xff\xfe 1 2"]),
        "bytes that are no text come as sent"
    );
    bus.data().acknowledge(received[5].tag).expect("delivered");
    let rejected_queue = format!("{}{REJECTED_SUFFIX}", settings.data_queue);
    for (body, part) in bad {
        let seen = peer.take(&rejected_queue);
        assert_eq!(seen.body, body);
        assert_eq!(seen.headers()["queue"], settings.data_queue);
        says(&seen.headers()["reason"], &[part]);
    }
    let reports = bus.take_rejected();
    assert_eq!(reports.len(), bad.len());
    assert!(
        matches!(&reports[2], RejectedMessage { queue, reason } if *queue == settings.data_queue && reason.contains("carbon"))
    );
    assert!(bus.take_rejected().is_empty(), "each is told once");
    drop(bus);
    assert_eq!(peer.look(&settings.data_queue).0, 0, "rejected messages are gone from their queue");
}

#[test]
fn hints_and_scores_that_cannot_be_read_are_kept_too() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    peer.publish(&settings.hints_queue, b"no json");
    peer.publish(&settings.scores_queue, b"{}");
    wait_until("two rejected messages", || {
        assert_eq!(bus.hints().receive(1, Duration::from_millis(20)), Ok(Vec::new()));
        assert_eq!(bus.scores().receive(1, Duration::from_millis(20)), Ok(Vec::new()));
        let rejected = RabbitBus::check(&settings, runtime().handle());
        rejected.iter().any(|finding| finding.says.starts_with("2 messages could not be read"))
    });
}

#[test]
fn a_broker_that_refuses_us_is_named_with_what_to_change() {
    let good = PrivateRabbitMq::shared().fresh_settings();
    let port = good.port.to_string();
    let wrong_password = RabbitSettings { password: "secret-but-wrong".to_owned(), ..good.clone() };
    let BusError::Refused { reason } = refusal(&wrong_password) else { panic!("not refused") };
    says(&reason, &["user `guest`", "127.0.0.1", &port, "password"]);
    assert!(
        !reason.contains("secret-but-wrong") && !format!("{wrong_password:?}").contains("secret-but-wrong")
    );

    let wrong_vhost = RabbitSettings { virtual_host: "nowhere".to_owned(), ..good.clone() };
    let BusError::Refused { reason } = refusal(&wrong_vhost) else { panic!("not refused") };
    says(&reason, &["virtual host `nowhere`", "user `guest`", "127.0.0.1", &port]);

    let too_long = RabbitSettings { data_queue: "q".repeat(256), ..good.clone() };
    assert!(matches!(refusal(&too_long), BusError::Refused { .. }));

    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let away = RabbitSettings { port: free, ..good };
    let BusError::Transient { reason } = refusal(&away) else { panic!("not transient") };
    says(&reason, &["127.0.0.1", &free.to_string()]);
}

#[test]
fn a_queue_that_was_declared_differently_is_named_with_the_difference() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    Peer::new(&settings).declare(&settings.hints_queue, true).expect("a fresh virtual host");
    let BusError::Refused { reason } = refusal(&settings) else { panic!("not refused") };
    says(&reason, &[&settings.hints_queue, "durable", "declared differently"]);
    let findings = RabbitBus::check(&settings, runtime().handle());
    let bad: Vec<_> = findings.iter().filter(|finding| !finding.is_good).collect();
    assert_eq!(bad.len(), 1, "{findings:?}");
    assert_eq!(bad[0].subject, format!("queue {}", settings.hints_queue));
}

#[test]
fn a_check_looks_and_changes_nothing() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let findings = RabbitBus::check(&settings, runtime().handle());
    assert_eq!(findings.len(), 5, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.is_good), "{findings:?}");
    assert!(findings[1].says.contains("not there yet"), "{findings:?}");
    let bus = connect(&settings);
    bus.data().publish(lines(["m 1 1"])).expect("open");
    bus.close();
    let findings = RabbitBus::check(&settings, runtime().handle());
    assert_eq!(findings[1].says, "1 messages wait, 0 consumers");

    let away = RabbitSettings { password: "wrong".to_owned(), ..settings };
    let findings = RabbitBus::check(&away, runtime().handle());
    assert!(findings.len() == 1 && !findings[0].is_good, "{findings:?}");
}

#[test]
fn a_probe_counts_ready_messages_and_none_in_a_missing_queue() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let probe = DepthProbe::new(&settings, &[]);
    assert_eq!(runtime().block_on(probe.ready()), Ok(vec![0, 0, 0]));
    let bus = connect(&settings);
    for _ in 0..3 {
        bus.data().publish(lines(["m 1 1"])).expect("open");
    }
    bus.close();
    assert_eq!(runtime().block_on(probe.ready()), Ok(vec![3, 0, 0]));
    let one = DepthProbe::new(&settings, &["nowhere".to_owned(), settings.data_queue.clone()]);
    assert_eq!(runtime().block_on(one.ready()), Ok(vec![0, 3]));
}
