"""The one way in which a call that is in the books already may change.

In one transaction the calls are locked, taken out of the spend tables if their batch is rolled up, changed, and
added again; what each said before is kept. How far a restatement has come is kept, too, so that one that was
killed goes on when the same order comes again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine
from sqlalchemy.dialects.postgresql import ARRAY

from accounting import budgetperiods, contributions, settling
from accounting.contributions import SPEND_TABLES
from accounting.money import plain
from accounting.periods import shifted
from accounting.rates import Rate
from accounting.restated import Edit, Restated, Row, Stretch, compared
from accounting.settling import Budgets
from accounting.store import Lock, hold, insert, is_postgresql, ratelines, reading, schema, transact
from accounting.store.tables import batches, calls, restated_calls, restatements
from accounting.store.types import Json
from accounting.usage import APART, COUNTED, least_id

CALLS_AT_ONCE = {"sqlite": 1_000, "postgresql": 5_000}
"""By the name of the database. On SQLite all others wait for the store meanwhile, about 100 ms at most; on PostgreSQL
rollups do, and the more at once, the fewer the rows of spend that each is added to.
"""

Change = Callable[[Connection, Sequence[Row]], Mapping[UUID, Mapping[str, Any]]]
"""Says what calls are to say, by their ids: new values of columns, of those calls that change. It only reads."""

_MANY = 20
"""So many calls of which the same is said are written in one statement."""

_READ_AT_ONCE = 500

_ALL = tuple(column.name for column in calls.c)

_NEEDED = ("id", "batch_id", "project_id", "billed_on", "rate_id", *COUNTED)
"""What is told of a change follows from these columns."""

_FIXED = ("id", "batch_id")
"""What counts a call as itself, and as one of its batch."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Which calls are changed, and how; `reads` are the columns that this takes, `first` is when the earliest began."""

    chosen: ColumnElement[bool]
    change: Change
    reads: Sequence[str]
    sparse: bool
    first: datetime | None

    def rows(self, budgets: Budgets) -> sa.Select[Any]:
        """With what decides about budgets, where there are any."""
        read = {*self.reads, *settling.READ} if budgets.by_id else self.reads
        return sa.select(*(calls.c[name] for name in read)).where(self.chosen)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to change, as the log tells it: `kind` like key-moved, `what` its particulars.

    A job is the same `who` on every host: see `by_job`.
    """

    kind: str
    what: Mapping[str, str]
    who: str
    why: str

    def goes_on_with(self, row: sa.Row[Any]) -> bool:
        """Whether it is this order, of the same person for the same reason, that was begun."""
        return row.why == self.why and (row.who == self.who or (_is_job(row.who) and _is_job(self.who)))


_JOB = ", scheduler"


def by_job(host: str) -> str:
    """Who gives an order, where it is a job on that host."""
    return f"{host}{_JOB}"


def _is_job(who: str) -> bool:
    return who.endswith(_JOB)


def restate(
    engine: Engine,
    order: Order,
    which: ColumnElement[bool],
    change: Change,
    clock: Callable[[], datetime],
    *,
    reads: Iterable[str] = _ALL,
    first: datetime | None = None,
    end: datetime | None = None,
    sparse: bool = False,
    dry_run: bool = False,
    progress: Callable[[Restated], object] | None = None,
) -> Restated:
    """Change calls that began from `first`, included, to `end`, left out (None: open), in the order of their ids.

    One transaction after the other, each whole. An unfinished one of the same order goes on where it was, and ends
    where somebody else gives it, or for another reason. The sums returned are of what is done here. A dry run changes
    nothing and says what would. `reads` are the columns that the change reads or sets; the fewer, the faster.

    Calls that are on their way into the books while it runs are stamped by ingest: what decides about them must be
    committed before, in a transaction that holds `Lock.INGEST`, or one could slip in by the old rule behind it.

    Of a `sparse` one few calls may change: they are looked at before anything is held. It is one of several that keep
    their places until all of them are done, so it stays open: the caller is to `close` it.
    """
    since = () if first is None else (calls.c.started_at >= first,)
    chosen = sa.and_(which, *since, *began(None, end))
    done, work = Restated(), _Work(chosen, change, tuple({*_NEEDED, *reads}), sparse, first)
    steps = _tries(engine, work) if dry_run else _steps(engine, order, work, clock)
    for step in steps:
        done += step
        if progress is not None:
            progress(done)
    return done


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
    hold(conn, Lock.ROLLUP, shared=True)
    locked = _lock(conn, changes.keys(), sa.select(calls))
    return _rewrite(conn, restatement_id, locked, settling.load(conn), lambda *_: changes, _move).changed


def finish(conn: Connection, restatement_id: int, now: datetime) -> None:
    """Closes a restatement in the log."""
    conn.execute(sa.update(restatements).where(restatements.c.id == restatement_id).values(ended_at=now))


def close(conn: Connection, restatement_id: int, now: datetime) -> None:
    """Closes one that was left open; if it changed nothing, no trace of it is left."""
    idle = restatements.c.id == restatement_id, restatements.c.changed == 0
    if not conn.execute(sa.delete(restatements).where(*idle)).rowcount:
        finish(conn, restatement_id, now)


def done_so_far(conn: Connection, id_: int) -> Restated:
    """What a restatement did, by its log.

    What was done to its calls by those begun later is left out, as if each had come after: the log can't tell which of
    two came first that were at the same calls at once.
    """
    seen, changed = conn.execute(
        sa.select(restatements.c.seen, restatements.c.changed).where(restatements.c.id == id_)
    ).one()
    done = Restated(seen)
    if not changed:
        return done  # no index finds its calls in the log, which may be long
    logged = sa.select(calls, restated_calls.c.before).join(restated_calls, restated_calls.c.call_id == calls.c.id)
    of_this = logged.where(restated_calls.c.restatement_id == id_).execution_options(yield_per=_READ_AT_ONCE)
    for rows in conn.execute(of_this).mappings().partitions():
        done += _compared(conn, 0, list(_as_logged(conn, id_, rows)), settling.NONE)
    return done


def _as_logged(conn: Connection, id_: int, rows: Sequence[Row]) -> Iterator[Edit]:
    later = _changed_later(conn, id_, [row["id"] for row in rows])
    for row in rows:
        after = _when_it_said({**row}, later.get(row["id"], {}))
        yield Edit(_when_it_said(after, row["before"]), after, tuple(row["before"]))


def _changed_later(conn: Connection, id_: int, ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """What the calls said before later restatements: of each column, before the first of them that changed it."""
    since = restated_calls.c.restatement_id > id_, restated_calls.c.call_id.in_(ids)
    said = sa.select(restated_calls.c.call_id, restated_calls.c.before).where(*since)
    found: dict[UUID, dict[str, Any]] = {}
    for call_id, before in conn.execute(said.order_by(restated_calls.c.restatement_id)):
        found[call_id] = {**before, **found.get(call_id, {})}
    return found


def _when_it_said(row: Row, said: Mapping[str, Any]) -> Row:
    """The call as it was, as far as its cost depends on it."""
    return {**row, **said, "billed_on": date.fromisoformat(said.get("billed_on", f"{row['billed_on']}"))}


def began(first: datetime | None, end: datetime | None) -> Iterator[ColumnElement[bool]]:
    """Of calls that began from `first`, included, to `end`, left out (None: open).

    A call's id begins with its start, give or take a minute, so the ids find the calls.
    """
    if first is not None:
        yield from (calls.c.id >= least_id(shifted(first, -APART)), calls.c.started_at >= first)
    if end is not None:
        yield from (calls.c.id < least_id(shifted(end, APART)), calls.c.started_at < end)


def _tries(engine: Engine, work: _Work) -> Iterator[Restated]:
    """Each in a snapshot of its own: what is read for long keeps the database from clearing up."""
    upto, step = None, Restated(seen=1)
    while step.seen:
        with reading(engine) as conn:
            budgets = settling.load(conn)
            rows = _rows(conn.execute(_after(conn, upto, work, work.rows(budgets))))
            step = _compared(conn, len(rows), _edits(rows, work.change(conn, rows)), budgets)
        if rows:
            upto = rows[-1]["id"]
            yield step


def _steps(engine: Engine, order: Order, work: _Work, clock: Callable[[], datetime]) -> Iterator[Restated]:
    id_, earlier = transact(engine, lambda conn: _open(conn, order, clock()))
    yield earlier
    if work.sparse:
        yield from _sparse_steps(engine, _This(id_, order), work)
        return
    while found := _next(engine, _This(id_, order), work):
        yield transact(engine, partial(_step, found=found, work=work))
    transact(engine, lambda conn: finish(conn, id_, clock()))


def _sparse_steps(engine: Engine, this: "_This", work: _Work) -> Iterator[Restated]:
    is_dense = False
    while found := _next(engine, this, work):
        is_dense = is_dense or _would_change(engine, found, work)
        step = partial(_step, found=found, work=work) if is_dense else partial(_pass, found=found)
        done = transact(engine, step)
        is_dense = done.changed > 0
        yield done


def _would_change(engine: Engine, found: "_Next", work: _Work) -> bool:
    with reading(engine) as conn:
        rows = _rows(conn.execute(work.rows(settling.NONE).where(_are(conn, found.ids))))
        return bool(_edits(rows, work.change(conn, rows)))


def _open(conn: Connection, order: Order, now: datetime) -> tuple[int, Restated]:
    """The id of the restatement of this order that is not finished, and what it did; else of a new one.

    One that others began is whole as far as it came. It ends, or what is done now would stand under their names.
    """
    unfinished = sa.select(restatements).where(restatements.c.kind == order.kind, restatements.c.ended_at.is_(None))
    begun = [row for row in conn.execute(unfinished.order_by(restatements.c.id)) if row.what == dict(order.what)]
    own = next(filter(order.goes_on_with, begun), None)
    for row in begun:
        if row is not own:
            finish(conn, row.id, now)
    if own is None:
        return begin(conn, order, now), Restated()
    return own.id, Restated(seen_earlier=own.seen, changed_earlier=own.changed)


@dataclass(frozen=True, slots=True)
class _This:
    """A restatement that is being done; its id alone may be another's, once somebody closed it."""

    id: int
    order: Order


