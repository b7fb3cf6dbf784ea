//! The recent past of one metric: its last values and raw anomaly scores, as many as a likelihood looks back on.

use crate::array::Array;

/// Rows looked back on: 30 days of 5-minute samples.
pub const WINDOW_ROWS: usize = 8640;

/// Rows that room is made for at first.
const FIRST_ROOM_ROWS: usize = 64;

/// A ring of the last [`WINDOW_ROWS`] values and raw scores; its room grows as rows come.
#[derive(Debug, Clone, Default)]
pub struct ScoreWindow {
    values: Array<f64>,
    raw_scores: Array<f32>,
    row_count: usize,
    /// Where the oldest row lies; 0 until the ring is full.
    oldest: usize,
}

impl ScoreWindow {
    /// Adds a row, dropping the oldest if the window is full.
    pub fn push(&mut self, value: f64, raw_score: f32) {
        let position = if self.row_count < WINDOW_ROWS { self.row_count } else { self.oldest };
        if position == self.values.len() {
            let roomy = (position + position / 4).clamp(FIRST_ROOM_ROWS, WINDOW_ROWS);
            self.values.grow(roomy);
            self.raw_scores.grow(roomy);
        }
        self.values[position] = value;
        self.raw_scores[position] = raw_score;
        if self.row_count < WINDOW_ROWS {
            self.row_count += 1;
        } else {
            self.oldest = (self.oldest + 1) % WINDOW_ROWS;
        }
    }

    /// Rows in the window.
    pub fn len(&self) -> usize {
        self.row_count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.row_count == 0
    }

    /// The values, oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let (new, old) = self.values[..self.row_count].split_at(self.oldest);
        old.iter().chain(new).copied()
    }

    /// The raw scores, oldest first.
    pub fn raw_scores(&self) -> impl Iterator<Item = f32> + '_ {
        let (new, old) = self.raw_scores[..self.row_count].split_at(self.oldest);
        old.iter().chain(new).copied()
    }

    /// The ring as it lies in memory: values, raw scores, and where the oldest row is.
    pub fn ring(&self) -> (&[f64], &[f32], usize) {
        (&self.values[..self.row_count], &self.raw_scores[..self.row_count], self.oldest)
    }

    /// A window over a ring of `row_count` rows, which it works on in place; `None` if there is no such ring.
    pub fn from_ring(
        values: Array<f64>,
        raw_scores: Array<f32>,
        row_count: usize,
        oldest: usize,
    ) -> Option<Self> {
        let is_valid = row_count <= WINDOW_ROWS
            && values.len() <= WINDOW_ROWS
            && row_count <= values.len()
            && raw_scores.len() == values.len()
            && (oldest == 0 || (oldest < WINDOW_ROWS && row_count == WINDOW_ROWS));
        is_valid.then_some(Self { values, raw_scores, row_count, oldest })
    }

    /// Bytes of memory that are no section of a file.
    pub fn own_bytes(&self) -> usize {
        self.values.own_bytes() + self.raw_scores.own_bytes()
    }
}

impl PartialEq for ScoreWindow {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values()) && self.raw_scores().eq(other.raw_scores())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_rows_in_order() {
        let mut window = ScoreWindow::default();
        for row in 0..20_000u16 {
            window.push(f64::from(row), f32::from(row));
        }
        assert_eq!(window.len(), WINDOW_ROWS);
        assert!(window.values().eq((20_000 - 8640..20_000).map(f64::from)));
        let (values, raw, oldest) = window.ring();
        let (values, raw) = (Array::copy_of(values), Array::copy_of(raw));
        assert!(ScoreWindow::from_ring(values.clone(), raw.clone(), WINDOW_ROWS, WINDOW_ROWS).is_none());
        assert!(ScoreWindow::from_ring(values.clone(), raw.clone(), 5, 3).is_none(), "not full");
        let mut copy = ScoreWindow::from_ring(values, raw, WINDOW_ROWS, oldest).expect("a ring");
        copy.push(1.0, 0.5);
        window.push(1.0, 0.5);
        assert!(window.values().eq(copy.values()));
        assert!(window.raw_scores().eq(copy.raw_scores()));
    }
}
