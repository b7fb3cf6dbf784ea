#!/usr/bin/env python3
"""Renames a table of an SQLite file, so that an engine that uses it meets errors that do not pass.

    rename_table.py htmengine.db metric_data gone
"""

import sqlite3
import sys

path, name, new_name = sys.argv[1:]
database = sqlite3.connect(path, timeout=60)
# Views and keys that name the table are left as they are.
database.execute("PRAGMA legacy_alter_table = ON")
database.execute("ALTER TABLE " + name + " RENAME TO " + new_name)
database.commit()
