"""Delivered calls that are in no total, and how they are settled.

Rejected ones could not be taken as calls; conflicts contradict a call that was there first. Neither is ever deleted:
what was delivered, and how it was settled, stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, RowMapping, Table

from accounting import booked, entries, ingest, restate, stamps, versions
from accounting.entries import Read, Refused
from accounting.errors import ConfigurationError
from accounting.ports import Entry, Verdict
from accounting.restate import Order
from accounting.stamps import BY_KEY
from accounting.store import tables, transact
from accounting.usage import Call

ACCEPTED = "conflict-accepted"
"""The kind of a restatement to contents that contradicted the books."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAside:
    """What was delivered, by which journal under which number; not settled while `settled_at` is None."""

    id: int
    journal: UUID
    host: str
    number: int
    payload: bytes
    received_at: datetime
    settled_at: datetime | None
    settled_how: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(PutAside):
    """An entry that was refused, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict(PutAside):
    """A call that came again with other contents."""

    call_id: UUID


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a rejected entry; None: it stays rejected, for that reason."""

    id: int
    verdict: Verdict | None
    reason: str


@dataclass(frozen=True, slots=True)
class Said:
    """One field of a call, as the books have it and as it was delivered."""

    field: str
    books: Any
    delivered: Any

    @property
    def differs(self) -> bool:
        return bool(self.books != self.delivered)


def rejected(conn: Connection, limit: int, *, settled: bool = False) -> list[Rejected]:
    """The newest first; with those settled, or without."""
    return [_rejected(row) for row in conn.execute(_listed(tables.rejected, limit, settled)).mappings()]


def conflicts(conn: Connection, limit: int, *, settled: bool = False) -> list[Conflict]:
    """The newest first; with those settled, or without."""
    return [_conflict(row) for row in conn.execute(_listed(tables.conflicts, limit, settled)).mappings()]


def find_rejected(conn: Connection, id_: int) -> Rejected:
    return _rejected(_row(conn, tables.rejected, id_))


def find_conflict(conn: Connection, id_: int) -> Conflict:
    return _conflict(_row(conn, tables.conflicts, id_))


def waiting(conn: Connection) -> list[int]:
    """The ids of all rejected entries that nobody has settled, in the order they came."""
    table = tables.rejected
    return list(conn.scalars(sa.select(table.c.id).where(table.c.settled_at.is_(None)).order_by(table.c.id)))


def compared(conn: Connection, found: Sequence[Conflict]) -> list[list[Said]]:
    """Of each conflict the two versions of its call field by field, those that differ first."""
    held = {one.call.id: one.call for one in booked.of(conn, {conflict.call_id for conflict in found})}
    return [_compared(held[conflict.call_id], Call.decode(conflict.payload)) for conflict in found]


def retry(engine: Engine, id_: int, now: datetime) -> Retried:
    """Look at a rejected entry once more, as after an upgrade or with a mended clock, and enter it if it is a call now.

    It is entered under the number it came by. What it is still refused for takes the place of the former reason.
    """
    try:
        return transact(engine, partial(_retry, id_=id_, now=now))
    except Exception as error:
        if not ingest.is_about_data(error):
            raise
        reason = ingest.reason(error)
    transact(engine, partial(_keep_reason, id_=id_, reason=reason))
    return Retried(id_, None, reason)


def accept(engine: Engine, id_: int, why: str, who: str, now: datetime) -> Conflict:
    """Let the books say what was delivered second, by a restatement."""
    return transact(engine, partial(_accept, id_=id_, why=_reason(why), who=who, now=now))


def dismiss(engine: Engine, table: Table, id_: int, why: str, who: str, now: datetime) -> None:
    """Settle what was put aside in that table without changing anything else."""

    def work(conn: Connection) -> None:
        _unsettled(conn, table, id_)
        _settle(conn, table, id_, f"dismissed by {who}: {_reason(why)}", now)

    transact(engine, work)


def _compared(held: Call, delivered: Call) -> list[Said]:
    ours, theirs = _said(held), _said(delivered)
    if held.project_source in BY_KEY:  # the program named none
        ours |= {"project": None, "project_source": None}
    return sorted((Said(name, ours[name], theirs[name]) for name in ours), key=lambda one: not one.differs)


