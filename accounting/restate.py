"""The one way in which a call that is in the books already may change.

In one transaction the calls are locked, taken out of the spend tables if their batch is rolled up, changed, and
added again; what each said before is kept. How far a restatement has come is kept, too, so that one that was
killed goes on when the same order comes again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping

from accounting import contributions
from accounting.contributions import SPEND_TABLES
from accounting.money import plain
from accounting.rates import Rate
from accounting.restated import Edit, Restated, Row, compared
from accounting.store import Lock, hold, insert, ratelines, reading, schema, transact
from accounting.store.tables import batches, calls, restated_calls, restatements
from accounting.usage import APART, least_id

CALLS_AT_ONCE = 500
"""About as many as are changed within 100 ms, the longest that others should wait for the store."""

Change = Callable[[Connection, Sequence[RowMapping]], Mapping[UUID, Mapping[str, Any]]]
"""Says what calls are to say, by their ids: new values of columns, of those calls that change. It only reads."""

_ANY = sa.true()

_FIXED = ("id", "batch_id")
"""What counts a call as itself, and as one of its batch."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to change, as the log tells it: `kind` like key-moved, `what` its particulars."""

    kind: str
    what: Mapping[str, str]
    who: str
    why: str


def restate(
    engine: Engine,
    order: Order,
    which: ColumnElement[bool],
    change: Change,
    clock: Callable[[], datetime],
    *,
    first: datetime | None = None,
    end: datetime | None = None,
    dry_run: bool = False,
    progress: Callable[[Restated], object] | None = None,
) -> Restated:
    """Change calls that began from `first`, included, to `end`, left out (None: open), in the order of their ids.

    One transaction after the other, each whole. An unfinished one of the same kind and `what` goes on where it
    was, and the sums returned include what it did before. A dry run changes nothing and says what would.

    Calls that are on their way into the books while it runs are stamped by ingest: what decides about them must be
    committed before, in a transaction that holds `Lock.INGEST`, or one could slip in by the old rule behind it.
    """
    chosen = sa.and_(which, *_began(first, end))
    done = Restated()
    steps = _tries(engine, chosen, change) if dry_run else _steps(engine, order, chosen, change, clock)
    for step in steps:
        done += step
        if progress is not None:
            progress(done)
    return done


def would_change(
    engine: Engine,
    which: ColumnElement[bool],
    change: Change,
    *,
    first: datetime | None = None,
    end: datetime | None = None,
    progress: Callable[[Restated], object] | None = None,
) -> bool:
    """Whether any of the calls is to say something else. `progress`, told that nothing was done yet, may raise."""
    for step in _tries(engine, sa.and_(which, *_began(first, end)), change):
        if progress is not None:
            progress(Restated())
        if step.changed:
            return True
    return False


def begin(conn: Connection, order: Order, now: datetime) -> int:
    """Opens a restatement in the log; returns its id."""
    row = {"kind": order.kind, "what": dict(order.what), "who": order.who, "why": order.why, "began_at": now}
    key = conn.execute(sa.insert(restatements).values(row | {"seen": 0, "changed": 0})).inserted_primary_key
    assert key is not None  # noqa: S101 - a single row was inserted
    return int(key[0])


def apply(conn: Connection, restatement_id: int, changes: Mapping[UUID, Mapping[str, Any]]) -> int:
    """Changes calls within the caller's transaction; returns how many then say something else.

    Call it once a transaction, after `begin` and whatever else locks rows: it locks batches, calls and rows of
    spend, each in their order.
    """
    return _rewrite(conn, restatement_id, _lock(conn, changes.keys()), lambda *_: changes).changed


def finish(conn: Connection, restatement_id: int, now: datetime) -> None:
    """Closes a restatement in the log."""
    conn.execute(sa.update(restatements).where(restatements.c.id == restatement_id).values(ended_at=now))


def done_so_far(conn: Connection, id_: int) -> Restated:
    """What a restatement did, by its log."""
    done = Restated(conn.execute(sa.select(restatements.c.seen).where(restatements.c.id == id_)).scalar_one())
    logged = sa.select(calls, restated_calls.c.before).join(restated_calls, restated_calls.c.call_id == calls.c.id)
    of_this = logged.where(restated_calls.c.restatement_id == id_).execution_options(yield_per=CALLS_AT_ONCE)
    for rows in conn.execute(of_this).mappings().partitions():
        done += _compared(conn, 0, [Edit(_as_logged(row), row, tuple(row["before"])) for row in rows])
    return done