@dataclass(frozen=True, slots=True)
class _Next:
    """The calls that come next, where a restatement has come so far."""

    this: _This
    upto: UUID | None
    ids: Sequence[UUID]


def _next(engine: Engine, this: _This, work: _Work) -> _Next | None:
    """None at the end.

    They are looked for outside of the transaction that changes them: where few calls are chosen, it takes long.
    """
    with reading(engine) as conn:
        row = _row(conn, this)
        ids = _next_ids(conn, work, row.upto) if row else []
    return _Next(this, row.upto, ids) if row and ids else None


def _row(conn: Connection, this: _This, *, for_update: bool = False) -> sa.Row[Any] | None:
    """Its row of the log; None where that was closed without a trace."""
    query = sa.select(restatements).where(restatements.c.id == this.id)
    row = conn.execute(query.with_for_update() if for_update else query).one_or_none()
    order = this.order
    return row if row and (row.kind, row.what) == (order.kind, dict(order.what)) else None


def _next_ids(conn: Connection, work: _Work, upto: UUID | None) -> list[UUID]:
    return list(conn.scalars(_after(conn, upto, work, sa.select(calls.c.id).where(work.chosen))))


def _after(conn: Connection, upto: UUID | None, work: _Work, chosen: sa.Select[Any]) -> sa.Select[Any]:
    """The calls that come next.

    They begin at one id alone: of two, SQLite goes by the first, and would read all that was done with each step.
    """
    following = chosen.order_by(calls.c.id).limit(CALLS_AT_ONCE[conn.dialect.name])
    return following.where(*began(work.first, None)) if upto is None else following.where(calls.c.id > upto)


