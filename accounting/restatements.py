"""What was changed in calls that were in the books already: who, when and why, and what they said before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.errors import ConfigurationError
from accounting.store.tables import restated_calls
from accounting.store.tables import restatements as log


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """One change to calls in the books. `ended_at` is None while it goes on, or where it was killed."""

    id: int
    kind: str
    what: Mapping[str, str]
    who: str
    why: str
    began_at: datetime
    ended_at: datetime | None
    seen: int
    changed: int


@dataclass(frozen=True, slots=True)
class RestatedCall:
    """The columns of a call that changed, and what they said before, as JSON."""

    call_id: UUID
    before: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One of the changes to a call: which restatement it was, and what the call said before, as JSON."""

    by: Restatement
    before: Mapping[str, Any]


_COLUMNS = [column for column in log.c if column.name != "upto"]


def restatements(conn: Connection, limit: int = 50, kind: str | None = None) -> list[Restatement]:
    """The newest first."""
    query = sa.select(*_COLUMNS).order_by(log.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(log.c.kind == kind)
    return [Restatement(**row) for row in conn.execute(query).mappings()]


def find(conn: Connection, id_: int) -> Restatement:
    """Raises `ConfigurationError` where there is none."""
    row = conn.execute(sa.select(*_COLUMNS).where(log.c.id == id_)).mappings().one_or_none()
    if row is None:
        raise ConfigurationError(f"There is no restatement {id_}. See which there are: accounting restatements list")
    return Restatement(**row)


def restated(conn: Connection, id_: int, limit: int = 50) -> list[RestatedCall]:
    """The calls that it changed, in order of their ids."""
    of_this = sa.select(restated_calls.c.call_id, restated_calls.c.before).where(restated_calls.c.restatement_id == id_)
    found = conn.execute(of_this.order_by(restated_calls.c.call_id).limit(limit))
    return [RestatedCall(call_id, before) for call_id, before in found]


def of_call(conn: Connection, call_id: UUID) -> list[Change]:
    """What was changed in a call since it came into the books, the earliest first."""
    changed = sa.select(*_COLUMNS, restated_calls.c.before).join(log, log.c.id == restated_calls.c.restatement_id)
    rows = conn.execute(changed.where(restated_calls.c.call_id == call_id).order_by(log.c.id)).mappings()
    return [Change(Restatement(**{c.name: row[c.name] for c in _COLUMNS}), row["before"]) for row in rows]
