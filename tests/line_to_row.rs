//! Promise: a line sent to the engine becomes a row whose scores equal, bit for bit, those of a lone model over the
//! same samples, however the lines were sent and batched; and every finished row is published once, in order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::lone_run::{assert_equal, assert_scored, assert_stored, learned_scores, padded_range};
use htm_tests::recording::series;
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{connect, finish, lines, send, send_in_parts};
use htm_tests::stored::{monitor, rows, scored_count, status, wait_for_rows, wait_for_scores};
use htm_tests::waiting::{MAX_WAIT, wait_for, wait_until};
use htmengine::engine::EngineOptions;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;

fn samples(name: &str, count: usize) -> Vec<Record> {
    series(name).into_iter().map(|(_, record)| record).take(count).collect()
}

fn by_itself(options: &mut EngineOptions) {
    options.monitor = vec!["*".to_owned()];
}

#[test]
fn a_whole_series_gets_the_scores_of_a_lone_run() {
    let samples = samples("speed_7578", usize::MAX);
    let range = padded_range(&samples);
    let running = RunningEngine::start(|_| {});
    monitor(running.repository(), "speed", Some(range));
    send(running.address(), lines("speed", &samples).as_bytes());
    let rows = wait_for_scores(running.repository(), "speed", samples.len());
    assert_equal("speed_7578", &rows, &samples, range);
    assert!(rows.iter().any(|row| row.anomaly_score > Some(0.5)), "the series has anomalies");
}

#[test]
fn one_sample_on_each_connection_is_the_same_series() {
    let samples = samples("speed_7578", 150);
    let range = padded_range(&samples);
    let running = RunningEngine::start(|_| {});
    monitor(running.repository(), "speed", Some(range));
    for sample in &samples {
        send(running.address(), lines("speed", &[*sample]).as_bytes());
    }
    let rows = wait_for_scores(running.repository(), "speed", samples.len());
    assert_equal("one by one", &rows, &samples, range);
}

#[test]
fn clients_interleaved_on_open_connections_do_not_disturb_one_another() {
    let clients: Vec<(&str, Vec<Record>)> = ["speed_7578", "art_daily_jumpsup", "ec2_cpu_utilization_5f5533"]
        .map(|name| (name, samples(name, 200)))
        .to_vec();
    let running = RunningEngine::start(|_| {});
    for (name, samples) in &clients {
        monitor(running.repository(), name, Some(padded_range(samples)));
    }
    let mut streams: Vec<TcpStream> = clients.iter().map(|_| connect(running.address())).collect();
    for index in 0..200 {
        for ((name, samples), stream) in clients.iter().zip(&mut streams) {
            let line = lines(name, &samples[index..=index]);
            // In two parts, so that another client's bytes come in the middle of the line.
            let (first, second) = line.as_bytes().split_at(line.len() / 2);
            stream.write_all(first).expect("sent");
            stream.write_all(second).expect("sent");
        }
    }
    streams.into_iter().for_each(finish);
    for (name, samples) in &clients {
        let rows = wait_for_scores(running.repository(), name, samples.len());
        assert_equal(name, &rows, samples, padded_range(samples));
    }
}

#[test]
fn datagrams_of_many_lines_are_the_same_series() {
    let samples = samples("speed_7578", 400);
    let range = padded_range(&samples);
    let running = RunningEngine::start(|_| {});
    let address = running.engine().udp_address().expect("UDP is on unless turned off");
    monitor(running.repository(), "speed", Some(range));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let mut sent = 0;
    for part in samples.chunks(25) {
        let mut datagram = lines("speed", part);
        if sent % 2 == 0 {
            // The last line of a datagram needs no newline.
            datagram.pop();
        }
        socket.send_to(datagram.as_bytes(), address).expect("sent");
        sent += part.len();
        // Only so far ahead that the kernel never drops one.
        wait_for_rows(running.repository(), "speed", sent);
    }
    let rows = wait_for_scores(running.repository(), "speed", samples.len());
    assert_equal("over UDP", &rows, &samples, range);
}

