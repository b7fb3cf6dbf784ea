//! What one request may cost: every part of an evaluation pays here before it works.
//!
//! Without it a short target could ask for all rows of all metrics, or double its work with each of its functions.

use crate::operations::OperationError;

/// Most calls of functions and look-ups of paths that one request may take, repetitions for shifted times included.
const MAX_EVALUATIONS: usize = 5_000;
/// Most series that one request may read.
const MAX_SERIES: usize = 10_000;
/// Most points that the series read by one request may have.
const MAX_POINTS: usize = 2_000_000;
/// Most rows that one request may read.
const MAX_ROWS: usize = 4_000_000;

/// What is left of one request.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    evaluations: usize,
    series: usize,
    points: usize,
    rows: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { evaluations: MAX_EVALUATIONS, series: MAX_SERIES, points: MAX_POINTS, rows: MAX_ROWS }
    }
}

impl Budget {
    /// Pays for one call or look-up.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] when there is nothing left; so of all methods.
    pub(crate) fn evaluation(&mut self) -> Result<(), OperationError> {
        take(
            &mut self.evaluations,
            1,
            MAX_EVALUATIONS,
            "function calls and paths",
            "split the targets over requests",
        )
    }

    /// Pays for series.
    pub(crate) fn series(&mut self, count: usize) -> Result<(), OperationError> {
        take(&mut self.series, count, MAX_SERIES, "series", "use narrower wildcards")
    }

    /// Pays for points.
    pub(crate) fn points(&mut self, count: usize) -> Result<(), OperationError> {
        let advice = "ask for a shorter time, or for fewer series";
        take(&mut self.points, count, MAX_POINTS, "points", advice)
    }

    /// Pays for rows.
    pub(crate) fn rows(&mut self, count: usize) -> Result<(), OperationError> {
        take(&mut self.rows, count, MAX_ROWS, "rows", "ask for a shorter time, or for fewer series")
    }
}

fn take(left: &mut usize, count: usize, all: usize, what: &str, advice: &str) -> Result<(), OperationError> {
    *left = left.checked_sub(count).ok_or_else(|| {
        OperationError::invalid(format!(
            "the request takes more than {all} {what}, the most for one request; {advice}"
        ))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_refused_with_the_bound_and_advice() {
        let mut budget = Budget::default();
        assert_eq!(budget.points(MAX_POINTS), Ok(()));
        let error = budget.points(1).expect_err("spent").to_string();
        assert!(error.contains("2000000 points") && error.contains("shorter time"), "{error}");
        assert_eq!(budget.series(MAX_SERIES), Ok(()));
        assert!(budget.series(1).is_err());
    }
}
