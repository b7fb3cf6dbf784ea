//! The schema as SQL: the original's four revisions, and ours on top.
//!
//! Written from the specification of the tables after each revision. A step can be repeated: the server commits every
//! statement that changes a table at once, so a step that was cut off in the middle is run again from its start.

/// The original's tables, in the order they are made.
pub(super) const TABLES: [&str; 4] = ["instance_status_history", "lock", "metric", "metric_data"];
/// Our tables, besides the one with their version.
pub(super) const OUR_TABLES: [&str; 6] =
    ["score_progress", "reject", "change", "alert_cursor", "alert_episode", "alert_delivery"];
/// Version of our tables, columns and index. 1 is the first; 2 has the columns of the detection score; 3 has the tables
/// of alerts.
pub(super) const OUR_VERSION: i64 = 3;

/// The version from which on `metric_data` has the columns of the detection score.
pub(super) const DETECTION_VERSION: i64 = 2;
/// The version from which on there are the tables of alerts.
pub(super) const ALERT_VERSION: i64 = 3;

/// One revision of the original.
#[derive(Debug, Clone, Copy)]
pub(super) struct Revision {
    /// As alembic records it.
    pub(super) id: &'static str,
    /// What it does.
    pub(super) effect: &'static str,
    /// How to come to it from the one before.
    pub(super) steps: &'static [Step],
}

/// One change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A statement that may be repeated.
    Sql(&'static str),
    /// A statement that is left out where the column is there already.
    AddColumn {
        /// Of which table.
        table: &'static str,
        /// Its name.
        column: &'static str,
        /// The statement.
        sql: &'static str,
    },
    /// A statement that is left out where the index is there already.
    AddIndex {
        /// Of which table.
        table: &'static str,
        /// Its name.
        index: &'static str,
        /// The statement.
        sql: &'static str,
    },
}

impl Step {
    /// The statement.
    pub(super) fn sql(&self) -> &'static str {
        match self {
            Self::Sql(sql) | Self::AddColumn { sql, .. } | Self::AddIndex { sql, .. } => sql,
        }
    }
}

/// Where alembic records the revision.
pub(super) const CREATE_ALEMBIC_VERSION: &str =
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL) ENGINE=InnoDB";
/// Where we record the version of our own tables.
pub(super) const CREATE_OUR_VERSION: &str =
    "CREATE TABLE IF NOT EXISTS htmengine_version (version INT NOT NULL PRIMARY KEY) ENGINE=InnoDB";
/// In [`OUR_STEPS`], stands for the character set and collation of `metric.uid`, which a foreign key must share.
pub(super) const CHARACTER_SET_OF_UID: &str = " /* CHARACTER SET of metric.uid */";

/// The original's revisions, oldest first.
pub(super) const REVISIONS: [Revision; 4] = [
    Revision {
        id: "57ab75d58038",
        effect: "the tables",
        steps: &[
            Step::Sql(
                "CREATE TABLE IF NOT EXISTS instance_status_history (
  server VARCHAR(100) NOT NULL DEFAULT '',
  timestamp TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00',
  status VARCHAR(32) NOT NULL DEFAULT '',
  PRIMARY KEY (server, timestamp)
) ENGINE=InnoDB",
            ),
            Step::Sql(
                "CREATE TABLE IF NOT EXISTS `lock` (
  name VARCHAR(40) NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB",
            ),
            Step::Sql("INSERT IGNORE INTO `lock` (name) VALUES ('metrics')"),
            Step::Sql(
                "CREATE TABLE IF NOT EXISTS metric (
  uid VARCHAR(40) NOT NULL,
  datasource VARCHAR(100),
  name VARCHAR(255),
  description VARCHAR(200),
  server VARCHAR(100),
  location VARCHAR(200),
  parameters TEXT,
  status INT DEFAULT 0,
  message TEXT,
  collector_error TEXT,
  last_timestamp TIMESTAMP NULL DEFAULT NULL,
  poll_interval INT DEFAULT 60,
  tag_name VARCHAR(200),
  model_params TEXT,
  last_rowid INT,
  PRIMARY KEY (uid),
  KEY datasource_idx (datasource),
  KEY location_idx (location),
  KEY server_idx (server)
) ENGINE=InnoDB",
            ),
            Step::Sql(
                "CREATE TABLE IF NOT EXISTS metric_data (
  uid VARCHAR(40) NOT NULL DEFAULT '',
  rowid INT NOT NULL DEFAULT 0,
  timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  metric_value DOUBLE NOT NULL,
  raw_anomaly_score DOUBLE DEFAULT NULL,
  anomaly_score DOUBLE DEFAULT NULL,
  display_value INT DEFAULT NULL,
  PRIMARY KEY (uid, rowid),
  KEY anomaly_score_idx (anomaly_score),
  KEY timestamp_idx (timestamp),
  CONSTRAINT metric_data_to_metric_fk FOREIGN KEY (uid) REFERENCES metric (uid) ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE=InnoDB",
            ),
        ],
    },
    Revision {
        id: "1d2eddc43366",
        // In the time zone in which the server showed them, which is the one they were written in: whoever wrote
        // them meant UTC.
        effect: "times as DATETIME",
        steps: &[
            Step::Sql(
                "ALTER TABLE instance_status_history \
                 MODIFY timestamp DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00'",
            ),
            Step::Sql("ALTER TABLE metric MODIFY last_timestamp DATETIME NULL DEFAULT NULL"),
            Step::Sql("ALTER TABLE metric_data MODIFY timestamp DATETIME NOT NULL"),
        ],
    },
    Revision {
        id: "872a895b8e8",
        effect: "no zero date as a default",
        steps: &[Step::Sql("ALTER TABLE instance_status_history MODIFY timestamp DATETIME NOT NULL")],
    },
    Revision {
        id: "315d6ad6c19f",
        effect: "column multi_step_best_predictions",
        steps: &[Step::AddColumn {
            table: "metric_data",
            column: "multi_step_best_predictions",
            sql: "ALTER TABLE metric_data ADD COLUMN multi_step_best_predictions TEXT DEFAULT NULL",
        }],
    },
];

