//! Frames out of bytes: four bytes of length, most significant first, then a pickle of that length.
//!
//! The same for pickled samples as `connection.rs` is for lines: the poll loop pushes each chunk through the socket's
//! [`PickleFramer`], and whole frames go on to `pickle.rs`.
//!
//! Invariants: how the bytes are cut into chunks never changes what comes out; memory follows what has come, not what a
//! length promises, and is at most [`MAX_FRAME_BYTES`] and the length itself.
//!
//! Source: carbon's `MetricPickleReceiver`, whose limit this is.

use std::fmt;

/// Longest pickle, without its length.
pub const MAX_FRAME_BYTES: usize = 1_048_576;
/// Bytes of the length.
const PREFIX_BYTES: usize = 4;

/// A length that no frame has. Where the next frame begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLength {
    /// What the length says.
    pub size_bytes: usize,
}

impl fmt::Display for BadLength {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "a frame of {} bytes; expected 1 to {MAX_FRAME_BYTES} (is this a sender of lines? Those go to another port)",
            self.size_bytes
        )
    }
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct PickleFramer {
    /// Start of the frame whose end has not come, length included.
    partial: Vec<u8>,
}

impl PickleFramer {
    /// At the start of a frame. Allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on every frame that ends in them, in order, until one is refused.
    ///
    /// Returns whether there was one.
    ///
    /// # Errors
    /// [`BadLength`] as `E`, or what `hand_on` said: nothing more can be read from this stream.
    pub fn push<E: From<BadLength>>(
        &mut self,
        bytes: &[u8],
        mut hand_on: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let (mut rest, mut has_ended) = (bytes, false);
        while !self.partial.is_empty() {
            let wanted = frame_bytes(&self.partial)?.unwrap_or(PREFIX_BYTES);
            let (taken, after) = rest.split_at(rest.len().min(wanted - self.partial.len()));
            self.append(taken, wanted);
            rest = after;
            match frame_bytes(&self.partial)? {
                Some(whole) if whole == self.partial.len() => {
                    let frame = std::mem::take(&mut self.partial);
                    hand_on(&frame[PREFIX_BYTES..])?;
                    has_ended = true;
                }
                _ if rest.is_empty() => return Ok(has_ended),
                _ => {}
            }
        }
        while let Some(whole) = frame_bytes(rest)?.filter(|whole| *whole <= rest.len()) {
            hand_on(&rest[PREFIX_BYTES..whole])?;
            rest = &rest[whole..];
            has_ended = true;
        }
        self.partial.extend_from_slice(rest);
        Ok(has_ended)
    }

    /// Grows as a vector would, but never past the frame.
    fn append(&mut self, bytes: &[u8], frame_bytes: usize) {
        let needed = self.partial.len() + bytes.len();
        if needed > self.partial.capacity() {
            let room = needed.next_power_of_two().min(frame_bytes);
            self.partial.reserve_exact(room - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Whether a frame was begun.
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Memory taken by the frame that was begun.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }
}

/// Length of the frame that begins here, with its length; `None` if that has not come as a whole.
#[expect(clippy::big_endian_bytes, reason = "the length is sent in network order")]
fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, BadLength> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let size_bytes = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if (1..=MAX_FRAME_BYTES).contains(&size_bytes) {
        Ok(Some(PREFIX_BYTES + size_bytes))
    } else {
        Err(BadLength { size_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::big_endian_bytes, reason = "the length is sent in network order")]
    fn framed(bodies: &[Vec<u8>]) -> Vec<u8> {
        let length = |body: &Vec<u8>| u32::try_from(body.len()).expect("short").to_be_bytes();
        bodies.iter().flat_map(|body| [&length(body)[..], body].concat()).collect()
    }

    fn read<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Result<bool, BadLength>, PickleFramer) {
        let (mut framer, mut found) = (PickleFramer::new(), Vec::new());
        for chunk in chunks {
            let pushed = framer.push(chunk, |frame| {
                found.push(frame.to_vec());
                Ok(())
            });
            if pushed.is_err() {
                return (found, pushed, framer);
            }
        }
        (found, Ok(true), framer)
    }

    #[test]
    fn a_length_that_no_frame_has_ends_the_stream() {
        for (prefix, size_bytes) in [([0, 0, 0, 0], 0), ([0, 16, 0, 1], 1_048_577), (*b"serv", 1_936_028_278)]
        {
            let stream = [&framed(&[vec![7; 3]]), &prefix[..], b"more"].concat();
            for chunk_bytes in [1, 3, 100] {
                let (found, read, _) = read(stream.chunks(chunk_bytes));
                assert_eq!((found, read), (vec![vec![7; 3]], Err(BadLength { size_bytes })));
            }
        }
    }

    #[test]
    fn memory_follows_what_has_come() {
        let mut framer = PickleFramer::new();
        let push = |framer: &mut PickleFramer, bytes: &[u8]| framer.push::<BadLength>(bytes, |_| Ok(()));
        push(&mut framer, &[0, 16, 0, 0]).expect("the longest frame");
        assert!(framer.held_bytes() < 100 && framer.has_partial());
        push(&mut framer, &vec![0; MAX_FRAME_BYTES - 1]).expect("all but one");
        assert!(framer.held_bytes() <= PREFIX_BYTES + MAX_FRAME_BYTES);
        push(&mut framer, &[0]).expect("the last");
        assert_eq!((framer.held_bytes(), framer.has_partial()), (0, false));
    }

    #[test]
    fn whoever_refuses_a_frame_gets_no_more() {
        let stream = framed(&[vec![1], vec![2], vec![3]]);
        let mut found = Vec::new();
        let pushed = PickleFramer::new().push(&stream, |frame| {
            found.push(frame[0]);
            if frame[0] == 2 { Err(BadLength { size_bytes: 2 }) } else { Ok(()) }
        });
        assert_eq!((found, pushed), (vec![1, 2], Err(BadLength { size_bytes: 2 })));
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..9),
            unfinished in proptest::collection::vec(any::<u8>(), 0..20),
            chunk_bytes in 1_usize..99,
        ) {
            let mut stream = framed(&bodies);
            stream.extend(framed(&[[&unfinished[..], b"rest"].concat()]));
            stream.truncate(stream.len() - 4);
            let (found, read, framer) = read(stream.chunks(chunk_bytes));
            prop_assert_eq!((found, read), (bodies, Ok(true)));
            prop_assert!(framer.has_partial());
        }
    }
}