def _as_logged(row: Row) -> Row:
    """The call as it was, as far as its cost depends on it."""
    before = row["before"]
    return {**row, **before, "billed_on": date.fromisoformat(before.get("billed_on", f"{row['billed_on']}"))}


def _began(first: datetime | None, end: datetime | None) -> Iterator[ColumnElement[bool]]:
    """A call's id begins with its start, give or take a minute, so the ids find the calls."""
    if first is not None:
        yield from (calls.c.id >= least_id(first - APART), calls.c.started_at >= first)
    if end is not None:
        yield from (calls.c.id < least_id(end + APART), calls.c.started_at < end)


def _tries(engine: Engine, chosen: ColumnElement[bool], change: Change) -> Iterator[Restated]:
    """Each in a snapshot of its own: what is read for long keeps the database from clearing up."""
    upto, step = None, Restated(seen=1)
    while step.seen:
        with reading(engine) as conn:
            rows = conn.execute(_after(upto, sa.select(calls).where(chosen))).mappings().all()
            step = _compared(conn, len(rows), _edits(rows, change(conn, rows)))
        if rows:
            upto = rows[-1]["id"]
            yield step


def _steps(
    engine: Engine, order: Order, chosen: ColumnElement[bool], change: Change, clock: Callable[[], datetime]
) -> Iterator[Restated]:
    id_ = transact(engine, lambda conn: _open(conn, order, clock()))
    with reading(engine) as conn:
        yield done_so_far(conn, id_)
    while found := _next(engine, id_, chosen):
        yield transact(engine, partial(_step, id_=id_, found=found, chosen=chosen, change=change))
    transact(engine, lambda conn: finish(conn, id_, clock()))


def _open(conn: Connection, order: Order, now: datetime) -> int:
    """The id of the restatement of this order that is not finished, else of a new one."""
    unfinished = sa.select(restatements).where(restatements.c.kind == order.kind, restatements.c.ended_at.is_(None))
    for row in conn.execute(unfinished.order_by(restatements.c.id)):
        if row.what == dict(order.what):
            return int(row.id)
    return begin(conn, order, now)


@dataclass(frozen=True, slots=True)
class _Next:
    """The calls that come next, where a restatement has come so far."""

    upto: UUID | None
    ids: Sequence[UUID]


def _next(engine: Engine, id_: int, chosen: ColumnElement[bool]) -> _Next | None:
    """None at the end.

    They are looked for outside of the transaction that changes them: where few calls are chosen, it takes long.
    """
    with reading(engine) as conn:
        upto = conn.execute(sa.select(restatements.c.upto).where(restatements.c.id == id_)).scalar_one()
        ids = _next_ids(conn, chosen, upto)
    return _Next(upto, ids) if ids else None


def _next_ids(conn: Connection, chosen: ColumnElement[bool], upto: UUID | None) -> list[UUID]:
    return list(conn.scalars(_after(upto, sa.select(calls.c.id).where(chosen))))


def _after(upto: UUID | None, chosen: sa.Select[Any]) -> sa.Select[Any]:
    """The calls that come next."""
    following = chosen.order_by(calls.c.id).limit(CALLS_AT_ONCE)
    return following if upto is None else following.where(calls.c.id > upto)


def _step(conn: Connection, id_: int, found: _Next, chosen: ColumnElement[bool], change: Change) -> Restated:
    schema.check(conn)
    hold(conn, Lock.INGEST, shared=True)  # what is decided stays as the change finds it, as for a call that is stamped
    hold(conn, Lock.ROLLUP, shared=True)
    this = restatements.c.id == id_
    if conn.execute(sa.select(restatements.c.upto).where(this).with_for_update()).scalar_one() != found.upto:
        return Restated()  # somebody else gave the same order, and was first
    done = _rewrite(conn, id_, _lock(conn, found.ids, chosen), change)
    conn.execute(sa.update(restatements).where(this).values(upto=found.ids[-1]))
    return done


