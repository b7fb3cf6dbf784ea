//! The listener's promises, through real sockets on 127.0.0.1 and a bus in memory.
#![expect(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::counters::ListenerCounters;
use super::{ListenerHandle, ListenerOptions, bind};
use crate::bus::Bus;
use crate::bus::memory::{MemoryBus, MemoryBusLimits};
use crate::bus::message::DataMessage;
use crate::clock::{Clock, SystemClock};
use crate::listener::batch::MAX_BATCH_LINES;
use crate::reject::{RejectLedger, RejectReason};

/// Long enough for any machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time that does not go on.
struct StandingClock;

impl Clock for StandingClock {
    fn unix_seconds(&self) -> i64 {
        1_500_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct Fixture {
    bus: Arc<MemoryBus>,
    ledger: Arc<RejectLedger>,
    listener: ListenerHandle,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl Fixture {
    fn new(data_messages: usize, options: ListenerOptions) -> Self {
        Self::with_clock(data_messages, options, Arc::new(SystemClock::new()))
    }

    fn with_clock(data_messages: usize, options: ListenerOptions, clock: Arc<dyn Clock>) -> Self {
        let any_port = "127.0.0.1:0".parse().unwrap();
        let bound = bind(any_port, Some(any_port)).unwrap();
        let (tcp, udp) = (bound.tcp_address(), bound.udp_address().unwrap());
        let bus = Arc::new(MemoryBus::new(MemoryBusLimits { data_messages, ..Default::default() }));
        let ledger = Arc::new(RejectLedger::new());
        let listener = bound.spawn(bus.clone(), ledger.clone(), clock, options);
        Self { bus, ledger, listener, tcp, udp }
    }

    fn roomy() -> Self {
        Self::new(1_024, ListenerOptions::default())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Receives until there are `count` lines.
    fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let deliveries = self.bus.data().receive(1, PATIENCE).expect("open");
            assert!(!deliveries.is_empty(), "only {} of {count} lines came", lines.len());
            for delivery in deliveries {
                assert!((1..=MAX_BATCH_LINES).contains(&delivery.message.lines.len()));
                lines.extend(delivery.message.lines.into_iter().map(|line| String::from_utf8(line).unwrap()));
                self.bus.data().acknowledge(delivery.tag).unwrap();
            }
        }
        assert_eq!(lines.len(), count, "too many lines: {lines:?}");
        lines
    }

    fn counters(&self) -> &ListenerCounters {
        self.listener.counters()
    }

    fn reject_count(&self, reason: RejectReason) -> u64 {
        reject_count(&self.ledger, reason)
    }

    fn fill_queue(&self) {
        while self.bus.data().try_publish(DataMessage::new(vec![b"filler".to_vec()])).is_ok() {}
    }
}

fn reject_count(ledger: &RejectLedger, reason: RejectReason) -> u64 {
    let drained = ledger.drain();
    let count = drained.iter().find(|entry| entry.reason == reason).map_or(0, |entry| entry.count);
    ledger.restore(drained);
    count
}

#[track_caller]
fn wait_until(what: &str, mut is_reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_reached() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Lines `<name> 0 1443197361`, `<name> 1 1443197361`, ...
fn numbered(line_count: usize, name: &str) -> String {
    (0..line_count).map(|n| format!("{name} {n} 1443197361\n")).collect::<Vec<_>>().concat()
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The server never writes, so a client reads nothing but the end of the stream.
#[track_caller]
fn expect_end(mut client: &TcpStream) {
    assert_eq!(client.read(&mut [0; 16]).expect("an orderly end, in time"), 0);
}

#[track_caller]
fn expect_still_open(mut client: &TcpStream) {
    client.set_nonblocking(true).unwrap();
    let found = client.read(&mut [0; 16]);
    assert_eq!(found.expect_err("neither bytes nor an end").kind(), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
}

#[test]
fn a_lone_line_is_published_at_once() {
    let fixture = Fixture::roomy();
    let mut client = fixture.connect();
    client.write_all(b"a.b 21 1443197361\n").unwrap();
    assert_eq!(fixture.lines(1), ["a.b 21 1443197361"]);
    expect_still_open(&client);
    client.shutdown(Shutdown::Write).unwrap();
    expect_end(&client);
    let counters = fixture.counters();
    assert_eq!([&counters.connections_accepted, &counters.lines, &counters.batches].map(count), [1, 1, 1]);
    assert_eq!(count(&counters.bytes), 18);
}

#[test]
fn lines_in_odd_chunks_keep_their_order_on_each_connection() {
    const LINES_PER_CLIENT: usize = 2_000;
    let fixture = Fixture::roomy();
    let lines = thread::scope(|scope| {
        for client_idx in 0..5_usize {
            let mut client = fixture.connect();
            scope.spawn(move || {
                let text = numbered(LINES_PER_CLIENT, &format!("client{client_idx}"));
                let mut rest = text.as_bytes();
                for size_bytes in (1..).map(|n| 1 + (n * (client_idx + 7)) % 311) {
                    let (chunk, after) = rest.split_at(size_bytes.min(rest.len()));
                    client.write_all(chunk).unwrap();
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                client.shutdown(Shutdown::Write).unwrap();
                expect_end(&client);
            });
        }
        fixture.lines(5 * LINES_PER_CLIENT)
    });
    for client_idx in 0..5 {
        let prefix = format!("client{client_idx} ");
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(&prefix)).cloned().collect();
        let sent: Vec<_> = (0..LINES_PER_CLIENT).map(|n| format!("{prefix}{n} 1443197361")).collect();
        assert_eq!(own, sent);
    }
}

#[test]
fn crlf_tabs_and_blank_lines_are_trimmed_and_dropped() {
    let fixture = Fixture::roomy();
    let mut client = fixture.connect();
    client.write_all(b"\r\n \ta\t1\t2\t\r\n\nb  3 4 \n").unwrap();
    assert_eq!(fixture.lines(2), ["a\t1\t2", "b  3 4"]);
}

#[test]
fn the_last_line_needs_no_newline() {
    let fixture = Fixture::roomy();
    let mut client = fixture.connect();
    client.write_all(b"a 1 2\nb 3 4").unwrap();
    assert_eq!(fixture.lines(1), ["a 1 2"]);
    client.shutdown(Shutdown::Write).unwrap();
    expect_end(&client);
    assert_eq!(fixture.bus.data().depth(), 1, "the end is seen only after the hand-over");
    assert_eq!(fixture.lines(1), ["b 3 4"]);
}

#[test]
fn ten_megabytes_without_a_newline_cost_one_reject() {
    let fixture = Fixture::roomy();
    let mut client = fixture.connect();
    for _ in 0..160 {
        client.write_all(&vec![b'x'; 65_536]).unwrap();
    }
    client.write_all(b"\ngood 1 2\n").unwrap();
    assert_eq!(fixture.lines(1), ["good 1 2"]);
    assert_eq!(fixture.reject_count(RejectReason::LineTooLong), 1);
    expect_still_open(&client);
}

#[test]
fn a_datagram_may_hold_many_lines() {
    let fixture = Fixture::roomy();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"a 1 2\r\nb 3 4\n\nc 5 6", fixture.udp).unwrap();
    assert_eq!(fixture.lines(3), ["a 1 2", "b 3 4", "c 5 6"]);
    client.send_to(b"", fixture.udp).unwrap();
    let largest = "d 7 8\n".repeat(10_000);
    client.send_to(largest.as_bytes(), fixture.udp).unwrap();
    assert_eq!(fixture.lines(10_000), vec!["d 7 8"; 10_000]);
    wait_until("the datagrams are counted", || count(&fixture.counters().datagrams) == 3);
}

/// 1,000, or fewer where this process may not open that many files.
fn many_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft_limit: usize =
        open_files.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(20_000);
    1_000.min(soft_limit.saturating_sub(300) / 2)
}

#[test]
fn half_open_connections_do_not_keep_others_waiting() {
    let fixture = Fixture::roomy();
    let wanted = many_connections();
    let silent: Vec<_> = (0..wanted)
        .map(|number| {
            let mut client = fixture.connect();
            if number % 2 == 0 {
                client.write_all(b"never finished").unwrap();
            }
            client
        })
        .collect();
    let mut client = fixture.connect();
    client.write_all(b"a 1 2\n").unwrap();
    assert_eq!(fixture.lines(1), ["a 1 2"]);
    let open = u64::try_from(wanted + 1).unwrap();
    wait_until("all are accepted", || count(&fixture.counters().connections_open) == open);
    drop(silent);
    wait_until("all but one are gone", || count(&fixture.counters().connections_open) == 1);
}

#[test]
fn a_flood_does_not_starve_a_quiet_client() {
    let fixture = Fixture::new(4, ListenerOptions::default());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut flooder = fixture.connect();
            let is_over = &is_over;
            scope.spawn(move || {
                let block = b"flood 1 2\n".repeat(10_000);
                while !is_over.load(Ordering::Relaxed) && flooder.write_all(&block).is_ok() {}
            });
        }
        wait_until("the flood has begun", || count(&fixture.counters().back_pressure_pauses) > 0);
        let mut quiet = fixture.connect();
        quiet.write_all(b"quiet 1 2\n").unwrap();
        let mut is_heard = false;
        let start = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            for delivery in fixture.bus.data().receive(8, PATIENCE).unwrap_or_default() {
                is_heard |= delivery.message.lines.iter().any(|line| line == b"quiet 1 2");
            }
            is_over.store(is_heard || start.elapsed() > PATIENCE, Ordering::Relaxed);
        }
        // A flooder may still wait for room in its socket.
        fixture.bus.data().close();
        assert!(is_heard);
    });
}

