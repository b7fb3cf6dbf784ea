//! How far each metric is scored without a gap, and where that is remembered.
//!
//! Our table `score_progress` holds the answer, so that asking costs one look-up. Without it, or where another program
//! cleared scores behind it, the metric's rows are asked: the first unscored one is found through the original's index
//! on `anomaly_score`, whose entries end with the primary key.
//!
//! Invariant: gaps count from the first row that exists, so rows may be purged.
//!
//! Whoever writes holds the lock of the metric's row.

use htm_core::ids::{ModelId, RowId};

use super::session::Session;
use super::value::Columns;
use crate::repository::RepositoryError;
use crate::repository::metric_data::RowUpdate;

/// See [`crate::repository::Repository::scored_up_to`].
pub(super) fn scored_up_to(
    session: &mut Session,
    id: &ModelId,
    has_table: bool,
) -> Result<RowId, RepositoryError> {
    if has_table && let Some(progress) = remembered(session, id)? {
        return Ok(progress);
    }
    scored_without_gap_after(session, id, RowId(0))
}

/// Keeps the table at the last row before the first gap, after `updates` were written.
pub(super) fn advance(
    session: &mut Session,
    id: &ModelId,
    updates: &[RowUpdate],
    all_existed: bool,
) -> Result<(), RepositoryError> {
    let Some(highest) = updates.iter().map(|row| row.row_id).max() else { return Ok(()) };
    let before = remembered(session, id)?;
    if before.is_some_and(|before| highest <= before) {
        return Ok(());
    }
    // The usual case, rows in order right after the known ones, needs no walk over what was just written.
    let mut reached = before.unwrap_or_default();
    for row in updates {
        if all_existed && row.row_id.0 == reached.0 + 1 {
            reached = row.row_id;
        }
    }
    // Rows in order end the walk here: nothing was scored ahead of them.
    let in_order = reached == highest && !is_scored(session, id, RowId(highest.0 + 1))?;
    let progress = if in_order { reached } else { scored_without_gap_after(session, id, reached)? };
    remember(session, id, progress)
}

/// After rows were purged: what is remembered may have stood before a gap that is gone.
pub(super) fn after_purge(
    session: &mut Session,
    id: &ModelId,
    purged_to: RowId,
) -> Result<(), RepositoryError> {
    match remembered(session, id)? {
        Some(before) if before < purged_to => {
            let progress = scored_without_gap_after(session, id, before)?;
            remember(session, id, progress)
        }
        Some(_) | None => Ok(()),
    }
}

/// Forgets a metric whose scores were cleared.
pub(super) fn forget(session: &mut Session, id: &ModelId) -> Result<(), RepositoryError> {
    let sql = "DELETE FROM score_progress WHERE uid = ?";
    session.execute("clearing scores", sql, (id.as_str(),))?;
    Ok(())
}

/// What the table says, unless the row it names has lost its score since: then the original, which does not know the
/// table, cleared the metric's scores.
fn remembered(session: &mut Session, id: &ModelId) -> Result<Option<RowId>, RepositoryError> {
    let sql = "SELECT p.scored_up_to, d.uid IS NULL OR d.raw_anomaly_score IS NOT NULL FROM score_progress p \
               LEFT JOIN metric_data d ON d.uid = p.uid AND d.rowid = p.scored_up_to WHERE p.uid = ?";
    let row = session.first_row("reading the scoring progress", sql, (id.as_str(),))?;
    let Some(mut columns) = row.map(Columns::new) else { return Ok(None) };
    let progress = RowId(columns.required(Columns::integer)?);
    let holds = columns.required(Columns::integer)? == 1;
    Ok(holds.then_some(progress))
}

fn remember(session: &mut Session, id: &ModelId, progress: RowId) -> Result<(), RepositoryError> {
    let sql = "INSERT INTO score_progress (uid, scored_up_to) VALUES (?, ?) \
               ON DUPLICATE KEY UPDATE scored_up_to = VALUES(scored_up_to)";
    session.execute("noting the scoring progress", sql, (id.as_str(), progress.0))?;
    Ok(())
}

/// Whether this row exists and carries a raw score.
fn is_scored(session: &mut Session, id: &ModelId, row_id: RowId) -> Result<bool, RepositoryError> {
    let sql = "SELECT raw_anomaly_score IS NOT NULL FROM metric_data WHERE uid = ? AND rowid = ?";
    let row = session.first_row("looking for a scored row", sql, (id.as_str(), row_id.0))?;
    let answer = row.map(|row| Columns::new(row).integer()).transpose()?.flatten();
    Ok(answer == Some(1))
}

/// The last row after `after` such that it and every row between carry scores; `after` if there is none.
fn scored_without_gap_after(
    session: &mut Session,
    id: &ModelId,
    after: RowId,
) -> Result<RowId, RepositoryError> {
    // One statement, so that both halves see the same rows: unscored ones stored between two would count as scored.
    // Both scores are written and cleared together; the anomaly score has the index.
    let sql = "SELECT MAX(rowid) FROM metric_data WHERE uid = ? AND rowid > ? AND rowid < COALESCE(\
               (SELECT rowid FROM metric_data WHERE uid = ? AND rowid > ? AND anomaly_score IS NULL \
               ORDER BY rowid LIMIT 1), ?)";
    let values = (id.as_str(), after.0, id.as_str(), after.0, i64::MAX);
    let row = session.first_row("looking for unscored rows", sql, values)?;
    let last = row.map(|row| Columns::new(row).integer()).transpose()?.flatten();
    Ok(last.map_or(after, RowId))
}