def _step(conn: Connection, found: _Next, work: _Work) -> Restated:
    schema.check(conn)
    hold(conn, Lock.INGEST, shared=True)  # what is decided stays as the change finds it, as for a call that is stamped
    hold(conn, Lock.ROLLUP)  # not shared: see contributions.following
    if not _is_there_still(conn, found):
        return Restated()
    id_, budgets = found.this.id, settling.load(conn)
    locked = _lock(conn, found.ids, work.rows(budgets))
    done = _rewrite(conn, id_, locked, budgets, work.change, partial(_change_all, id_))
    conn.execute(sa.update(restatements).where(restatements.c.id == id_).values(upto=found.ids[-1]))
    return done


def _pass(conn: Connection, found: _Next) -> Restated:
    """Leaves the calls as they are."""
    schema.check(conn)
    if not _is_there_still(conn, found):
        return Restated()
    seen = restatements.c.seen + len(found.ids)
    conn.execute(
        sa.update(restatements).where(restatements.c.id == found.this.id).values(upto=found.ids[-1], seen=seen)
    )
    return Restated(len(found.ids))


def _is_there_still(conn: Connection, found: _Next) -> bool:
    """Not so where somebody else gave the same order, and was first; nobody goes on until the transaction ends."""
    row = _row(conn, found.this, for_update=True)
    return row is not None and row.upto == found.upto


