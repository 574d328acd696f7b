"""Delivered batches become rows, each call once.

Delivering again, in any order and any split, changes nothing but when the source was last seen.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from accounting import sources, stamps
from accounting.errors import CallInvalid, StoreMissing
from accounting.ports import Batch, Entry, Receipt, SourceReport, Verdict
from accounting.settings import Settings
from accounting.store import file_exists, insert, named, open_engine, reading, schema, writing
from accounting.store.tables import batches, calls, conflicts, rejected
from accounting.usage import MAX_COUNT, Call, clean, id_time

AHEAD = timedelta(hours=24)
"""A call from further in the future comes from a wrong clock, and would be billed in a period yet to come."""

APART = timedelta(minutes=1)
"""Calls are found by the time in their id, so it may not be another than their start."""

_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_REASON = 2000


ROWS_AT_ONCE = 20
"""Rows between two moments at which other threads get the interpreter."""


def _give_way() -> None:
    """Let the application's threads run: one that asks for the interpreter waits 5 ms, and each call asks often."""
    time.sleep(0)


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
        with reading(self._engine) as conn:
            schema.check(conn)
        self._found = True
        verdicts = ingest(self._engine, batch, now)
        # Looked up in the store as it is now: one that was replaced by a backup since must not pass for the former.
        with reading(self._engine) as conn:
            return Receipt(verdicts, *sources.held(conn, batch.source.journal))

    def close(self) -> None:
        self._engine.dispose()

    def _refuse_to_replace(self, batch: Batch) -> None:
        """A journal that delivered in a former process, too, knows of a store that is not there now."""
        source = batch.source
        if source.highest > source.open + source.backlog + len(batch.entries):
            raise StoreMissing(
                f"There is no store at {named(self._engine)}, but journal {source.journal} has delivered calls to it. "
                "Bring it back; to begin anew, make an empty one: accounting store create"
            )

    def _is_empty(self) -> bool:
        if not file_exists(self._engine):
            return True
        with reading(self._engine) as conn:
            return schema.revision(conn) is None


@dataclass(frozen=True, slots=True)
class _Read:
    """An entry with a call that can be stored."""

    number: int
    payload: bytes
    digest: bytes
    call: Call


@dataclass(frozen=True, slots=True)
class _Refused:
    """An entry without one, and why."""

    number: int
    payload: bytes
    digest: bytes
    reason: str


_Looked = _Read | _Refused


def ingest(engine: Engine, batch: Batch, now: datetime) -> dict[int, Verdict]:
    """Store the batch; returns, once all of it is durable, what became of each number.

    What can't be stored for its contents is kept in `rejected`. Any other error is raised, and then the batch
    may be delivered again.
    """
    return _take(engine, batch.source, [_look(entry, now) for entry in batch.entries], now, is_last=True)


def _look(entry: Entry, now: datetime) -> _Looked:
    _give_way()
    digest = hashlib.sha256(entry.payload).digest()
    try:
        call = Call.decode(entry.payload)
        _refuse_implausible(call, now)
    except CallInvalid as error:
        return _Refused(entry.number, entry.payload, digest, _reason(error))
    return _Read(entry.number, entry.payload, digest, call)


def _refuse_implausible(call: Call, now: datetime) -> None:
    if call.outcome is None:
        raise CallInvalid("outcome: missing; a call is delivered once it has one")
    if call.id.version != 7:
        raise CallInvalid(f"id: {call.id} is no UUIDv7")
    limit = now + AHEAD
    if call.id.int >> 80 > int(limit.timestamp() * 1000) or call.started_at > limit:
        raise CallInvalid(f"id {call.id}, started_at {call.started_at}: more than 24 h ahead of {now}; check the clock")
    if call.started_at < _OLDEST:
        raise CallInvalid(f"started_at: {call.started_at} is before {_OLDEST:%Y}; check the clock")
    if abs(id_time(call.id) - call.started_at) > APART:
        raise CallInvalid(
            f"id {call.id} is of {id_time(call.id)}, started_at is {call.started_at}: more than a minute apart; "
            "expected an id made as the call began"
        )
    usage = call.usage
    for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"):
        if (getattr(usage, name) or 0) > MAX_COUNT:
            raise CallInvalid(f"{name}: {getattr(usage, name)} is more than {MAX_COUNT}")


def _take(
    engine: Engine, report: SourceReport, looked: Sequence[_Looked], now: datetime, *, is_last: bool
) -> dict[int, Verdict]:
    """Store entries in one transaction, or, where the contents of one are to blame, in several that isolate it."""
    try:
        return _transact(engine, report, looked, now, is_last=is_last)
    except Exception as error:
        if not _is_about_data(error) or not any(isinstance(each, _Read) for each in looked):
            raise
        reason = _reason(error)
    if len(looked) == 1:
        refused = [_Refused(each.number, each.payload, each.digest, reason) for each in looked]
        return _transact(engine, report, refused, now, is_last=is_last)
    middle = len(looked) // 2
    # How the journal stands is true once all is here, so the last part alone says it.
    verdicts = _take(engine, report, looked[:middle], now, is_last=False)
    return verdicts | _take(engine, report, looked[middle:], now, is_last=is_last)


