//! Bytes of a datagram or of a connection, cut into lines: the same lines however they are cut into chunks, all of them
//! within their bounds, and each read or refused.

use htmengine::listener::connection::{Framed, LineFramer, MAX_HEAD_BYTES, MAX_LINE_BYTES};

use super::plaintext_line;

/// Frames the bytes whole, and in chunks whose length is the first of them.
///
/// # Panics
/// If a line is framed or read wrongly.
pub fn check(bytes: &[u8]) {
    let chunk_bytes = bytes.first().map_or(1, |first| 1 + usize::from(*first) * 3);
    let whole = framed([bytes]);
    assert_eq!(whole, framed(bytes.chunks(chunk_bytes)), "chunks of {chunk_bytes}");
    for line in whole.iter().flatten() {
        plaintext_line::check(line);
    }
}

/// Lines, and `None` for each that was too long.
fn framed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let mut framer = LineFramer::new();
    let mut keep = |framed: Framed<'_>| {
        found.push(match framed {
            Framed::Line(line) => {
                assert!(!line.is_empty() && line.len() <= MAX_LINE_BYTES && line.trim_ascii() == line);
                Some(line.to_vec())
            }
            Framed::TooLong(head) => {
                assert!(head.len() <= MAX_HEAD_BYTES);
                None
            }
        });
    };
    for chunk in chunks {
        framer.push(chunk, &mut keep);
        assert!(framer.held_bytes() <= MAX_LINE_BYTES);
    }
    framer.finish(&mut keep);
    assert!(!framer.has_partial());
    found
}
