//! What the columns of the original's schema can hold, checked before anything is written.
//!
//! A value that is too long is refused by name and never cut. Text columns count characters, not bytes.
//!
//! Source: the original's tables after their last migration.

use htm_core::ids::ModelId;

use super::RepositoryError;
use super::metric::{MAX_DESCRIPTION_CHARS, MAX_LOCATION_CHARS, MAX_NAME_CHARS, MAX_SERVER_CHARS, Metric};
use super::metric_data::RowUpdate;

/// Longest `datasource`, in characters.
pub const MAX_DATASOURCE_CHARS: usize = 100;
/// Longest `tag_name`, in characters.
pub const MAX_TAG_NAME_CHARS: usize = 200;

/// Whether every column of `metric` fits.
///
/// # Errors
/// [`RepositoryError::Rejected`] names the first column that does not.
pub fn check_metric(metric: &Metric) -> Result<(), RepositoryError> {
    check_length("name", Some(&metric.name), MAX_NAME_CHARS)?;
    for (column, value, max_chars) in [
        ("datasource", &metric.datasource, MAX_DATASOURCE_CHARS),
        ("description", &metric.description, MAX_DESCRIPTION_CHARS),
        ("server", &metric.server, MAX_SERVER_CHARS),
        ("location", &metric.location, MAX_LOCATION_CHARS),
        ("tag_name", &metric.tag_name, MAX_TAG_NAME_CHARS),
    ] {
        check_length(column, value.as_deref(), max_chars)?;
    }
    Ok(())
}

/// Whether a value fits into a column of `max_chars` characters.
///
/// # Errors
/// [`RepositoryError::Rejected`] if not.
pub fn check_length(column: &str, value: Option<&str>, max_chars: usize) -> Result<(), RepositoryError> {
    let chars = value.map_or(0, |text| text.chars().count());
    if chars <= max_chars {
        return Ok(());
    }
    Err(RepositoryError::Rejected {
        reason: format!("{column} has {chars} characters; expected at most {max_chars}: shorten it"),
    })
}

/// Whether a sample's value is a number that a column of doubles holds.
///
/// # Errors
/// [`RepositoryError::Rejected`] if not.
pub fn check_finite_value(id: &ModelId, value: f64) -> Result<(), RepositoryError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(RepositoryError::Rejected {
        reason: format!("a sample of metric {id} has value {value}; expected a finite number"),
    })
}

/// Whether a row's scores are numbers. NaN would be stored as NULL, and the row would count as never scored.
///
/// # Errors
/// [`RepositoryError::Rejected`] if not.
pub fn check_finite_scores(id: &ModelId, row: &RowUpdate) -> Result<(), RepositoryError> {
    let scores = [row.raw_anomaly_score, row.anomaly_score, row.detection.score, row.detection.alert_score];
    if scores.iter().all(|score| score.is_finite()) {
        return Ok(());
    }
    Err(RepositoryError::Rejected {
        reason: format!("row {} of metric {id} has scores {scores:?}; expected finite numbers", row.row_id),
    })
}
