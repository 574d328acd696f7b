"""Alias rules as rows."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.aliases import Rule
from accounting.store.tables import aliases


def append(conn: Connection, rules: Iterable[Rule], now: datetime, by: str = "") -> None:
    """Write rules down. Whether they are there already is the caller's to know."""
    said = {"added_at": now, "added_by": by}
    if rows := [_row(rule) | said for rule in rules]:
        conn.execute(sa.insert(aliases), rows)


def read(conn: Connection, *, withdrawn: bool) -> list[Rule]:
    """The rules in the books, in the order they were added; with those withdrawn since, or without."""
    query = _RULES if withdrawn else _RULES.where(aliases.c.withdrawn_at.is_(None))
    return [Rule(*row) for row in conn.execute(query)]


_RULES = sa.select(aliases.c.provider, aliases.c.pattern, aliases.c.target, aliases.c.source, aliases.c.id).order_by(
    aliases.c.id
)


def _row(rule: Rule) -> dict[str, str]:
    return {"provider": rule.provider, "pattern": rule.pattern, "target": rule.target, "source": rule.source}
