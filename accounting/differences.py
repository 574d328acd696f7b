"""What is found where the books don't balance, in words that need no looking up of ids."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from accounting.money import plain
from accounting.rates import UNPRICED
from accounting.spend import known_keys, project_names
from accounting.store import is_postgresql
from accounting.store.types import Instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of the books that is not what the rest of them says."""

    table: str
    key: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table}, {self.key}: {self.column} is {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many rows of a table said something wrong, were missing, or should not have been there."""

    wrong: int = 0
    missing: int = 0
    stray: int = 0

    def __add__(self, other: "Repaired") -> "Repaired":
        return Repaired(self.wrong + other.wrong, self.missing + other.missing, self.stray + other.stray)


@dataclass(frozen=True, slots=True)
class Names:
    """Spells out what a spend row is about."""

    projects: Mapping[int, str]
    keys: Mapping[int, str]

    def of(self, row: Mapping[str, Any]) -> str:
        """The columns of its key, by name, as far as there are any; times as raw as in `raw`."""
        spelt = (
            text_at(row["quarter"]) if "quarter" in row else "",
            f"{row['tag']}={row['value']}" if "tag" in row else "",
            f"billed on {row['billed_on']}",
            f"project {self.projects.get(row['project_id'], row['project_id'])}",
            f"key {self.keys.get(row['key_id'], row['key_id'])}" if "key_id" in row else "",
            f"{row['provider']}/{row['model']}" if "model" in row else "",
            "unpriced" if row["rate_id"] == UNPRICED else f"rate {row['rate_id']}",
            f"usage {row['usage_source']}",
            f"effort {row['effort']}" if row.get("effort") else "",
        )
        return ", ".join(filter(None, spelt))


def names(conn: Connection) -> Names:
    return Names(project_names(conn), {id_: key.label for id_, key in known_keys(conn).items()})


def raw(conn: Connection, table: Table, *columns: str) -> list[sa.ColumnElement[Any]]:
    """Columns as the same plain text and whole numbers on both databases, whatever a careless hand put there.

    Instants are microseconds since 1970, days ISO dates, ids 32 hex digits, amounts and JSON text. It also takes a
    third of the time that SQLAlchemy's own values do.
    """
    return [_raw(table.c[name], is_postgresql(conn)).label(name) for name in columns]


def _raw(column: sa.ColumnElement[Any], is_postgresql: bool) -> sa.ColumnElement[Any]:
    kind = column.type
    if isinstance(kind, sa.Text | sa.Integer):
        return column
    if not is_postgresql:
        return sa.type_coerce(column, sa.BigInteger if isinstance(kind, Instant) else sa.Text)
    if isinstance(kind, Instant):
        return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger)
    if isinstance(kind, sa.Date):
        return sa.func.to_char(column, "YYYY-MM-DD")
    as_text = sa.cast(column, sa.Text)
    return sa.func.replace(as_text, "-", "") if isinstance(kind, sa.Uuid) else as_text


def microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(microseconds: int) -> datetime:
    """Raises `OverflowError` where the number is no time."""
    return _EPOCH + timedelta(microseconds=microseconds)


def text_at(microseconds: Any) -> str:
    """The time as a difference shows it, or whatever stands in its place."""
    try:
        return text(instant(microseconds))
    except (OverflowError, TypeError):
        return repr(microseconds)


def text(value: Any) -> str:
    """The value as a difference shows it."""
    if isinstance(value, Decimal | float):
        return "no number" if math.isnan(value) else plain(Decimal(value))
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z"
    return "nothing" if value is None else str(value)