@dataclass(frozen=True, slots=True)
class _Locked:
    """Calls that nobody else changes until the transaction ends, and which of their batches are rolled up."""

    rows: Sequence[RowMapping]
    rolled: Collection[int]


def _lock(conn: Connection, ids: Collection[UUID], chosen: ColumnElement[bool] = _ANY) -> _Locked:
    """Those of the calls that are chosen.

    Batches before calls: whether a batch is rolled up must not change in between, and its rollup reads calls. And the
    batches of all, as one that is not chosen at this moment may be at the next.
    """
    hold(conn, Lock.ROLLUP, shared=True)
    of_these = batches.c.id.in_(sa.select(calls.c.batch_id).where(calls.c.id.in_(ids)))
    held = sa.select(batches.c.id, batches.c.rolled_at).where(of_these).order_by(batches.c.id)
    rolled = {batch.id for batch in conn.execute(held.with_for_update(read=True)) if batch.rolled_at is not None}
    these = sa.select(calls).where(calls.c.id.in_(ids), chosen).order_by(calls.c.id)
    rows = conn.execute(these.with_for_update()).mappings().all()
    return _Locked(rows, rolled)


def _rewrite(conn: Connection, id_: int, locked: _Locked, change: Change) -> Restated:
    edits = _edits(locked.rows, change(conn, locked.rows))
    if edits:
        _log(conn, id_, edits)
        _update(conn, edits)
        _move(conn, [edit for edit in edits if edit.before["batch_id"] in locked.rolled])
    counts = {"seen": restatements.c.seen + len(locked.rows), "changed": restatements.c.changed + len(edits)}
    conn.execute(sa.update(restatements).where(restatements.c.id == id_).values(counts))
    return _compared(conn, len(locked.rows), edits)


def _edits(rows: Iterable[Row], changes: Mapping[UUID, Mapping[str, Any]]) -> list[Edit]:
    return [edit for row in rows if row["id"] in changes and (edit := _edit(row, changes[row["id"]])).columns]


def _edit(row: Row, values: Mapping[str, Any]) -> Edit:
    columns = tuple(name for name, value in values.items() if row[name] != value)
    if any(name in columns for name in _FIXED):
        raise ValueError(f"A change to call {row['id']} names {' or '.join(_FIXED)}; these stay for ever.")
    return Edit(row, {**row, **values}, columns)


def _log(conn: Connection, id_: int, edits: Iterable[Edit]) -> None:
    said = [
        {"call_id": edit.before["id"], "restatement_id": id_, "before": _said(edit.before, edit.columns)}
        for edit in edits
    ]
    # A call that one restatement changes twice keeps what it said before the first time.
    conn.execute(insert(conn, restated_calls).on_conflict_do_nothing(), said)


def _said(row: Row, columns: Iterable[str]) -> dict[str, Any]:
    return {name: _plain(row[name]) for name in columns}


def _plain(value: Any) -> Any:
    """A column's value as JSON holds it."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, UUID) else value


def _update(conn: Connection, edits: Iterable[Edit]) -> None:
    """One statement for all calls of which the same columns change."""
    alike: dict[tuple[str, ...], list[Row]] = {}
    for edit in edits:
        alike.setdefault(edit.columns, []).append(edit.after)
    for columns, rows in alike.items():
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in columns}
        statement = sa.update(calls).where(calls.c.id == sa.bindparam("this")).values(values)
        conn.execute(statement, [{"this": row["id"], **{f"new_{name}": row[name] for name in columns}} for row in rows])


def _move(conn: Connection, edits: Sequence[Edit]) -> None:
    """What the calls added to spend is taken out, and added as they are now."""
    before, after = [edit.before for edit in edits], [edit.after for edit in edits]
    rates = _rates(conn, edits)
    for table in SPEND_TABLES:
        contributions.add(conn, table, contributions.moved(table, before, after), rates)


def _rates(conn: Connection, edits: Iterable[Edit]) -> dict[int, Rate]:
    named = {row["rate_id"] for edit in edits for row in (edit.before, edit.after)}
    return {rate.id: rate for rate in ratelines.read(conn, withdrawn=True, ids=named)}


def _compared(conn: Connection, seen: int, edits: Sequence[Edit]) -> Restated:
    return compared(seen, edits, _rates(conn, edits))
