//! What a database holds, as its catalogue tells, and whether this program can work with it.
//!
//! The original's schema is the contract; its version is the row of `alembic_version`. Ours on top, in tables of our
//! own, is optional: its version is the row of `htmengine_version`.

use std::collections::BTreeSet;

use super::revision::{ALERT_VERSION, DETECTION_VERSION, OUR_TABLES, OUR_VERSION, REVISIONS, TABLES};
use super::session::Session;
use super::value::Columns;
use crate::repository::RepositoryError;

/// Which of our additions a database has.
#[expect(clippy::struct_excessive_bools, reason = "each stands for one addition, and any may be missing")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Features {
    /// Table `score_progress`.
    pub(super) has_score_progress: bool,
    /// Table `reject`.
    pub(super) has_reject: bool,
    /// Table `change`.
    pub(super) has_change: bool,
    /// The columns of the detection score in `metric_data`.
    pub(super) has_detection: bool,
    /// The tables of alerts.
    pub(super) has_alerts: bool,
}

impl Features {
    /// A database that `htmengine migrate` has brought up.
    pub(super) const ALL: Self = Self {
        has_score_progress: true,
        has_reject: true,
        has_change: true,
        has_detection: true,
        has_alerts: true,
    };
}

/// Tables and versions of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Catalogue {
    /// Which of the tables that we know are there.
    pub(super) tables: BTreeSet<String>,
    /// Rows of `alembic_version`; `None` without the table.
    pub(super) revisions: Option<Vec<String>>,
    /// The row of `htmengine_version`; `None` without the table.
    pub(super) our_version: Option<i64>,
}

impl Catalogue {
    /// Looks at the session's database.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub(super) fn read(session: &mut Session) -> Result<Self, RepositoryError> {
        let doing = "looking at the tables";
        let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()";
        let known = |name: &String| {
            TABLES.contains(&name.as_str())
                || OUR_TABLES.contains(&name.as_str())
                || ["alembic_version", "htmengine_version"].contains(&name.as_str())
        };
        let rows = session.rows(doing, sql, ())?;
        let names = rows.into_iter().map(|row| Columns::new(row).required(Columns::text));
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        let tables: BTreeSet<String> = names.into_iter().filter(known).collect();
        let revisions = if tables.contains("alembic_version") {
            let rows = session.rows(doing, "SELECT version_num FROM alembic_version", ())?;
            let names = rows.into_iter().map(|row| Columns::new(row).required(Columns::text));
            Some(names.collect::<Result<_, _>>()?)
        } else {
            None
        };
        let our_version = if tables.contains("htmengine_version") {
            let row = session.first_row(doing, "SELECT MAX(version) FROM htmengine_version", ())?;
            Some(row.map(|row| Columns::new(row).integer()).transpose()?.flatten().unwrap_or(0))
        } else {
            None
        };
        Ok(Self { tables, revisions, our_version })
    }

    /// Place of the database's revision in [`REVISIONS`]; `None` if it has none yet.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] for a revision that we do not know, or several.
    pub(super) fn revision_idx(&self) -> Result<Option<usize>, RepositoryError> {
        let Some([first, rest @ ..]) = self.revisions.as_deref() else { return Ok(None) };
        let idx = REVISIONS.iter().position(|revision| revision.id == first);
        if let (Some(idx), []) = (idx, rest) {
            return Ok(Some(idx));
        }
        let found = self.revisions.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let known = REVISIONS.map(|revision| format!("`{}`", revision.id)).join(", ");
        Err(RepositoryError::Fatal {
            reason: format!(
                "the database is at revision {} of `alembic_version`; expected one of htmengine's: {known}. Another \
                 program has extended it: use that program's own version of htmengine, or another database",
                found.join(", ")
            ),
        })
    }

    /// Whether the roles can work with this database, and with which of our additions.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] if it must be migrated first, or is of another program or a newer htmengine.
    pub(super) fn check(&self) -> Result<Features, RepositoryError> {
        let head = REVISIONS.len() - 1;
        let idx = self.revision_idx()?;
        if idx != Some(head) {
            let found = match idx {
                Some(idx) => format!("is at the old revision `{}`", REVISIONS[idx].id),
                None => "has no tables of htmengine".to_owned(),
            };
            return Err(RepositoryError::Fatal {
                reason: format!(
                    "the database {found}; expected revision `{}`: run `htmengine migrate`",
                    REVISIONS[head].id
                ),
            });
        }
        for table in TABLES {
            if !self.tables.contains(table) {
                return Err(RepositoryError::Fatal {
                    reason: format!(
                        "the database is at revision `{}`, which has a table `{table}`, and this one is missing: restore \
                         it from a backup, or use another database",
                        REVISIONS[head].id
                    ),
                });
            }
        }
        self.check_our_version()?;
        let is_ours = |table: &str| self.our_version.is_some() && self.tables.contains(table);
        Ok(Features {
            has_score_progress: is_ours("score_progress"),
            has_reject: is_ours("reject"),
            has_change: is_ours("change"),
            has_detection: self.our_version.is_some_and(|version| version >= DETECTION_VERSION),
            has_alerts: self.our_version.is_some_and(|version| version >= ALERT_VERSION),
        })
    }

    /// Refuses our own tables in a version that we do not know.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`].
    pub(super) fn check_our_version(&self) -> Result<(), RepositoryError> {
        match self.our_version {
            Some(found) if found > OUR_VERSION => Err(RepositoryError::Fatal {
                reason: format!(
                    "the database has version {found} of htmengine's own tables, made by a newer htmengine; this one \
                     knows version {OUR_VERSION}: install the newer one"
                ),
            }),
            Some(_) | None => Ok(()),
        }
    }
}