@dataclass(frozen=True, slots=True)
class _Locked:
    """Calls that nobody else changes until the transaction ends, and which of their batches are rolled up."""

    rows: Sequence[Row]
    rolled: Collection[int]


def _lock(conn: Connection, ids: Collection[UUID], rows: sa.Select[Any]) -> _Locked:
    """Those of the rows that have these ids.

    Batches before calls: whether a batch is rolled up must not change in between, and its rollup reads calls. And the
    batches of all, as one that is not chosen at this moment may be at the next.
    """
    of_these = batches.c.id.in_(sa.select(calls.c.batch_id).where(_are(conn, ids)))
    held = sa.select(batches.c.id, batches.c.rolled_at).where(of_these).order_by(batches.c.id)
    rolled = {batch.id for batch in conn.execute(held.with_for_update(read=True)) if batch.rolled_at is not None}
    these = rows.where(_are(conn, ids)).order_by(calls.c.id)
    return _Locked(_rows(conn.execute(these.with_for_update())), rolled)


_Rewritten = Callable[[Connection, Sequence[Edit], Collection[int]], None]
"""Changes calls, and what those of rolled batches add to spend; they are in the log by then."""


def _rewrite(
    conn: Connection, id_: int, locked: _Locked, budgets: Budgets, change: Change, rewritten: _Rewritten
) -> Restated:
    edits = _edits(locked.rows, change(conn, locked.rows))
    if edits:
        _log(conn, id_, edits)
        rewritten(conn, edits, locked.rolled)
        settling.settle(conn, budgets, [edit.before for edit in edits], [edit.after for edit in edits])
    counts = {"seen": restatements.c.seen + len(locked.rows), "changed": restatements.c.changed + len(edits)}
    conn.execute(sa.update(restatements).where(restatements.c.id == id_).values(counts))
    return _compared(conn, len(locked.rows), edits, budgets)


def _change_all(id_: int, conn: Connection, edits: Sequence[Edit], rolled: Collection[int]) -> None:
    """For many calls, in the order of their ids: spend follows by what the database itself adds up."""
    first, last = edits[0].before["id"], edits[-1].before["id"]
    these = {"restatement": id_, "first": first, "last": last, "rolled": list(rolled)}
    with contributions.following(conn, _LOGGED, these) if rolled else nullcontext():
        _update(conn, edits)


def _between(column: ColumnElement[UUID]) -> ColumnElement[bool]:
    return column.between(sa.bindparam("first", type_=sa.Uuid), sa.bindparam("last", type_=sa.Uuid))


_LOGGED = sa.and_(
    _between(calls.c.id),
    calls.c.id.in_(
        sa.select(restated_calls.c.call_id).where(
            restated_calls.c.restatement_id == sa.bindparam("restatement"), _between(restated_calls.c.call_id)
        )
    ),
    calls.c.batch_id.in_(sa.bindparam("rolled", expanding=True)),
)
"""Those that a restatement changed, from one to another, of batches that are rolled up."""


