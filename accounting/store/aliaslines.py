"""Alias rules as rows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.aliases import Aliases, Rule
from accounting.store import withdrawals
from accounting.store.tables import aliases

SHIPPED = "shipped"
"""Who added the rules that came with the program."""


@dataclass(frozen=True, slots=True)
class Line:
    """A rule as it stands in the books: who added it and when, and who withdrew it and why."""

    rule: Rule
    added_at: datetime
    added_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_why: str | None

    def __str__(self) -> str:
        return str(self.rule)


def append(conn: Connection, rules: Iterable[Rule], now: datetime, by: str = SHIPPED) -> list[Rule]:
    """Write rules down, and return them with their ids. Whether they are there already is the caller's to know."""
    new = list(rules)
    if not new:
        return []
    inserted = sa.insert(aliases).returning(aliases.c.id, sort_by_parameter_order=True)
    said = {"added_at": now, "added_by": by}
    ids = conn.scalars(inserted, [_row(rule) | said for rule in new])
    return [replace(rule, id=id_) for rule, id_ in zip(new, ids, strict=True)]


def withdraw(conn: Connection, ids: Iterable[int], now: datetime, by: str, why: str) -> None:
    """Note that these rules hold no more. Whether they did is the caller's to know."""
    withdrawals.withdraw(conn, aliases, ids, now, by, why)


def lines(conn: Connection) -> list[Line]:
    """All rules as they stand in the books, in the order they were added."""
    found = conn.execute(sa.select(aliases).order_by(aliases.c.id)).mappings()
    return [Line(Rule(*(row[name] for name in _RULE)), *(row[name] for name in _HOW)) for row in found]


def read(conn: Connection, *, withdrawn: bool) -> list[Rule]:
    """The rules in the books, in the order they were added; with those withdrawn since, or without."""
    query = _RULES if withdrawn else _IN_FORCE
    return [Rule(*row) for row in conn.execute(query)]


def in_force(conn: Connection) -> Aliases:
    """The rules that are not withdrawn, ready to find names; the same as before while they are the same."""
    return _aliases(tuple(map(tuple, conn.execute(_IN_FORCE))))


@lru_cache(maxsize=16)
def _aliases(rows: tuple[tuple[Any, ...], ...]) -> Aliases:
    return Aliases(Rule(*row) for row in rows)


_RULE = ("provider", "pattern", "target", "source", "id")
_HOW = ("added_at", "added_by", *withdrawals.COLUMNS)
_RULES = sa.select(*(aliases.c[name] for name in _RULE)).order_by(aliases.c.id)
_IN_FORCE = _RULES.where(aliases.c.withdrawn_at.is_(None))


def _row(rule: Rule) -> dict[str, str]:
    return {"provider": rule.provider, "pattern": rule.pattern, "target": rule.target, "source": rule.source}
