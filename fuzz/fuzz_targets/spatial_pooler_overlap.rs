//! Overlap counts by bit planes against a loop over columns and inputs.
#![no_main]

use htm_kernels::spatial_pooler::{MAX_PLANES, overlap};
use htm_kernels::word;
use libfuzzer_sys::fuzz_target;

const INPUTS: u16 = 40;

fuzz_target!(|data: &[u8]| {
    let [width, inputs @ ..] = data else { return };
    let columns = 1 + usize::from(*width) * 3;
    let row_words = word::words_for(columns);
    let (inputs, row_bytes) = inputs.split_at(inputs.len().min(64));
    let active: Vec<u16> = inputs.iter().map(|&byte| u16::from(byte) % INPUTS).collect();
    // Rows repeat the bytes there are, each starting elsewhere.
    let byte_at = |index: usize| row_bytes.get(index % row_bytes.len().max(1)).copied().unwrap_or(0x5a);
    let rows: Vec<u64> = (0..usize::from(INPUTS) * row_words)
        .map(|word| u64::from_le_bytes(std::array::from_fn(|byte| byte_at(word * 11 + byte))))
        .collect();
    let mut planes = vec![u64::MAX; MAX_PLANES * row_words];
    let used = overlap::count(&rows, row_words, &active, &mut planes);
    assert!(planes[used * row_words..].iter().all(|&word| word == 0), "planes from {used} on are empty");
    for column in 0..columns {
        let is_connected = |input: &&u16| word::get(&rows[usize::from(**input) * row_words..], column);
        let expected = active.iter().filter(is_connected).count();
        assert_eq!(overlap::of_column(&planes, row_words, column) as usize, expected, "column {column}");
    }
});
