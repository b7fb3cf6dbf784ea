//! Asking others without waiting for them longer than a person does.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a host may take to accept a connection, its name's look-up included.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long a server that accepted may take to say what is asked of it.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What `ask` returns, if it does so in time. A question that is given up ends with the process.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let asking = thread::Builder::new().name("doctor".to_owned()).spawn(move || {
        // Nobody listens any more once the time is up.
        let _ = sender.send(ask());
    });
    asking.ok()?;
    receiver.recv_timeout(limit).ok()
}

/// Whether anybody accepts a connection there.
///
/// # Errors
/// What was found instead, in words.
pub(super) fn reach(host: &str, port: u16) -> Result<(), String> {
    let asked = (host.to_owned(), port);
    let answer = within(CONNECT_LIMIT, move || connect(&asked.0, asked.1));
    match answer {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(format!("nothing listens at {host}:{port}"))
        }
        Some(Err(error)) => Err(format!("{host}:{port} cannot be reached: {error}")),
        None => Err(format!("{host}:{port} did not answer within {} s", CONNECT_LIMIT.as_secs())),
    }
}

fn connect(host: &str, port: u16) -> io::Result<()> {
    let started = Instant::now();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = CONNECT_LIMIT.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn whoever_does_not_answer_costs_no_more_than_the_limit() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        socket.listen(0).expect("listening");
        let address = socket.local_addr().ok().and_then(|it| it.as_socket()).expect("bound");
        // Nobody accepts: once the kernel holds as many connections as it may, it lets others wait.
        let limit = Duration::from_millis(50);
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, limit) {
            held.push(stream);
        }
        let started = Instant::now();
        let told = reach("127.0.0.1", address.port()).expect_err("nobody accepts");
        assert!(told.contains("did not answer within 3 s") || told.contains("timed out"), "{told}");
        assert!(started.elapsed() < CONNECT_LIMIT + Duration::from_secs(2), "{:?}", started.elapsed());
        drop(held);
    }

    #[test]
    fn a_name_without_an_address_is_told() {
        let told = reach("no.such.host.invalid", 1).expect_err("no address");
        assert!(told.starts_with("no.such.host.invalid:1 "), "{told}");
    }
}
