//! Bodies of messages from a broker: read or refused with a reason; and what was read is written and read back equal.
//!
//! The first byte says of which queue; results come as zlib streams, which are made here, or no random bytes would be one.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use htmengine::bus::wire::{data, hints, results, scores};

/// Reads a body.
///
/// # Panics
/// If it is read wrongly.
pub fn check(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => {
            if let Ok(message) = data::from_bytes(body) {
                assert_eq!(data::from_bytes(&data::to_bytes(&message)), Ok(message));
            }
        }
        1 => {
            if let Ok(hint) = hints::from_bytes(body) {
                assert_eq!(hints::from_bytes(&hints::to_bytes(&hint)), Ok(hint));
            }
        }
        2 => {
            if let Ok(Some(output)) = scores::from_bytes(body) {
                assert_eq!(scores::from_bytes(&scores::to_bytes(&output)), Ok(Some(output)));
            }
        }
        3 => drop(results::from_bytes(body, kind & 8 == 0)),
        is_command => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).expect("memory takes any bytes");
            let packed = encoder.finish().expect("memory takes any bytes");
            if let Ok(message) = results::from_bytes(&packed, is_command == 4) {
                let again = results::from_bytes(&results::to_bytes(&message), is_command == 4);
                assert_eq!(again, Ok(message));
            }
        }
    }
}
