//! Promise: MySQL and MariaDB hold rows and scores as SQLite does, with the original's schema.

use std::sync::Arc;

use htm_tests::private_mariadb::{PrivateMariadb, runtime};
use htmengine::repository::Repository;
use htmengine::repository::mysql::migration::{MigrationTarget, migrate};
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};

fn connect(settings: &MysqlSettings) -> Arc<dyn Repository> {
    MysqlRepository::connect(settings, runtime()).unwrap_or_else(|error| panic!("{error}"))
}

/// An empty database at `target`.
fn open(target: MigrationTarget) -> Arc<dyn Repository> {
    let settings = PrivateMariadb::shared().fresh_database();
    migrate(&settings, target, runtime()).unwrap_or_else(|error| panic!("{error}"));
    connect(&settings)
}

mod with_our_tables {
    use super::*;

    htm_tests::conformance_tests!(open(MigrationTarget::Head));
    htm_tests::conformance_tests!(open(MigrationTarget::Head);
    changes_are_numbered_and_read_in_order detection_scores_are_stored_bit_for_bit_and_cleared
    elevated_rows_are_found_across_metrics);
}

mod with_the_original_schema_alone {
    use super::*;

    htm_tests::conformance_tests!(open(MigrationTarget::Original));
}

#[test]
fn a_private_server_is_started_stopped_and_killed() {
    let server = PrivateMariadb::start_own();
    let database = server.fresh_database().database;
    server.query(&database, "CREATE TABLE t (x INT); INSERT INTO t VALUES (7)");
    server.stop();
    server.start();
    assert_eq!(server.query(&database, "SELECT x FROM t"), "7\n");
    server.kill();
    server.start();
    assert_eq!(server.query(&database, "SELECT x FROM t"), "7\n");
    let id = server.process_id();
    drop(server);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}