def _is_about_data(error: Exception) -> bool:
    """Whether the values are to blame, so that the same statement would fail for ever."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlstate", "")).startswith(("22", "23"))
    return isinstance(error, StatementError) and isinstance(error.orig, ValueError | OverflowError)


def _reason(error: Exception) -> str:
    """The error without the statement and its parameters."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    text = str(cause) if isinstance(cause, CallInvalid) else f"{type(cause).__name__}: {cause}"
    return str(clean(text, _MAX_REASON))


def _transact(
    engine: Engine, report: SourceReport, looked: Sequence[_Looked], now: datetime, *, is_last: bool
) -> dict[int, Verdict]:
    with writing(engine) as conn:
        source_id = sources.find_or_add(conn, report, now)
        verdicts = _enter(conn, source_id, looked, now) if looked else {}
        sources.receive(conn, source_id, verdicts)
        tell = sources.report_in if is_last else sources.await_rest
        tell(conn, source_id, report)
    return verdicts


def _enter(conn: Connection, source_id: int, looked: Sequence[_Looked], now: datetime) -> dict[int, Verdict]:
    """Enter entries under a batch of their own, which stays only if they brought something new.

    The batch comes first for its id and is completed last; others see it, whole, with the commit.
    """
    batch_id = _begin_batch(conn, source_id, len(looked), now)
    read = sorted((each for each in looked if isinstance(each, _Read)), key=lambda each: each.call.id.int)
    refused = [each for each in looked if isinstance(each, _Refused)]
    verdicts = _insert(conn, source_id, batch_id, read, now) if read else {}
    against = [each for each in read if verdicts[each.number] is Verdict.CONFLICT]
    kept = _keep(conn, conflicts, source_id, against, now) + _keep(conn, rejected, source_id, refused, now)
    verdicts |= {each.number: Verdict.REJECTED for each in refused}
    inserted = [each.call.id for each in read if verdicts[each.number] is Verdict.INSERTED]
    if inserted or kept:
        _complete_batch(conn, batch_id, verdicts.values(), inserted)
    else:
        conn.execute(sa.delete(batches).where(batches.c.id == batch_id))
    return verdicts


def _insert(
    conn: Connection, source_id: int, batch_id: int, read: Sequence[_Read], now: datetime
) -> dict[int, Verdict]:
    """Insert what is not there yet, in the order of ids. Only a row that then carries this batch's id is new."""
    first: dict[UUID, _Read] = {}
    for each in read:
        first.setdefault(each.call.id, each)
    known = stamps.load(conn, [each.call for each in first.values()], now)
    for some in _batched(first.values(), ROWS_AT_ONCE):
        rows = [known.row(each.call) | _origin(each, source_id, batch_id) for each in some]
        conn.execute(insert(conn, calls).on_conflict_do_nothing(), rows)
        _give_way()
    query = sa.select(calls.c.id, calls.c.digest, calls.c.batch_id).where(calls.c.id.in_(first))
    held = {row.id: (row.batch_id, row.digest) for row in conn.execute(query)}
    new = {each.number for each in first.values() if held[each.call.id][0] == batch_id}
    return {each.number: _verdict(each, held[each.call.id][1], is_new=each.number in new) for each in read}


def _batched(reads: Iterable[_Read], size: int) -> Iterator[list[_Read]]:
    """The reads, so many at a time."""
    left = iter(reads)
    while some := list(islice(left, size)):
        yield some


def _origin(read: _Read, source_id: int, batch_id: int) -> dict[str, Any]:
    return {"batch_id": batch_id, "source_id": source_id, "number": read.number, "digest": read.digest}


def _verdict(read: _Read, held: bytes, *, is_new: bool) -> Verdict:
    """What becomes of an entry, where the books now hold its id with this digest."""
    if is_new:
        return Verdict.INSERTED
    return Verdict.DUPLICATE if held == read.digest else Verdict.CONFLICT


def _keep(conn: Connection, table: Table, source_id: int, looked: Iterable[_Looked], now: datetime) -> int:
    """Keep entries that are no calls of the books as the bytes they came in; returns how many are new."""
    statement = insert(conn, table).on_conflict_do_nothing()
    return sum(conn.execute(statement.values(_kept(each, source_id, now))).rowcount for each in looked)


def _kept(each: _Looked, source_id: int, now: datetime) -> dict[str, Any]:
    row = {"source_id": source_id, "number": each.number, "payload": each.payload, "digest": each.digest}
    why = {"reason": each.reason} if isinstance(each, _Refused) else {"call_id": each.call.id}
    return row | why | {"received_at": now}


def _begin_batch(conn: Connection, source_id: int, entries: int, now: datetime) -> int:
    counts = dict.fromkeys(("inserted", "duplicates", "conflicts", "rejected"), 0)
    row = {"source_id": source_id, "received_at": now, "entries": entries, **counts}
    key = conn.execute(sa.insert(batches).values(row)).inserted_primary_key
    assert key is not None  # noqa: S101 - a single row was inserted
    return int(key[0])


def _complete_batch(conn: Connection, batch_id: int, verdicts: Iterable[Verdict], inserted: Sequence[UUID]) -> None:
    found = list(verdicts)
    values = {
        "inserted": len(inserted),
        "duplicates": found.count(Verdict.DUPLICATE),
        "conflicts": found.count(Verdict.CONFLICT),
        "rejected": found.count(Verdict.REJECTED),
        "min_call_id": inserted[0] if inserted else None,
        "max_call_id": inserted[-1] if inserted else None,
    }
    conn.execute(sa.update(batches).where(batches.c.id == batch_id).values(values))
