//! Frames of pickled samples: any bytes are a list of samples or an error that says where; lines are within their bounds and
//! read as any others; how the stream is cut does not matter.

use htmengine::listener::pickle::{MAX_EXPANSION, Pickled, samples};
use htmengine::listener::pickle_framer::{BadLength, PickleFramer};

use super::plaintext_line;

/// Least bound on what a frame becomes.
const MIN_BOUND_BYTES: usize = 4_096;

/// Reads the bytes as the body of one frame, and as a stream of frames.
///
/// # Panics
/// If anything is read wrongly.
pub fn check(bytes: &[u8]) {
    body(bytes);
    let whole = frames([bytes]);
    assert_eq!(whole, frames(bytes.chunks(bytes.len() / 3 + 1)));
    for frame in &whole.0 {
        body(frame);
    }
}

fn body(bytes: &[u8]) {
    let found = match samples(bytes) {
        Ok(found) => found,
        Err(error) => {
            assert!(error.to_string().contains(" at byte "), "{error}");
            return;
        }
    };
    let mut line_bytes = 0;
    for sample in found.items() {
        match sample {
            Pickled::Line(line) => {
                line_bytes += line.len();
                assert_eq!(line.split(u8::is_ascii_whitespace).count(), 3, "{}", line.escape_ascii());
                plaintext_line::check(line);
            }
            Pickled::Refused(_, shown) => line_bytes += shown.len(),
        }
    }
    assert!(line_bytes <= (bytes.len() * MAX_EXPANSION).max(MIN_BOUND_BYTES));
}

/// Frames up to the first bad length, and whether there was one.
fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut found, mut framer) = (Vec::new(), PickleFramer::new());
    for chunk in chunks {
        let pushed: Result<bool, BadLength> = framer.push(chunk, |frame| {
            found.push(frame.to_vec());
            Ok(())
        });
        if pushed.is_err() {
            return (found, true);
        }
    }
    (found, false)
}
