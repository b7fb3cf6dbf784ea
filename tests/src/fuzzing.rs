//! Bodies of the fuzz targets: one function a target, `check`, which any bytes must leave alive and content.
//!
//! `cargo fuzz` runs them without a bound (`fuzz/fuzz_targets`), the suite over the kept inputs of `fuzz/seeds` and a bounded
//! number of their mutations (`tests/fuzz_targets.rs`). What a fuzzer finds is added to the seeds.

#[cfg(feature = "engine")]
pub mod bus_message;
#[cfg(feature = "engine")]
pub mod datagram;
#[cfg(feature = "engine")]
pub mod http_request;
pub mod model_file;
#[cfg(feature = "engine")]
pub mod original_settings;
#[cfg(feature = "engine")]
pub mod pickle;
#[cfg(feature = "engine")]
pub mod plaintext_line;
#[cfg(feature = "engine")]
pub mod render_target;
#[cfg(feature = "engine")]
pub mod served;
#[cfg(feature = "engine")]
pub mod settings_file;
pub mod spatial_pooler_overlap;
pub mod temporal_memory_model;

use std::fs;

use crate::seeded_random::SeededRandom;
use crate::source_tree;

/// Bytes that stand at the borders of many formats.
const INTERESTING: [&[u8]; 14] = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\n",
    b"\r\n\r\n",
    b"-1",
    b"9999999999999999999999",
    b"1e999",
    b"(((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
    b"[{\"",
    b"%00",
    b"\xed\xb2\x80",
    b"nan",
];

/// The kept inputs of a target, in the order of their names.
///
/// # Panics
/// If there are none.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = source_tree::root().join("fuzz/seeds").join(target);
    let listed = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = listed.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// One of `seeds`, changed a little at a few places.
///
/// # Panics
/// If there is no seed.
pub fn mutated(seeds: &[Vec<u8>], random: &mut SeededRandom) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(5) {
        let at = random.below(bytes.len() + 1);
        let to = (at + 1 + random.below(8)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.bytes(1)[0],
            2 => drop(bytes.drain(at.min(to)..to)),
            3 => drop(bytes.splice(at..at, INTERESTING[random.below(INTERESTING.len())].iter().copied())),
            4 => {
                let copied = bytes[at.min(to)..to].repeat(1 + random.below(3));
                drop(bytes.splice(at..at, copied));
            }
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}
