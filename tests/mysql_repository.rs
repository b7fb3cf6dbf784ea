//! Promise: MySQL and MariaDB hold rows and scores as SQLite does, with the original's schema.

use htm_tests::private_mariadb::PrivateMariadb;

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