#[test]
fn a_metric_without_a_range_starts_with_the_range_of_its_first_288_rows() {
    let samples = samples("speed_7578", 400);
    let (expected, _) = learned_scores(&samples, 288);
    assert_ne!(expected, learned_scores(&samples, 400).0, "the rest widens the range");
    let running = RunningEngine::start(by_itself);
    let batchings: [(&str, &[usize]); 4] =
        [("at.once", &[400]), ("exactly", &[288, 112]), ("across", &[287, 2, 111]), ("tens", &[10; 40])];
    for (name, sizes) in batchings {
        send_in_parts(running.address(), name, &samples, sizes);
    }
    for (name, _) in batchings {
        let rows = wait_for_scores(running.repository(), name, samples.len());
        assert_stored(name, &rows, &samples);
        assert_scored(name, &rows, &expected);
    }
}

#[test]
fn a_metric_waits_for_row_288_and_no_longer() {
    let samples = samples("art_flatline", 288);
    let running = RunningEngine::start(by_itself);
    let repository = running.repository();
    send(running.address(), lines("flat", &samples[..287]).as_bytes());
    let rows = wait_for_rows(repository, "flat", 287);
    assert_stored("before its model", &rows, &samples[..287]);
    assert!(rows.iter().all(|row| row.raw_anomaly_score.is_none()), "nothing to score with yet");
    assert_eq!(status(repository, "flat"), Some(MetricStatus::PendingData));
    send(running.address(), lines("flat", &samples[287..]).as_bytes());
    let rows = wait_for_scores(repository, "flat", 288);
    assert_eq!(status(repository, "flat"), Some(MetricStatus::Active));
    // A constant value counts as a spread of 1, widened by three fifths on both sides.
    let value = samples[0].value;
    let range = ValueRange::new(value - 0.6, value + 1.6).expect("a range");
    assert_equal("a constant", &rows, &samples, range);
}

#[test]
fn rows_stored_before_monitoring_are_scored_too() {
    let samples = samples("ec2_cpu_utilization_5f5533", 340);
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    for name in ["with.range", "without.range"] {
        send(running.address(), lines(name, &samples[..300]).as_bytes());
        let rows = wait_for_rows(repository, name, 300);
        assert!(rows.iter().all(|row| row.raw_anomaly_score.is_none()), "not monitored");
    }
    let range = ValueRange::new(0.0, 100.0).expect("a range");
    monitor(repository, "with.range", Some(range));
    monitor(repository, "without.range", None);
    for name in ["with.range", "without.range"] {
        wait_for_scores(repository, name, 300);
        send(running.address(), lines(name, &samples[300..]).as_bytes());
    }
    assert_equal("given", &wait_for_scores(repository, "with.range", 340), &samples, range);
    // Everything that was stored when somebody asked is looked at, not only the first 288 rows.
    let rows = wait_for_scores(repository, "without.range", 340);
    assert_scored("learned", &rows, &learned_scores(&samples, 300).0);
}

#[test]
fn spellings_of_a_line_do_not_matter() {
    let running = RunningEngine::start(|_| {});
    let range = ValueRange::new(0.0, 5.0).expect("a range");
    let name = "disk.used;dc=west;host=a";
    monitor(running.repository(), name, Some(range));
    let text = concat!(
        "disk.used;host=a;dc=west 5.0 1386201600.0\n",
        "disk.used;dc=west;host=a\t4\t1386201899\r\n",
        "  disk.used;host=a;dc=west   +3e0 1386201900.999  \r\n",
        "\n\r\n",
        "disk.used;dc=east;dc=west;host=a .5 1386288000.021\n",
        "disk.used;dc=west;host=a -2. 1386374400",
    );
    send(running.address(), text.as_bytes());
    let expected = [
        (1_386_201_600, 5.0),
        (1_386_201_899, 4.0),
        (1_386_201_900, 3.0),
        (1_386_288_000, 0.5),
        (1_386_374_400, -2.0),
    ]
    .map(|(timestamp, value)| Record { timestamp, value });
    let rows = wait_for_scores(running.repository(), name, expected.len());
    assert_equal("spellings", &rows, &expected, range);
    assert_eq!(running.repository().metrics(&[]).expect("readable").len(), 1, "one metric");
}

#[test]
fn the_last_line_needs_no_newline() {
    let running = RunningEngine::start(|_| {});
    send(running.address(), b"cpu.load 0.5 1443197361");
    let rows = wait_for_rows(running.repository(), "cpu.load", 1);
    assert_stored("printf", &rows, &[Record { timestamp: 1_443_197_361, value: 0.5 }]);
    send(running.address(), b"cpu.load 1.5 1443197362\ncpu.load 2.5 1443197363");
    assert_eq!(wait_for_rows(running.repository(), "cpu.load", 3)[2].value.to_bits(), 2.5_f64.to_bits());
}