/// Our tables and the index, from nothing to [`OUR_VERSION`].
pub(super) const OUR_STEPS: &[Step] = &[
    Step::Sql(concat!(
        "CREATE TABLE IF NOT EXISTS score_progress (
  uid VARCHAR(40) NOT NULL,
  scored_up_to INT NOT NULL,
  PRIMARY KEY (uid),
  CONSTRAINT score_progress_to_metric_fk FOREIGN KEY (uid) REFERENCES metric (uid)
    ON DELETE CASCADE ON UPDATE CASCADE
) ENGINE=InnoDB",
        " /* CHARACTER SET of metric.uid */"
    )),
    Step::Sql(
        "CREATE TABLE IF NOT EXISTS reject (
  reason VARCHAR(40) NOT NULL,
  `count` BIGINT NOT NULL,
  last_seen BIGINT NOT NULL,
  example TEXT NOT NULL,
  PRIMARY KEY (reason)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4",
    ),
    Step::Sql(
        "CREATE TABLE IF NOT EXISTS `change` (
  number BIGINT NOT NULL AUTO_INCREMENT,
  uid VARCHAR(40) NOT NULL,
  PRIMARY KEY (number)
) ENGINE=InnoDB",
    ),
    // A prefix, since older servers index 767 bytes at most, and a utf8mb4 character may take four.
    Step::AddIndex {
        table: "metric",
        index: "name_idx",
        sql: "ALTER TABLE metric ADD INDEX name_idx (name(191))",
    },
    Step::AddColumn {
        table: "metric_data",
        column: "detection_score",
        sql: "ALTER TABLE metric_data ADD COLUMN detection_score DOUBLE DEFAULT NULL",
    },
    Step::AddColumn {
        table: "metric_data",
        column: "alert_score",
        sql: "ALTER TABLE metric_data ADD COLUMN alert_score DOUBLE DEFAULT NULL",
    },
    Step::AddColumn {
        table: "metric_data",
        column: "detection_components",
        sql: "ALTER TABLE metric_data ADD COLUMN detection_components VARCHAR(120) DEFAULT NULL",
    },
    // No foreign keys to `metric`: an episode outlives its metric, and the cursor of none stands for the whole.
    Step::Sql(concat!(
        "CREATE TABLE IF NOT EXISTS alert_cursor (
  uid VARCHAR(40) NOT NULL,
  row_id BIGINT NOT NULL,
  began_at BIGINT NOT NULL,
  state MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
  PRIMARY KEY (uid)
) ENGINE=InnoDB",
        " /* CHARACTER SET of metric.uid */"
    )),
    Step::Sql(
        "CREATE TABLE IF NOT EXISTS alert_episode (
  episode_key VARCHAR(40) NOT NULL,
  rule VARCHAR(100) NOT NULL,
  condition_name VARCHAR(40) NOT NULL,
  severity VARCHAR(100) NOT NULL,
  threshold DOUBLE DEFAULT NULL,
  uid VARCHAR(40) NOT NULL,
  metric VARCHAR(255) NOT NULL,
  opened_at BIGINT NOT NULL,
  began BIGINT NOT NULL,
  ended BIGINT DEFAULT NULL,
  row_id BIGINT DEFAULT NULL,
  peak_score DOUBLE DEFAULT NULL,
  peak_at BIGINT NOT NULL,
  peak_value DOUBLE DEFAULT NULL,
  suppressed VARCHAR(20) DEFAULT NULL,
  PRIMARY KEY (episode_key),
  KEY alert_opened_idx (opened_at),
  KEY alert_uid_idx (uid)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ),
    Step::Sql(
        "CREATE TABLE IF NOT EXISTS alert_delivery (
  episode_key VARCHAR(40) NOT NULL,
  channel VARCHAR(100) NOT NULL,
  kind VARCHAR(10) NOT NULL,
  state VARCHAR(10) NOT NULL,
  repeats BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  due_since BIGINT NOT NULL,
  next_at BIGINT DEFAULT NULL,
  last_error TEXT DEFAULT NULL,
  PRIMARY KEY (episode_key, channel, kind),
  KEY alert_due_idx (channel, next_at),
  CONSTRAINT alert_delivery_to_episode_fk FOREIGN KEY (episode_key) REFERENCES alert_episode (episode_key)
    ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ),
];
