//! TLS to our own servers, to MariaDB and to RabbitMQ, each with certificates that were made for the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use htm_tests::certificates::{Authority, Certificate, connect_tls};
use htm_tests::http_client::{Answer, exchange};
use htm_tests::private_mariadb::{PrivateMariadb, runtime};
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::program::{Server, fail, run, succeed};
use htm_tests::sender::{connect, send};
use htm_tests::stored::wait_for_rows;
use htm_tests::waiting::wait_until;
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};

use super::{Site, new_key};

fn settings(certificate: &Path, key: &Path) -> String {
    format!("http_tls_cert = \"{}\"\nhttp_tls_key = \"{}\"\n", certificate.display(), key.display())
}

fn ask(address: SocketAddr, authority: &Path, key: &str) -> Answer {
    let headers = [("X-API-Key", key)];
    exchange(&mut connect_tls(address, authority), "localhost", "GET", "/api/v1/overview", &headers, "")
}

#[test]
fn the_http_servers_speak_tls_and_nothing_else() {
    let ours = Authority::new();
    let Certificate { authority, certificate, key } = ours.certificate("server");
    let (api_key, stanza) = new_key("read", "a");
    let site = Site::start(&format!("{}{stanza}", settings(&certificate, &key)));
    let announced = |prefix| site.server.announced(prefix);
    let (api, web_app) = (announced("HTTP API: https://"), announced("web application: https://"));
    // Clients that never speak keep their own places only.
    let silent: Vec<_> = (0..20).map(|_| connect(api)).collect();
    let answer = ask(api, &authority, &api_key);
    assert_eq!((answer.status, answer.json()["health"].is_null()), (200, false), "{answer:?}");
    assert_eq!(ask(web_app, &authority, &api_key).status, 404);
    assert_eq!(ask(api, &authority, "none").status, 401);
    let mut plain = connect(api);
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    let others = Authority::new();
    let strangers = others.certificate("stranger").authority;
    let refused = connect_tls(api, &strangers).write_all(b"GET / HTTP/1.1\r\n\r\n");
    let refused = refused.expect_err("a certificate of somebody else").to_string();
    assert!(refused.contains("certificate"), "{refused}");
    // A body of more than one record, both ways, and chunks.
    let headers = [("X-API-Key", api_key.as_str())];
    let script = exchange(
        &mut connect_tls(api, &authority),
        "localhost",
        "GET",
        "/assets/vendor/uplot/uPlot.iife.min.js",
        &headers,
        "",
    );
    assert_eq!(script.body, htm_tests::source_tree::read("web/vendor/uplot/uPlot.iife.min.js"));
    drop(silent);
    assert!(site.server.terminate().success());
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_told() {
    let authority = Authority::new();
    let (one, other) = (authority.certificate("one"), authority.certificate("other"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htmengine.toml");
    let none = folder.path().join("none.pem");
    for (certificate, key, parts) in [
        (&one.certificate, &other.key, ["http_tls_key", "is not the private key of the certificate"]),
        (&none, &one.key, ["http_tls_cert", "cannot be read"]),
        (&one.certificate, &none, ["http_tls_key", "cannot be read"]),
        (&one.key, &one.key, ["http_tls_cert", "holds no certificate"]),
        (&one.certificate, &one.certificate, ["http_tls_key", "holds no private key"]),
    ] {
        std::fs::write(&file, settings(certificate, key)).expect("written");
        let [config, data] =
            [&file, &folder.path().join("data")].map(|path| path.to_str().expect("text").to_owned());
        let serve = ["serve", "--graphite", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", &config];
        fail(serve.into_iter().chain(["--data-dir", &data]), 1, &parts);
        let doctor = run(["doctor", "--config", &config, "--data-dir", &data]);
        assert!(parts.iter().all(|part| doctor.stdout.contains(part)), "{doctor:?}");
    }
}

#[test]
fn database_and_broker_are_spoken_to_with_tls_and_verified() {
    let ours = Authority::new();
    let certificate = ours.certificate("server");
    let others = Authority::new();
    let strangers = others.certificate("stranger").authority;
    let database = PrivateMariadb::start_with_tls(&certificate);
    let broker = PrivateRabbitMq::start_with_tls(&certificate);
    let name = database.migrated_database().database;
    database.query(
        "mysql",
        &format!("CREATE USER tls@'127.0.0.1' IDENTIFIED BY 'pw' REQUIRE SSL; GRANT ALL ON {name}.* TO tls@'127.0.0.1'"),
    );
    let vhost = broker.fresh_vhost();
    let addresses = |authority: &Path| {
        let (port, place, file) = (database.port(), broker.tls_address(), authority.display());
        let database = format!("mysql://tls:pw@127.0.0.1:{port}/{name}?tls=true&ca={file}");
        (database, format!("amqps://guest:guest@{place}/{vhost}?ca={file}"))
    };
    let (good_database, good_broker) = addresses(&certificate.authority);

    // Whoever speaks no TLS is refused by the server, so everything below was encrypted.
    let plain =
        MysqlSettings { user: "tls".to_owned(), password: "pw".to_owned(), ..database.settings(&name) };
    assert!(MysqlRepository::connect(&plain, runtime()).is_err());
    let with_tls = MysqlSettings { use_tls: true, ca: Some(certificate.authority.clone()), ..plain.clone() };
    assert!(MysqlRepository::connect(&with_tls, runtime()).is_ok());

    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--no-http", "--no-monitor", "--database", &good_database, "--broker", &good_broker];
    let server = Server::start(folder.path(), flags);
    send(server.address(), b"over.tls 1 1000\n");
    let repository = MysqlRepository::connect(&with_tls, runtime()).expect("open");
    wait_for_rows(&*repository, "over.tls", 1);
    let encrypted = broker.evaluate("length([C || C <- rabbit_networking:connections_local(), rabbit_reader:info(C, [ssl]) == [{ssl, true}]]).");
    assert_ne!(encrypted.trim(), "0", "connections with TLS at the broker");
    assert!(server.terminate().success());

    let (data, file) = (folder.path().join("doctor"), folder.path().join("doctor.toml"));
    // Ports that nobody uses, so that no other program of this machine matters.
    std::fs::write(&file, "graphite = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n").expect("written");
    let [data, file] = [&data, &file].map(|path| path.to_str().expect("text"));
    let doctor = |database: &str, broker: &str| {
        run(["doctor", "--config", file, "--data-dir", data, "--database", database, "--broker", broker])
    };
    let visit = doctor(&good_database, &good_broker);
    assert_eq!(visit.code, Some(0), "{visit:?}");
    let (bad_database, bad_broker) = addresses(&strangers);
    let visit = doctor(&bad_database, &bad_broker);
    assert_eq!(visit.stdout.matches("ca=").count(), 2, "{visit:?}");
    let (missing_database, missing_broker) = addresses(Path::new("/none.pem"));
    let visit = doctor(&missing_database, &missing_broker);
    assert_eq!(visit.stdout.matches("/none.pem cannot be read").count(), 2, "{visit:?}");
    let unverified = good_database.split("&ca=").next().expect("an address");
    let visit = doctor(unverified, &good_broker);
    assert_eq!(
        visit.stdout.matches("ca=").count(),
        1,
        "an authority that is not named is not trusted: {visit:?}"
    );
    let shown = succeed(["config", "show", "--database", &good_database, "--broker", &good_broker]);
    assert!(shown.contains("database.ca") && shown.contains("broker.ca"), "{shown}");
}

#[test]
fn a_handshake_that_was_begun_and_left_keeps_nobody_out() {
    let ours = Authority::new();
    let Certificate { authority, certificate, key } = ours.certificate("server");
    let site = Site::start(&settings(&certificate, &key));
    let api = site.server.announced("HTTP API: https://");
    for beginning in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\x16\x03\x01\x00\x00",
        b"nonsense\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ] {
        connect(api).write_all(beginning).expect("sent");
    }
    wait_until("an answer", || ask(api, &authority, "").status == 200);
}

/// All the places that the server has.
const PLACES: usize = 256;
/// Between the bytes of a client that is slow on purpose; far below any limit on silence.
const TRICKLE_PAUSE: Duration = Duration::from_millis(200);
/// As long as an answer is waited for.
const MAX_TRICKLES: u32 = 600;

#[test]
fn handshakes_that_never_end_give_their_places_up() {
    let ours = Authority::new();
    let Certificate { authority, certificate, key } = ours.certificate("server");
    let site = Site::start(&settings(&certificate, &key));
    let api = site.server.announced("HTTP API: https://");
    let mut slow: Vec<TcpStream> = (0..PLACES).map(|_| connect(api)).collect();
    // The head of a record as large as they come, of which a byte comes now and then: never silent, never done.
    for stream in &mut slow {
        stream.write_all(b"\x16\x03\x01\x40\x00").expect("sent");
    }
    let is_answered = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MAX_TRICKLES {
                if is_answered.load(Ordering::Relaxed) {
                    break;
                }
                for stream in &mut slow {
                    // Those that gave up are gone.
                    let _ = stream.write_all(b"\x01");
                }
                thread::sleep(TRICKLE_PAUSE);
            }
        });
        assert_eq!(ask(api, &authority, "").status, 200);
        is_answered.store(true, Ordering::Relaxed);
    });
}

/// Answers that no buffers between client and server hold.
const MANY_ANSWERS: usize = 200;

#[test]
fn a_client_that_never_reads_its_answers_gives_its_place_up() {
    let ours = Authority::new();
    let Certificate { authority, certificate, key } = ours.certificate("server");
    let site = Site::start(&settings(&certificate, &key));
    let api = site.server.announced("HTTP API: https://");
    let sockets_before = site.server.socket_count();
    let mut client = connect_tls(api, &authority);
    let request = "GET /assets/vendor/uplot/uPlot.iife.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.write_all(request.repeat(MANY_ANSWERS).as_bytes()).expect("sent");
    wait_until("a connection", || site.server.socket_count() > sockets_before);
    wait_until("its end", || site.server.socket_count() == sockets_before);
    drop(client);
}