def _listed(table: Table, limit: int, settled: bool) -> sa.Select[Any]:
    query = _selected(table).order_by(table.c.id.desc()).limit(limit)
    return query if settled else query.where(table.c.settled_at.is_(None))


def _selected(table: Table) -> sa.Select[Any]:
    source = tables.sources
    return sa.select(table, source.c.journal, source.c.host).join(source, source.c.id == table.c.source_id)


def _row(conn: Connection, table: Table, id_: int) -> RowMapping:
    row = conn.execute(_selected(table).where(table.c.id == id_)).mappings().first()
    if row is None:
        raise ConfigurationError(f"There is no {id_} among them; see accounting {table.name} list")
    return row


def _rejected(row: RowMapping) -> Rejected:
    return Rejected(**_common(row), reason=row["reason"])


def _conflict(row: RowMapping) -> Conflict:
    return Conflict(**_common(row), call_id=row["call_id"])


def _common(row: RowMapping) -> dict[str, Any]:
    return {field.name: row[field.name] for field in fields(PutAside)}


def _said(call: Call) -> dict[str, Any]:
    """All that a call says, under the names that `accounting calls --json` gives it."""
    usage, cost = call.usage, call.usage.provider_cost
    plain = {field.name: getattr(call, field.name) for field in fields(Call) if field.name != "usage"}
    used = usage._asdict()
    used["anomalies"] = list(usage.anomalies)
    used["usage_source"], used["usage_block"] = used.pop("source"), used.pop("block")
    used["provider_cost"] = cost and cost.amount
    return plain | {"tags": dict(call.tags)} | used | {"provider_cost_currency": cost and cost.currency}


def _unsettled(conn: Connection, table: Table, id_: int) -> RowMapping:
    """The row, locked; raises `ConfigurationError` where there is none, or somebody was first."""
    query = _selected(table).where(table.c.id == id_).with_for_update(of=table)
    row = conn.execute(query).mappings().first() or _row(conn, table, id_)
    if row["settled_at"] is not None:
        raise ConfigurationError(f"{id_} was settled on {row['settled_at']:%Y-%m-%d %H:%M} UTC: {row['settled_how']}.")
    return row


def _settle(conn: Connection, table: Table, id_: int, how: str, now: datetime) -> None:
    conn.execute(sa.update(table).where(table.c.id == id_).values(settled_at=now, settled_how=how))


def _retry(conn: Connection, id_: int, now: datetime) -> Retried:
    row = _unsettled(conn, tables.rejected, id_)
    looked = entries.look(Entry(row["number"], row["payload"]), now)
    if isinstance(looked, Refused):
        _keep_reason(conn, id_, looked.reason)
        return Retried(id_, None, looked.reason)
    verdict = ingest.enter(conn, row["source_id"], [looked], now)[looked.number]
    _settle(conn, tables.rejected, id_, f"retried: {verdict}", now)
    return Retried(id_, verdict, "")


def _keep_reason(conn: Connection, id_: int, reason: str) -> None:
    conn.execute(sa.update(tables.rejected).where(tables.rejected.c.id == id_).values(reason=reason))


def _accept(conn: Connection, id_: int, why: str, who: str, now: datetime) -> Conflict:
    row = _unsettled(conn, tables.conflicts, id_)
    read = Read(row["number"], row["payload"], row["digest"], Call.decode(row["payload"]))
    known = stamps.load(conn, [read.call], now)
    what: Mapping[str, str] = {"call": str(row["call_id"]), "conflict": str(id_)}
    restatement = restate.begin(conn, Order(ACCEPTED, what, who, why), now)
    restate.apply(conn, restatement, {read.call.id: versions.contents(read, known)})
    restate.finish(conn, restatement, now)
    _settle(conn, tables.conflicts, id_, f"accepted by {who}: {why}", now)
    stamps.see_again(conn, known)
    return _conflict(row)


def _reason(why: str) -> str:
    if not why.strip():
        raise ConfigurationError("--why is empty; expected the reason, as it stays in the books.")
    return why.strip()
