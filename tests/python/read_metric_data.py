#!/usr/bin/env python3
"""Reads a metric and its scored rows from the database, as an application beside htmengine does.

Table `metric` has a row for each metric: `status` is 0 unmonitored, 1 active, 2 being created, 4 in error (`message` says
why), 8 waiting for data. Table `metric_data` has a row for each sample, numbered from 1 in `rowid`; its scores are NULL until
the model has seen it. `timestamp` is UTC. `multi_step_best_predictions` is the text `null`, or a JSON object from steps to
predicted values if the model has a classifier.

    read_metric_data.py --host 127.0.0.1 --database htmengine --min-score 0.99 cpu.percent

Prints one line of JSON for the metric, then one for each row. Needs PyMySQL.
"""

import argparse
import json

import pymysql
import pymysql.cursors

METRIC = """
    SELECT uid, datasource, name, description, server, location, parameters, status, message, model_params, last_rowid
    FROM metric WHERE name = %s AND datasource = 'custom'
"""
ROWS = """
    SELECT rowid, timestamp, metric_value, raw_anomaly_score, anomaly_score, display_value, multi_step_best_predictions
    FROM metric_data WHERE uid = %s AND rowid > %s AND (%s IS NULL OR anomaly_score >= %s)
    ORDER BY rowid LIMIT %s
"""


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3306)
    parser.add_argument("--user", default="root")
    parser.add_argument("--password", default="")
    parser.add_argument("--database", default="htmengine")
    parser.add_argument("--after", type=int, default=0, help="only rows after this rowid")
    parser.add_argument("--min-score", type=float, help="only rows with at least this anomaly score")
    parser.add_argument("--limit", type=int, default=1_000_000, help="at most so many rows")
    parser.add_argument("metric")
    return parser.parse_args()


def parsed(text):
    """JSON text as a value; SQL NULL as None."""
    return None if text is None else json.loads(text)


def main():
    """Reads and prints."""
    options = arguments()
    connection = pymysql.connect(
        host=options.host,
        port=options.port,
        user=options.user,
        password=options.password,
        database=options.database,
        charset="utf8mb4",
        cursorclass=pymysql.cursors.DictCursor,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(METRIC, (options.metric,))
        metric = cursor.fetchone()
        if metric is None:
            raise SystemExit(f"there is no metric `{options.metric}`")
        for column in ("parameters", "model_params"):
            metric[column] = parsed(metric[column])
        print(json.dumps(metric))
        query = (metric["uid"], options.after, options.min_score, options.min_score, options.limit)
        cursor.execute(ROWS, query)
        for row in cursor:
            row["timestamp"] = row["timestamp"].isoformat(sep=" ")
            print(json.dumps(row))


if __name__ == "__main__":
    main()
