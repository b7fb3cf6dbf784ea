//! Patterns of columns (or lists of cells) as fixed records, and the short histories made of them.
//!
//! A record is 64 `u16`: the count, then that many indices, ascending.

use crate::MAX_ACTIVE_COLUMNS;

/// Length of one record.
pub const PATTERN_STRIDE: usize = MAX_ACTIVE_COLUMNS + 1;

/// One record.
pub type Pattern = [u16; PATTERN_STRIDE];

/// A record without indices.
pub const EMPTY: Pattern = [0; PATTERN_STRIDE];

/// The indices of a record.
///
/// # Panics
/// If the count is above [`MAX_ACTIVE_COLUMNS`].
#[inline]
pub fn indices(record: &[u16]) -> &[u16] {
    &record[1..=usize::from(record[0])]
}

/// Replaces the indices of a record.
///
/// # Panics
/// If there are more than [`MAX_ACTIVE_COLUMNS`].
#[inline]
pub fn replace(record: &mut [u16], indices: &[u16]) {
    record[0] = u16::try_from(indices.len()).expect("at most 63 indices");
    record[1..=indices.len()].copy_from_slice(indices);
}

/// Appends one index.
///
/// # Panics
/// If the record is full.
#[inline]
pub fn push(record: &mut [u16], index: u16) {
    record[0] += 1;
    record[usize::from(record[0])] = index;
}

/// Appends a pattern to a history of `count` records, oldest first, dropping the oldest if it is full.
pub fn remember(history: &mut [u16], count: &mut u32, columns: &[u16]) {
    if *count as usize * PATTERN_STRIDE == history.len() {
        forget(history, count, 1);
    }
    replace(&mut history[*count as usize * PATTERN_STRIDE..][..PATTERN_STRIDE], columns);
    *count += 1;
}

/// Drops the `number` oldest records of a history.
///
/// # Panics
/// If it has fewer.
pub fn forget(history: &mut [u16], count: &mut u32, number: usize) {
    history.copy_within(number * PATTERN_STRIDE..*count as usize * PATTERN_STRIDE, 0);
    *count -= u32::try_from(number).expect("a history holds a few records");
}

/// A copy of record `index`.
#[inline]
pub fn recall(history: &[u16], index: usize) -> Pattern {
    let mut pattern = EMPTY;
    pattern.copy_from_slice(&history[index * PATTERN_STRIDE..][..PATTERN_STRIDE]);
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_history_forgets_its_oldest_pattern() {
        let mut history = [0; 3 * PATTERN_STRIDE];
        let mut count = 0;
        for column in 1..=5 {
            remember(&mut history, &mut count, &[column, column + 10]);
        }
        assert_eq!(count, 3);
        assert_eq!(indices(&recall(&history, 0)), [3, 13]);
        forget(&mut history, &mut count, 2);
        assert_eq!(count, 1);
        assert_eq!(indices(&recall(&history, 0)), [5, 15]);
    }
}
