//! The recent past of one metric: its last values and raw anomaly scores, as many as a likelihood looks back on.

/// Rows looked back on: 30 days of 5-minute samples.
pub const WINDOW_ROWS: usize = 8640;

/// A ring of the last [`WINDOW_ROWS`] values and raw scores; it grows as rows come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoreWindow {
    values: Vec<f64>,
    raw_scores: Vec<f32>,
    /// Where the oldest row lies once the ring is full.
    oldest: usize,
}

impl ScoreWindow {
    /// Adds a row, dropping the oldest if the window is full.
    pub fn push(&mut self, value: f64, raw_score: f32) {
        if self.values.len() < WINDOW_ROWS {
            self.values.push(value);
            self.raw_scores.push(raw_score);
        } else {
            self.values[self.oldest] = value;
            self.raw_scores[self.oldest] = raw_score;
            self.oldest = (self.oldest + 1) % WINDOW_ROWS;
        }
    }

    /// Rows in the window.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let (new, old) = self.values.split_at(self.oldest);
        old.iter().chain(new).copied()
    }

    /// The raw scores, oldest first.
    pub fn raw_scores(&self) -> impl Iterator<Item = f32> + '_ {
        let (new, old) = self.raw_scores.split_at(self.oldest);
        old.iter().chain(new).copied()
    }

    /// A window with these rows, oldest first; `None` if the lengths differ or exceed [`WINDOW_ROWS`].
    pub fn from_rows(values: Vec<f64>, raw_scores: Vec<f32>) -> Option<Self> {
        let is_valid = values.len() == raw_scores.len() && values.len() <= WINDOW_ROWS;
        is_valid.then_some(Self { values, raw_scores, oldest: 0 })
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>() + self.raw_scores.capacity() * size_of::<f32>()
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
        let (values, raw) = (window.values().collect(), window.raw_scores().collect());
        let mut copy = ScoreWindow::from_rows(values, raw).expect("fits");
        copy.push(1.0, 0.5);
        window.push(1.0, 0.5);
        assert!(window.values().eq(copy.values()));
        assert!(window.raw_scores().eq(copy.raw_scores()));
    }
}
