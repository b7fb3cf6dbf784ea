//! Promise: SQLite holds rows and scores as every repository does. What is its own is tested beside its code.

use std::ops::Deref;

use htm_tests::conformance_tests;
use htmengine::repository::Repository;
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use tempfile::TempDir;

struct Opened {
    repository: SqliteRepository,
    _folder: TempDir,
}

impl Deref for Opened {
    type Target = dyn Repository;

    fn deref(&self) -> &Self::Target {
        &self.repository
    }
}

fn open() -> Opened {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("engine.db");
    let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates");
    Opened { repository, _folder: folder }
}

conformance_tests!(open());
conformance_tests!(open();
    changes_are_numbered_and_read_in_order detection_scores_are_stored_bit_for_bit_and_cleared
    elevated_rows_are_found_across_metrics);
