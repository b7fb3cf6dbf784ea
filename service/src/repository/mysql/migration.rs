//! Makes the tables in an empty database, and brings an older one up: `htmengine migrate`.
//!
//! The original's revisions are recorded as alembic does, so that the original's own migrations go on from there; ours
//! on top are recorded in `htmengine_version`. Nothing is done to a database whose tables we do not know.
//!
//! Invariants: only one migration of a database runs at a time (a named lock of the server). A migration that was cut
//! off goes on when it is started again.
//!
//! Departure: the original could not be started again after a step had failed half-way.

use std::fmt::Write;

use tokio::runtime::Handle;

use super::revision::{
    CHARACTER_SET_OF_UID, CREATE_ALEMBIC_VERSION, CREATE_OUR_VERSION, OUR_STEPS, OUR_TABLES, OUR_VERSION,
    REVISIONS, Step, TABLES,
};
use super::schema::Catalogue;
use super::session::{SQL_MODE, Session, options};
use super::settings::MysqlSettings;
use super::value::Columns;
use crate::repository::RepositoryError;

/// How long to wait for another migration of the same database.
const MAX_LOCK_WAIT_S: u32 = 600;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MigrationTarget {
    /// The original's newest revision, and nothing of ours.
    Original,
    /// That, and our tables and index.
    #[default]
    Head,
}

/// Brings the database of `settings` to `target`, and returns what was done, a phrase for each step; nothing if it was
/// there already.
///
/// # Errors
/// [`RepositoryError::Fatal`] if the database does not exist, is at a revision that we do not know, or has tables of
/// another program with our names; [`RepositoryError::Transient`] if the server is away or another migration goes on.
pub fn migrate(
    settings: &MysqlSettings,
    target: MigrationTarget,
    runtime: &Handle,
) -> Result<Vec<String>, RepositoryError> {
    settings.check_authorities()?;
    // The time zone stays the server's own: see revision 1d2eddc43366.
    let set_up = vec!["SET NAMES utf8mb4".to_owned(), format!("SET sql_mode = '{SQL_MODE}'")];
    let mut session = Session::connect(options(settings, set_up), runtime)?;
    let done = migrate_session(&mut session, target);
    let _inside = runtime.enter();
    // The named lock goes with the connection.
    drop(session);
    done
}

/// The SQL that makes `target` in an empty database.
pub fn offline_sql(target: MigrationTarget) -> String {
    let mut statements = vec![format!("SET sql_mode = '{SQL_MODE}'"), CREATE_ALEMBIC_VERSION.to_owned()];
    for (idx, revision) in REVISIONS.iter().enumerate() {
        statements.push(format!("-- revision {}: {}", revision.id, revision.effect));
        statements.extend(revision.steps.iter().map(|step| step.sql().to_owned()));
        statements.push(record_revision(idx));
    }
    if target == MigrationTarget::Head {
        statements.push(format!("-- htmengine's own tables, version {OUR_VERSION}"));
        statements.push(CREATE_OUR_VERSION.to_owned());
        statements.extend(OUR_STEPS.iter().map(|step| step.sql().replace(CHARACTER_SET_OF_UID, "")));
        statements.push(format!("INSERT INTO htmengine_version (version) VALUES ({OUR_VERSION})"));
    }
    let mut script = String::new();
    for statement in statements {
        let end = if statement.starts_with("--") { "" } else { ";" };
        // Writing to a String cannot fail.
        let _ = writeln!(script, "{statement}{end}");
    }
    script
}

fn migrate_session(session: &mut Session, target: MigrationTarget) -> Result<Vec<String>, RepositoryError> {
    lock(session)?;
    let catalogue = Catalogue::read(session)?;
    check_originals(&catalogue)?;
    catalogue.check_our_version()?;
    let mut done = Vec::new();
    if catalogue.revisions.is_none() {
        session.run("making alembic_version", CREATE_ALEMBIC_VERSION)?;
    }
    let first = catalogue.revision_idx()?.map_or(0, |idx| idx + 1);
    for (idx, revision) in REVISIONS.iter().enumerate().skip(first) {
        let what = format!("revision {}: {}", revision.id, revision.effect);
        for step in revision.steps {
            run_step(session, &what, step, step.sql())?;
        }
        session.run(&what, &record_revision(idx))?;
        done.push(what);
    }
    let is_wanted =
        target == MigrationTarget::Head && catalogue.our_version.is_none_or(|found| found < OUR_VERSION);
    if is_wanted {
        add_ours(session, &catalogue)?;
        done.push(format!("htmengine's own tables and index, version {OUR_VERSION}"));
    }
    Ok(done)
}

