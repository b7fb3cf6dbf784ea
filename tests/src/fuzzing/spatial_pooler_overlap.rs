//! Overlap counts by bit planes, with every instruction set of the machine, against a loop over columns and inputs.

use htm_kernels::isa::Isa;
use htm_kernels::spatial_pooler::{ConnectedRows, MAX_PLANES, NO_SLOT, overlap};
use htm_kernels::word;

const INPUTS: u16 = 40;

/// Counts overlaps.
///
/// # Panics
/// If an instruction set counts otherwise.
pub fn check(data: &[u8]) {
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
    // Half of the inputs have a row of their own: the template's, inverted.
    let private: Vec<u64> = rows.iter().map(|word| !word).collect();
    let slots: Vec<u16> = (0..INPUTS).map(|input| if input % 2 == 0 { NO_SLOT } else { input }).collect();
    let rows = ConnectedRows { row_words, slots: &slots, private: &private, template: &rows };
    for isa in Isa::available() {
        let mut planes = vec![u64::MAX; MAX_PLANES * row_words];
        let used = overlap::count(isa, rows, &active, &mut planes);
        let planes = &planes[..used * row_words];
        for column in 0..columns {
            let expected = active.iter().filter(|&&input| word::get(rows.row(input), column)).count();
            assert_eq!(
                overlap::of_column(planes, row_words, column) as usize,
                expected,
                "{isa}, column {column}"
            );
        }
    }
}
