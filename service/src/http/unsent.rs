//! Answers that clients have not taken yet: a bound on their bytes, for all servers together.
//!
//! An answer that was made whole stays in memory until its client has read its end, for as long as that takes. How many are
//! made at once is bounded elsewhere (`shared.rs`, `gate.rs`); here is what they may hold once they are made. One that does
//! not fit beside the others is refused, so that slow readers keep others from large answers, but from nothing else. Rows
//! that are sent page by page need no room: of each such answer one page is in memory.
//!
//! Invariant: room is given back with the bytes, wherever they lay last, and not before.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::ApiError;

/// From so many bytes on an answer is large. Smaller ones on all connections together are a few tens of megabytes.
const LARGE_BYTES: usize = 128 << 10;
/// Room is counted in these.
const UNIT_BYTES: usize = 1 << 10;
/// What large answers hold at most until their clients have them, 256 MiB.
const MAX_UNITS: u32 = 256 << 10;
const MAX_UNSENT_BYTES: usize = MAX_UNITS as usize * UNIT_BYTES;
/// What an answer is called that does not fit.
const NAME: &str = "TooMuchUnsentError";

/// The room.
#[derive(Debug, Clone)]
pub(super) struct Unsent {
    units: Arc<Semaphore>,
}

impl Unsent {
    pub(super) fn new() -> Self {
        Self { units: Arc::new(Semaphore::new(MAX_UNITS as usize)) }
    }

    /// The same bytes, which take up room until they are dropped. What is more than there is room for altogether takes all
    /// of it.
    pub(super) fn hold(&self, bytes: Bytes) -> Result<Bytes, ApiError> {
        if bytes.len() < LARGE_BYTES {
            return Ok(bytes);
        }
        let units = u32::try_from(bytes.len().div_ceil(UNIT_BYTES)).map_or(MAX_UNITS, |it| it.min(MAX_UNITS));
        match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(room) => Ok(Bytes::from_owner(Held { bytes, _room: room })),
            Err(_) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, NAME, &self.refusal(bytes.len()))),
        }
    }

    fn refusal(&self, size_bytes: usize) -> String {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        format!(
            "the answer has {} MiB, and answers that were not read to their ends hold {} of {} MiB: read those, ask for \
             less, or try again later",
            mib(size_bytes),
            mib(MAX_UNSENT_BYTES - self.units.available_permits() * UNIT_BYTES),
            mib(MAX_UNSENT_BYTES)
        )
    }
}

/// Bytes and their room.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the middleware works with.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) unsent: Unsent,
    /// What a refusal looks like.
    pub(super) refusal: fn(StatusCode, &str, &str) -> Response,
}

/// The middleware: every answer that is there whole takes up room.
pub(super) async fn bound(State(bound): State<Bound>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let size_bytes = response.body().size_hint().exact();
    if size_bytes.is_none_or(|size_bytes| size_bytes < LARGE_BYTES as u64) {
        return response;
    }
    let (parts, body) = response.into_parts();
    // The one piece that it consists of, so that nothing is waited for.
    let held = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bound.unsent.hold(bytes),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, NAME, &error.to_string())),
    };
    match held {
        Ok(bytes) => Response::from_parts(parts, Body::from(bytes)),
        Err(error) => (bound.refusal)(error.status, NAME, error.message()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::sleep;

    use super::super::access::Access;
    use super::super::answer::error_answer;
    use super::super::connection::BoundedListener;
    use super::super::host::Hosts;
    use super::super::server::{guarded, refused};
    use super::super::shared::Shared;
    use super::*;
    use crate::live_setting::LiveSetting;

    /// Two of them fit.
    const ANSWER_BYTES: usize = 100 << 20;

    /// A server of a large answer and a small one.
    async fn serve(folder: &std::path::Path) -> SocketAddr {
        let shared = Shared::over(folder, LiveSetting::default());
        let large = Bytes::from(vec![b'x'; ANSWER_BYTES]);
        let routes = Router::new()
            .route("/large", get(|| async move { large }))
            .route("/small", get(|| async { "small" }));
        let access = Access {
            keys: LiveSetting::default(),
            needed_role: |_, _| None,
            hosts: Hosts::new(&[], true),
            refusal: refused,
        };
        let guarded = guarded(routes, access, error_answer, &shared).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(BoundedListener::new(listener, None), guarded).await });
        address
    }

    /// Asks, and reads no more than what comes first.
    async fn ask(address: SocketAddr, path: &str) -> (TcpStream, String) {
        let mut client = TcpStream::connect(address).await.expect("connected");
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("sent");
        let mut first = [0; 2_048];
        let length = client.read(&mut first).await.expect("an answer");
        (client, String::from_utf8_lossy(&first[..length]).into_owned())
    }

    /// Only how many are made at once was bounded, and each lay in memory until its client had read it or was given up.
    #[tokio::test(flavor = "multi_thread")]
    async fn answers_that_nobody_reads_are_bounded_and_keep_nobody_from_small_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = serve(folder.path()).await;
        let (first, second) = (ask(address, "/large").await, ask(address, "/large").await);
        assert!(first.1.starts_with("HTTP/1.1 200") && second.1.starts_with("HTTP/1.1 200"));
        let (_, refusal) = ask(address, "/large").await;
        assert!(refusal.starts_with("HTTP/1.1 503") && refusal.contains("retry-after: 10"), "{refusal}");
        assert!(refusal.contains("the answer has 100 MiB") && refusal.contains("hold 200 of 256 MiB"));
        assert!(ask(address, "/small").await.1.ends_with("small"));
        drop(first);
        while !ask(address, "/large").await.1.starts_with("HTTP/1.1 200") {
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn room_is_taken_for_as_long_as_a_part_of_the_bytes_is_there() {
        let unsent = Unsent::new();
        let larger_than_all = unsent.hold(Bytes::from(vec![0; MAX_UNSENT_BYTES + 1])).expect("alone");
        let part = larger_than_all.slice(..1);
        drop(larger_than_all);
        let large = || Bytes::from(vec![0; LARGE_BYTES]);
        assert_eq!(unsent.hold(large()).expect_err("no room").status, StatusCode::SERVICE_UNAVAILABLE);
        drop(part);
        assert_eq!(unsent.hold(large()).expect("room").len(), LARGE_BYTES);
    }
}
