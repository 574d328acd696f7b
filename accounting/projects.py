"""Projects, who pay, and keys, which called: each has a row from its first call on."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table

from accounting.store import insert
from accounting.store.tables import keys, projects

UNASSIGNED = "unassigned"
"""The project of calls that name none."""


def project_ids(conn: Connection, names: Iterable[str], now: datetime) -> dict[str, int]:
    """The id of each project by its name; new ones are added."""
    rows = {name: {"name": name, "first_seen_at": now} for name in names}
    return _ids(conn, projects, projects.c.name, rows)


def key_ids(conn: Connection, last4: Mapping[str, str], now: datetime) -> dict[str, int]:
    """The id of each key by its fingerprint; new ones are added with their last four characters."""
    rows = {
        fingerprint: {"fingerprint": fingerprint, "last4": last4[fingerprint], "first_seen_at": now}
        for fingerprint in last4
    }
    return _ids(conn, keys, keys.c.fingerprint, rows)


def _ids(conn: Connection, table: Table, name: Column[str], rows: Mapping[str, Mapping[str, object]]) -> dict[str, int]:
    found = _found(conn, table, name, rows)
    if missing := sorted(rows.keys() - found.keys()):
        # In the order of their names, so that two transactions that add the same ones can't deadlock.
        conn.execute(insert(conn, table).on_conflict_do_nothing(), [dict(rows[each]) for each in missing])
        found |= _found(conn, table, name, missing)
    return found


def _found(conn: Connection, table: Table, name: Column[str], wanted: Iterable[str]) -> dict[str, int]:
    query = sa.select(name, table.c.id).where(name.in_(list(wanted)))
    return {row[0]: row[1] for row in conn.execute(query)}