#[test]
fn a_full_queue_pauses_reading_and_loses_nothing() {
    const LINE_COUNT: usize = 200_000;
    let fixture = Fixture::new(1, ListenerOptions::default());
    let mut client = fixture.connect();
    thread::scope(|scope| {
        scope.spawn(move || {
            let text = numbered(LINE_COUNT, "metric.name");
            client.write_all(text.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            expect_end(&client);
        });
        wait_until("reading pauses", || count(&fixture.counters().back_pressure_pauses) > 0);
        // One chunk that filled the queue, one that did not fit.
        assert!(count(&fixture.counters().bytes) <= 2 * 65_536);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.send_to(b"udp 1 2", fixture.udp).unwrap();
        let mut lines = fixture.lines(LINE_COUNT + 1);
        let udp_idx = lines.iter().position(|line| line == "udp 1 2").expect("read after the pause");
        lines.remove(udp_idx);
        let is_in_order =
            lines.iter().enumerate().all(|(n, line)| *line == format!("metric.name {n} 1443197361"));
        assert!(is_in_order);
    });
}

#[test]
fn a_client_sees_the_end_only_when_the_bus_has_its_lines() {
    let fixture = Fixture::new(1, ListenerOptions::default());
    fixture.fill_queue();
    let mut client = fixture.connect();
    client.write_all(b"a 1 2").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_until("the line waits for room", || count(&fixture.counters().back_pressure_pauses) == 1);
    expect_still_open(&client);
    assert_eq!(count(&fixture.counters().connections_open), 1);
    assert_eq!(fixture.lines(1), ["filler"]);
    expect_end(&client);
    assert_eq!(fixture.lines(1), ["a 1 2"]);
}

#[test]
fn connections_above_the_limit_are_closed_and_counted() {
    let options = ListenerOptions { max_connections: 2, ..Default::default() };
    let fixture = Fixture::new(9, options);
    let mut clients = [fixture.connect(), fixture.connect()];
    wait_until("both are in", || count(&fixture.counters().connections_open) == 2);
    expect_end(&fixture.connect());
    wait_until("the third is counted", || fixture.reject_count(RejectReason::TooManyConnections) == 1);
    clients[1].write_all(b"a 1 2\n").unwrap();
    assert_eq!(fixture.lines(1), ["a 1 2"]);
    clients[0].shutdown(Shutdown::Write).unwrap();
    expect_end(&clients[0]);
    wait_until("there is room again", || count(&fixture.counters().connections_open) == 1);
    clients[0] = fixture.connect();
    clients[0].write_all(b"b 3 4\n").unwrap();
    assert_eq!(fixture.lines(1), ["b 3 4"]);
}

#[test]
fn connections_leave_the_files_that_everything_else_needs() {
    let check = |max_connections, files, expected| {
        let mut options = ListenerOptions { max_connections, ..ListenerOptions::default() };
        let lowered = options.fit_files(files, super::OTHER_FILES);
        assert_eq!((options.max_connections, lowered), expected, "{max_connections} of {files:?}");
    };
    check(16_384, None, (16_384, None));
    check(16_384, Some(16_640), (16_384, None));
    check(16_384, Some(16_639), (16_383, Some(16_384)));
    check(10, Some(200), (1, Some(10)));
}

#[test]
fn a_silent_connection_is_closed_and_a_busy_one_is_not() {
    // Long enough that a busy machine does not make the busy connection look silent.
    let options = ListenerOptions { idle_timeout: Duration::from_secs(3), ..Default::default() };
    let fixture = Fixture::new(1_024, options);
    let (silent, mut busy) = (fixture.connect(), fixture.connect());
    silent.set_nonblocking(true).unwrap();
    let mut sent_count = 0;
    wait_until("the silent one is closed", || {
        busy.write_all(b"a 1 2\n").unwrap();
        sent_count += 1;
        let _ = fixture.bus.data().receive(8, Duration::ZERO);
        (&silent).read(&mut [0; 16]).is_ok_and(|size_bytes| size_bytes == 0)
    });
    assert!(sent_count > 1);
    // The client sees the end before the listener counts it.
    wait_until("it is counted", || count(&fixture.counters().connections_idled_out) == 1);
    expect_still_open(&busy);
}

#[test]
fn a_broken_connection_loses_only_its_unfinished_line() {
    let fixture = Fixture::roomy();
    let mut client = fixture.connect();
    client.write_all(b"a 1 2\nb 3 1443").unwrap();
    assert_eq!(fixture.lines(1), ["a 1 2"]);
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_until("the reset is noticed", || count(&fixture.counters().connections_open) == 0);
    wait_until("the unfinished line is counted", || fixture.reject_count(RejectReason::Unfinished) == 1);
    assert_eq!(count(&fixture.counters().unfinished_lines), 1);
    assert_eq!(fixture.bus.data().depth(), 0);
}

/// The storer read them when it came to them: after an outage all lines of one name that had waited got the same second, and
/// all but one were lost as duplicates.
#[test]
fn a_line_that_says_now_gets_the_time_at_which_it_came() {
    let fixture = Fixture::with_clock(1_024, ListenerOptions::default(), Arc::new(StandingClock));
    fixture.connect().write_all(b"a 1 N\r\nb 2 -1\nc 3 4\nd -1 5\n").unwrap();
    assert_eq!(fixture.lines(4), ["a 1 1500000000", "b 2 1500000000", "c 3 4", "d -1 5"]);
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.send_to(b"e 1 n", fixture.udp).unwrap();
    assert_eq!(fixture.lines(1), ["e 1 1500000000"]);
}

#[test]
fn a_stop_delivers_what_was_sent() {
    let fixture = Fixture::roomy();
    let mut ended = fixture.connect();
    let mut open = fixture.connect();
    let block = numbered(1_000, "a");
    open.write_all(block.as_bytes()).unwrap();
    open.write_all(b"cut short 14").unwrap();
    ended.write_all(b"b 1 1\nc 2 2").unwrap();
    ended.shutdown(Shutdown::Write).unwrap();
    // Still in the backlog if the thread is slow: the stop takes it in all the same.
    let mut late = fixture.connect();
    late.write_all(b"late 1 1\n").unwrap();
    let counters = Arc::clone(fixture.listener.counters());
    let Fixture { bus, ledger, listener, .. } = fixture;
    listener.stop();
    for client in [&ended, &open, &late] {
        expect_end(client);
    }
    let deliveries = bus.data().receive(usize::MAX, Duration::ZERO).unwrap();
    let mut lines: Vec<_> = deliveries.into_iter().flat_map(|delivery| delivery.message.lines).collect();
    let mut sent: Vec<_> =
        block.lines().chain(["b 1 1", "c 2 2", "late 1 1"]).map(|line| line.as_bytes().to_vec()).collect();
    lines.sort_unstable();
    sent.sort_unstable();
    assert_eq!(lines, sent);
    assert_eq!([&counters.unfinished_lines, &counters.lines_lost].map(count), [1, 0]);
    let refused = [RejectReason::Unfinished, RejectReason::LostAtStop].map(|it| reject_count(&ledger, it));
    assert_eq!(refused, [1, 0]);
    assert_eq!(count(&counters.connections_open), 0);
}

#[test]
fn a_stop_with_a_full_queue_gives_up_loudly() {
    let fixture = Fixture::new(1, ListenerOptions::default());
    fixture.fill_queue();
    let mut client = fixture.connect();
    client.write_all(b"a 1 2\nb 3 4\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_until("the lines wait for room", || count(&fixture.counters().back_pressure_pauses) == 1);
    let counters = Arc::clone(fixture.listener.counters());
    let Fixture { ledger, listener, .. } = fixture;
    listener.stop();
    assert_eq!(count(&counters.lines_lost), 2);
    let lost = ledger.drain().into_iter().find(|entry| entry.reason == RejectReason::LostAtStop);
    assert_eq!(lost.map(|entry| (entry.count, entry.example)), Some((2, "a 1 2".to_owned())));
    let found = client.read(&mut [0; 16]).expect_err("a reset, not an end that would mean delivered");
    assert_eq!(found.kind(), ErrorKind::ConnectionReset);
}

/// The kernel's count goes with the socket, and was looked at every two seconds only.
#[test]
fn a_stop_counts_the_datagrams_that_were_dropped_just_before() {
    let fixture = Fixture::with_clock(1, ListenerOptions::default(), Arc::new(StandingClock));
    fixture.fill_queue();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    // More than any receive buffer that was asked for holds; nobody reads while the queue is full.
    for _ in 0..60_000 {
        datagrams.send_to(b"a 1 2", fixture.udp).unwrap();
    }
    let Fixture { ledger, listener, .. } = fixture;
    listener.stop();
    assert!(reject_count(&ledger, RejectReason::DatagramDropped) > 0);
}

/// The drain waited for a UDP socket that was not there until its time was over, on one core: here it never would be.
#[test]
fn a_stop_without_udp_has_nothing_to_wait_for() {
    let bound = bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
    let listener = bound.spawn(bus, Arc::default(), Arc::new(StandingClock), ListenerOptions::default());
    let stopping = thread::spawn(move || listener.stop());
    wait_until("the listener has stopped", || stopping.is_finished());
}

#[test]
fn a_closed_bus_ends_the_listener() {
    let fixture = Fixture::roomy();
    fixture.bus.data().close();
    assert!(!fixture.listener.is_finished());
    let mut client = fixture.connect();
    client.write_all(b"a 1 2\n").unwrap();
    wait_until("the thread has ended", || fixture.listener.is_finished());
    assert_eq!(count(&fixture.counters().lines_lost), 1);
}

#[test]
fn a_taken_port_is_named_with_a_remedy() {
    let fixture = Fixture::roomy();
    let any_port = "127.0.0.1:0".parse().unwrap();
    for (protocol, address, found) in [
        ("TCP", fixture.tcp, bind(fixture.tcp, None).err()),
        ("UDP", fixture.udp, bind(any_port, Some(fixture.udp)).err()),
    ] {
        let message = found.expect("the port is taken").to_string();
        let expected =
            format!("cannot listen on {protocol} {address}: address already in use; stop the program");
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn udp_is_off_unless_asked_for() {
    let bound =
        bind("[::1]:0".parse().unwrap(), None).or_else(|_| bind("127.0.0.1:0".parse().unwrap(), None));
    assert_eq!(bound.unwrap().udp_address(), None);
}
