"""Delivered batches become rows, each call once.

Delivering again, in any order and any split, changes nothing but when the source was last seen; a later outcome of
a call changes it, see `versions`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from accounting import entries, learning, settling, sources, stamps, versions
from accounting.entries import Looked, Read, Refused
from accounting.errors import StoreMissing
from accounting.ports import Batch, Entry, Receipt, SourceReport, Verdict
from accounting.settings import Settings
from accounting.store import bulk, file_exists, insert, named, open_engine, reading, schema, transact
from accounting.store.tables import batches, conflicts, rejected
from accounting.versions import Met


class StoreDestination:
    """Delivers into the store at the URL; makes an empty one, in the zone of the settings, where there is none."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url, apart=False)  # one thread delivers
        self._found = False

    def deliver(self, batch: Batch) -> Receipt:
        """See `ports.Destination`. Raises `SchemaMismatch` where only a person's command can help."""
        now = datetime.now(UTC)
        # Made at first only: a store that goes away later was moved, or is being restored from a backup, and
        # must not come back empty in its place.
        if not self._found and self._is_empty():
            self._refuse_to_replace(batch)
            schema.create(self._engine, Settings().zone, now)
        verdicts = ingest(self._engine, batch, now)
        self._found = True
        # Looked up in the store as it is now: one that was replaced by a backup since must not pass for the former.
        with reading(self._engine) as conn:
            return Receipt(verdicts, *sources.held(conn, batch.source.journal))

    def estimates(self) -> bytes | None:
        """See `ports.Destination`."""
        with reading(self._engine) as conn:
            schema.check_stamp(conn)
            learned = learning.snapshot(conn)
        return learned.encode() if learned.lines else None

    def close(self) -> None:
        self._engine.dispose()

    def _refuse_to_replace(self, batch: Batch) -> None:
        """A journal that delivered in a former process, too, knows of a store that is not there now."""
        source = batch.source
        if source.highest > source.open + source.backlog + len(batch.entries):
            raise StoreMissing(
                f"There is no store at {named(self._engine)}, but journal {source.journal} has delivered calls to it. "
                "Bring it back (accounting store restore), or make an empty one, which gets what journals still keep: "
                "accounting store create"
            )

    def _is_empty(self) -> bool:
        if not file_exists(self._engine):
            return True
        with reading(self._engine) as conn:
            return schema.revision(conn) is None


def ingest(engine: Engine, batch: Batch, now: datetime) -> dict[int, Verdict]:
    """Store the batch; returns, once all of it is durable, what became of each number.

    What can't be stored for its contents is kept in `rejected`. Any other error is raised, and then the batch
    may be delivered again.
    """
    return take(engine, batch.source, [_look(entry, now) for entry in batch.entries], now)


def _look(entry: Entry, now: datetime) -> Looked:
    bulk.give_way()
    return entries.look(entry, now)


def take(
    engine: Engine, report: SourceReport, looked: Sequence[Looked], now: datetime, *, is_last: bool = True
) -> dict[int, Verdict]:
    """Store entries in one transaction, or, where the contents of one are to blame, in several that isolate it."""
    try:
        return transact(engine, lambda conn: _receive(conn, report, looked, now, is_last=is_last))
    except Exception as error:
        if not is_about_data(error) or not any(isinstance(each, Read) for each in looked):
            raise
        why = reason(error)
    if len(looked) == 1:
        return take(engine, report, [entries.refused(looked[0], why)], now, is_last=is_last)
    middle = len(looked) // 2
    # How the journal stands is true once all is here, so the last part alone says it.
    verdicts = take(engine, report, looked[:middle], now, is_last=False)
    return verdicts | take(engine, report, looked[middle:], now, is_last=is_last)


def is_about_data(error: Exception) -> bool:
    """Whether the values are to blame, so that the same statement would fail for ever."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlstate", "")).startswith(_DATA)
    return isinstance(error, StatementError) and isinstance(error.orig, ValueError | OverflowError)


_DATA = ("22", "23", "54")
"""Classes of errors in SQL: a value is none, breaks a rule, or is too large for the database."""


def reason(error: Exception) -> str:
    """The error without the statement and its parameters."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return entries.reason(f"{type(cause).__name__}: {cause}")


def _receive(
    conn: Connection, report: SourceReport, looked: Sequence[Looked], now: datetime, *, is_last: bool
) -> dict[int, Verdict]:
    # Here, not before: an upgrade in between would make contents of the rows look wrong that are not.
    schema.check_stamp(conn)
    sender = sources.lock(conn, report, now)
    verdicts = enter(conn, sender.id, looked, now) if looked else {}
    sources.take_in(conn, sender, report, verdicts, is_last=is_last)
    return verdicts