#[test]
fn a_lone_line_on_an_open_connection_does_not_wait_for_company() {
    let running = RunningEngine::start(|_| {});
    let mut stream = connect(running.address());
    for count in 1..=3 {
        writeln!(stream, "cpu.load 0.5 144319736{count}").expect("sent");
        wait_for_rows(running.repository(), "cpu.load", count);
    }
}

/// One published row: id, time, value, raw and anomaly score; floats as bits.
type PublishedRow = (i64, u64, u64, u64, u64);

fn published(row: &MetricRow) -> PublishedRow {
    #[expect(clippy::cast_precision_loss, reason = "unix seconds are exact in an f64")]
    let time = row.timestamp as f64;
    let bits = |score: Option<f64>| score.expect("scored").to_bits();
    let scores = (bits(row.raw_anomaly_score), bits(row.anomaly_score));
    (row.row_id.0, time.to_bits(), row.value.to_bits(), scores.0, scores.1)
}

/// Lines of the live results, read on a thread of their own so that no test can hang on them.
fn follow(address: SocketAddr) -> Receiver<serde_json::Value> {
    let stream = connect(address);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let message = serde_json::from_str(&line).expect("one JSON object a line");
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}

fn rows_of(message: &serde_json::Value) -> Vec<PublishedRow> {
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().expect("a number").to_bits();
    let results = message["results"].as_array().expect("rows");
    results
        .iter()
        .map(|row| {
            let row_id = row["rowid"].as_i64().expect("a row id");
            assert!(row["multiStepBestPredictions"].is_null(), "no predictions yet");
            (
                row_id,
                number(row, "ts"),
                number(row, "value"),
                number(row, "rawAnomaly"),
                number(row, "anomaly"),
            )
        })
        .collect()
}

#[test]
fn every_finished_row_is_published_once_and_in_order() {
    let names = ["speed_7578", "art_daily_jumpsup"];
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let running = RunningEngine::start(|options| options.results = Some(any_port));
    let repository = running.repository();
    for name in names {
        monitor(repository, name, Some(padded_range(&samples(name, 300))));
    }
    monitor(repository, "probe", ValueRange::new(0.0, 1.0).ok());
    let stream = follow(running.engine().results_address().expect("served"));
    // A reader sees what is published after the engine noticed it; a probe tells when that is.
    let mut probe_time = 1_400_000_000;
    wait_for("the first live result", || {
        probe_time += 1;
        send(running.address(), format!("probe 1 {probe_time}\n").as_bytes());
        stream.recv_timeout(Duration::from_millis(100)).ok()
    });
    let mut subscription = running.engine().bus().results().subscribe();
    for name in names {
        for part in samples(name, 300).chunks(90) {
            send(running.address(), lines(name, part).as_bytes());
        }
    }
    let (mut in_process, mut streamed) = (BTreeMap::new(), BTreeMap::new());
    let is_complete = |found: &BTreeMap<String, Vec<PublishedRow>>| {
        names.iter().all(|name| found.get(*name).is_some_and(|rows| rows.len() >= 300))
    };
    wait_until("all rows on the stream", || {
        while let Ok(message) = stream.recv_timeout(Duration::from_millis(1)) {
            let name = message["metric"]["name"].as_str().expect("a name").to_owned();
            streamed.entry(name).or_insert_with(Vec::new).extend(rows_of(&message));
        }
        is_complete(&streamed)
    });
    while !is_complete(&in_process) {
        let message = subscription.receive(MAX_WAIT).expect("an open bus").expect("another message");
        let htmengine::bus::message::ResultMessage::Inference(message) = message else { continue };
        let rows = in_process.entry(message.metric.name).or_insert_with(Vec::new);
        rows.extend(message.results.iter().map(|row| {
            let scores = (row.raw_anomaly.to_bits(), row.anomaly.to_bits());
            (row.rowid, row.ts.to_bits(), row.value.to_bits(), scores.0, scores.1)
        }));
    }
    for name in names {
        assert_eq!(scored_count(repository, name), 300);
        let stored: Vec<PublishedRow> = rows(repository, name).iter().map(published).collect();
        assert_eq!(in_process[name], stored, "{name} in process");
        assert_eq!(streamed[name], stored, "{name} on the stream");
    }
}