def _move(conn: Connection, edits: Sequence[Edit], rolled: Collection[int]) -> None:
    """For a few calls: what they added to spend is taken out, and added as they are now, by the order of its keys."""
    _update(conn, edits)
    moved = [edit for edit in edits if edit.before["batch_id"] in rolled]
    before, after = [edit.before for edit in moved], [edit.after for edit in moved]
    rates = _rates(conn, moved)
    for table in SPEND_TABLES:
        contributions.add(conn, table, contributions.moved(table, before, after), rates)


def _are(conn: Connection, ids: Collection[UUID]) -> ColumnElement[bool]:
    """As one parameter: taking in each of thousands by itself takes longer than what the database does with them."""
    if is_postgresql(conn):
        return calls.c.id == sa.any_(sa.bindparam("ids", list(ids), ARRAY(sa.Uuid)))
    return calls.c.id.in_(sa.bindparam("ids", list(ids), expanding=True))


def _rows(found: sa.CursorResult[Any]) -> list[Row]:
    """As dicts, which are read and copied much faster than what SQLAlchemy gives."""
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found]


def _edits(rows: Iterable[Row], changes: Mapping[UUID, Mapping[str, Any]]) -> list[Edit]:
    return [edit for row in rows if row["id"] in changes and (edit := _edit(row, changes[row["id"]])).columns]


def _edit(row: Row, values: Mapping[str, Any]) -> Edit:
    columns = tuple(name for name, value in values.items() if row[name] != value)
    if any(name in columns for name in _FIXED):
        raise ValueError(f"A change to call {row['id']} names {' or '.join(_FIXED)}; these stay for ever.")
    return Edit(row, {**row, **values}, columns)


def _log(conn: Connection, id_: int, edits: Sequence[Edit]) -> None:
    few: list[dict[str, Any]] = []
    for before, ids in _alike(edits, lambda edit: _said(edit.before, edit.columns)):
        if len(ids) < _MANY:
            few += [{"call_id": one, "restatement_id": id_, "before": before} for one in ids]
            continue
        said = sa.select(calls.c.id, sa.literal(id_), sa.literal(before, Json)).where(_are(conn, ids))
        into = insert(conn, restated_calls).from_select(["call_id", "restatement_id", "before"], said)
        conn.execute(into.on_conflict_do_nothing())
    if few:
        # A call that one restatement changes twice keeps what it said before the first time.
        conn.execute(insert(conn, restated_calls).on_conflict_do_nothing(), few)


def _alike(edits: Iterable[Edit], said: Callable[[Edit], dict[str, Any]]) -> list[tuple[dict[str, Any], list[UUID]]]:
    """What is said, and the calls of which that is said."""
    found: dict[str, tuple[dict[str, Any], list[UUID]]] = {}
    for edit in edits:
        what = said(edit)
        found.setdefault(repr(what), (what, []))[1].append(edit.before["id"])
    return list(found.values())


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
    few: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for after, ids in _alike(edits, lambda edit: {name: edit.after[name] for name in edit.columns}):
        if len(ids) < _MANY:
            new = {f"new_{name}": value for name, value in after.items()}
            few.setdefault(tuple(after), []).extend({"this": one, **new} for one in ids)
        else:
            conn.execute(sa.update(calls).where(_are(conn, ids)).values(after))
    for columns, rows in few.items():
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in columns}
        conn.execute(sa.update(calls).where(calls.c.id == sa.bindparam("this")).values(values), rows)


def _rates(conn: Connection, edits: Iterable[Edit]) -> dict[int, Rate]:
    named = {row["rate_id"] for edit in edits for row in (edit.before, edit.after)}
    return {rate.id: rate for rate in ratelines.read(conn, withdrawn=True, ids=named)}


def _compared(conn: Connection, seen: int, edits: Sequence[Edit], budgets: Budgets) -> Restated:
    rates = _rates(conn, edits)
    done = compared(seen, edits, rates)
    if not budgets.by_id:
        return done
    before, after = (edit.before for edit in edits), (edit.after for edit in edits)
    moved = settling.effects(budgets, before, after, rates)
    return replace(done, budgets={_stretch(budgets, place): by for place, by in sorted(moved.items())})


def _stretch(budgets: Budgets, place: budgetperiods.Place) -> Stretch:
    budget = budgets.by_id[place.budget_id]
    return Stretch(budget.name, budget.currency, place.begins_on)