fn lock(session: &mut Session) -> Result<(), RepositoryError> {
    let sql = "SELECT GET_LOCK(CONCAT('htmengine.', SHA1(DATABASE())), ?)";
    let row = session.first_row("waiting for another migration", sql, (MAX_LOCK_WAIT_S,))?;
    let answer = row.map(|row| Columns::new(row).integer()).transpose()?.flatten();
    if answer == Some(1) {
        return Ok(());
    }
    Err(RepositoryError::Transient {
        reason: format!(
            "another migration of this database has been going on for {MAX_LOCK_WAIT_S} s; wait for its end, then start \
             this one again"
        ),
    })
}

/// Refuses tables of another program that have the names of the original's.
fn check_originals(catalogue: &Catalogue) -> Result<(), RepositoryError> {
    let present: Vec<&str> = TABLES.into_iter().filter(|table| catalogue.tables.contains(*table)).collect();
    if catalogue.revisions.is_none() && !present.is_empty() {
        return Err(foreign_tables(&present, "alembic_version"));
    }
    Ok(())
}

fn foreign_tables(tables: &[&str], version_table: &str) -> RepositoryError {
    let names = tables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    RepositoryError::Fatal {
        reason: format!(
            "the database has {names}, and no table `{version_table}` that says htmengine made it; nothing was \
             changed: use an empty database"
        ),
    }
}

fn add_ours(session: &mut Session, catalogue: &Catalogue) -> Result<(), RepositoryError> {
    let doing = "making htmengine's own tables";
    let present: Vec<&str> =
        OUR_TABLES.into_iter().filter(|table| catalogue.tables.contains(*table)).collect();
    if catalogue.our_version.is_none() && !present.is_empty() {
        return Err(foreign_tables(&present, "htmengine_version"));
    }
    session.run(doing, CREATE_OUR_VERSION)?;
    let character_set = character_set_of_uid(session)?;
    for step in OUR_STEPS {
        run_step(session, doing, step, &step.sql().replace(CHARACTER_SET_OF_UID, &character_set))?;
    }
    session.run(doing, &format!("INSERT INTO htmengine_version (version) VALUES ({OUR_VERSION})"))
}

/// How to declare the character set that a key of `metric.uid` has.
fn character_set_of_uid(session: &mut Session) -> Result<String, RepositoryError> {
    let sql = "SELECT character_set_name, collation_name FROM information_schema.columns \
               WHERE table_schema = DATABASE() AND table_name = 'metric' AND column_name = 'uid'";
    let row = session.first_row("looking at metric.uid", sql, ())?;
    let Some(mut columns) = row.map(Columns::new) else { return Ok(String::new()) };
    let (character_set, collation) = (columns.required(Columns::text)?, columns.required(Columns::text)?);
    Ok(format!(" DEFAULT CHARACTER SET {character_set} COLLATE {collation}"))
}

fn run_step(session: &mut Session, doing: &str, step: &Step, sql: &str) -> Result<(), RepositoryError> {
    let looked_for = match step {
        Step::Sql(_) => None,
        Step::AddColumn { table, column, .. } => Some((
            "SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? \
             AND column_name = ? LIMIT 1",
            table,
            column,
        )),
        Step::AddIndex { table, index, .. } => Some((
            "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? \
             AND index_name = ? LIMIT 1",
            table,
            index,
        )),
    };
    if let Some((question, table, name)) = looked_for
        && session.first_row(doing, question, (*table, *name))?.is_some()
    {
        return Ok(());
    }
    session.run(doing, sql)
}

/// As alembic: one row, moved on.
fn record_revision(idx: usize) -> String {
    let id = REVISIONS[idx].id;
    match idx.checked_sub(1) {
        None => format!("INSERT INTO alembic_version (version_num) VALUES ('{id}')"),
        Some(before) => format!(
            "UPDATE alembic_version SET version_num = '{id}' WHERE version_num = '{}'",
            REVISIONS[before].id
        ),
    }
}