def enter(conn: Connection, source_id: int, looked: Sequence[Looked], now: datetime) -> dict[int, Verdict]:
    """Enter entries under a batch of their own, which stays only if they brought something new.

    The batch comes first for its id, with counts as they mostly are; others see it, whole, with the commit.
    """
    refused = [each for each in looked if isinstance(each, Refused)]
    read, first = versions.best_first([each for each in looked if isinstance(each, Read)])
    batch_id = _begin_batch(conn, source_id, first, len(looked), now)
    met, known, booked = Met({}), None, list[tuple[Any, ...]]()
    budgets = settling.NONE
    if first:
        known = stamps.load(conn, [each.call for each in first], now)
        budgets = settling.kept(conn)
        rows = ((*known.values(each.call), batch_id, source_id, each.number, each.digest) for each in first)
        if budgets.by_id:
            booked = list(rows)
        if bulk.insert_calls(conn, _COLUMNS, iter(booked) if booked else rows) == len(looked):
            settling.settle(conn, budgets, [], list(map(_as_row, booked)))
            stamps.see_again(conn, known)
            return {each.number: Verdict.INSERTED for each in read}
        met = versions.meet(conn, source_id, batch_id, read, known, now)
    verdicts = met.verdicts | {each.number: Verdict.REJECTED for each in refused}
    against = [each for each in read if verdicts[each.number] is Verdict.CONFLICT]
    kept = _keep(conn, conflicts, source_id, against, now) + _keep(conn, rejected, source_id, refused, now)
    versions.note_repeats(conn, source_id, met.elsewhere)
    inserted = [each for each in read if verdicts[each.number] is Verdict.INSERTED]
    new = {each.call.id for each in inserted}
    settling.settle(conn, budgets, [], [_as_row(each) for each in booked if each[0] in new])
    if inserted or kept or met.changed:
        _correct_batch(conn, batch_id, verdicts.values(), inserted)
    else:
        conn.execute(sa.delete(batches).where(batches.c.id == batch_id))
    if known is not None:
        stamps.see_again(conn, known)
    return verdicts


def _as_row(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(settling.READ, _read(values), strict=True))


_COLUMNS = (*stamps.COLUMNS, "batch_id", "source_id", "number", "digest")
_read: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(*map(_COLUMNS.index, settling.READ))
"""Of the values of a row those that decide about budgets."""


def _keep(conn: Connection, table: Table, source_id: int, looked: Iterable[Looked], now: datetime) -> int:
    """Keep entries that are no calls of the books as the bytes they came in; returns how many are new."""
    # Not by a count of rows: where SQLAlchemy asks for the id by itself, as on PostgreSQL, there is none.
    statement = insert(conn, table).on_conflict_do_nothing().returning(table.c.id)
    rows = sorted((_kept(each, source_id, now) for each in looked), key=_place)
    return sum(len(conn.execute(statement.values(row)).all()) for row in rows)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The order in which every delivery keeps rows, so that two that meet wait for each other and don't deadlock."""
    return (row.get("call_id", row["number"]), row["digest"])


def _kept(each: Looked, source_id: int, now: datetime) -> dict[str, Any]:
    row = {"source_id": source_id, "number": each.number, "payload": each.payload, "digest": each.digest}
    why = {"reason": each.reason} if isinstance(each, Refused) else {"call_id": each.call.id}
    return row | why | {"received_at": now}


def _begin_batch(conn: Connection, source_id: int, read: Sequence[Read], entries: int, now: datetime) -> int:
    """The id of a batch that says as if all were new."""
    row = {"source_id": source_id, "received_at": now, "entries": entries, **_counts([], read)}
    key = conn.execute(_BATCH, row).inserted_primary_key
    assert key is not None  # noqa: S101 - a single row was inserted
    return int(key[0])


_BATCH = sa.insert(batches)


def _correct_batch(conn: Connection, batch_id: int, verdicts: Iterable[Verdict], inserted: Sequence[Read]) -> None:
    conn.execute(sa.update(batches).where(batches.c.id == batch_id).values(_counts(list(verdicts), inserted)))


def _counts(verdicts: Sequence[Verdict], inserted: Sequence[Read]) -> dict[str, Any]:
    return {
        "inserted": len(inserted),
        "duplicates": verdicts.count(Verdict.DUPLICATE),
        "superseded": verdicts.count(Verdict.SUPERSEDED),
        "conflicts": verdicts.count(Verdict.CONFLICT),
        "rejected": verdicts.count(Verdict.REJECTED),
        "min_call_id": inserted[0].call.id if inserted else None,
        "max_call_id": inserted[-1].call.id if inserted else None,
    }
