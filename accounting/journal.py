"""The durable local buffer: every call is written here when it starts and again when it ends.

Numbers count starts without gaps, so the store can tell a lost call from one that is still on its way.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from uuid import UUID

from accounting.errors import CallInvalid, JournalUnavailable
from accounting.ports import Entry
from accounting.usage import Call, Outcome, id_time, new_id

PAGE_BYTES = 4096
SPARE_BYTES = 8 * PAGE_BYTES
CALLS_BETWEEN_LOOKS = 64
"""A journal's size is looked at so often, and at each call once it is full."""
LOG_BYTES = 64 * 2**20
IDLE_LOG_BYTES = 2**20
SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a journal stands at an instant, leaving out the numbers that are just being delivered.

    Every call that began before `at` is in `highest`: a later start is written with a later time.
    """

    at: datetime
    highest: int
    open: int
    backlog: int
    oldest_undelivered_at: datetime | None


class Journal:
    """One journal file, owned by this process. Its methods may be called from any thread."""

    def __init__(self, file: Path, connection: sqlite3.Connection, max_bytes: int) -> None:
        self.file = file
        self._max_bytes = max_bytes
        self.id = UUID(file.name.removesuffix(SUFFIX))
        self._connection = connection
        # One connection: statements take turns. Each is short, the longest a hundred rows marked delivered. A signal
        # handler may come in between and make a call of its own, hence the R.
        self.lock = RLock()
        self._highest = self._last_number()
        self._promised = int(self.fact("promised") or 0)
        self._is_full = False
        self._recalled = 0  # rows up to this number were asked back
        self.recount()

    def start(self, call: Call) -> tuple[int, Call]:
        """Write a call down before it is sent; returns its number, and the call as it is written.

        One that began before the last report said where the journal stands begins anew, or that would be untrue.
        """
        payload = call.encode()
        with self.lock:
            if _microseconds(call.started_at) < self._promised:
                id_ = new_id(not_before=_instant(self._promised))
                call = replace(call, id=id_, started_at=id_time(id_))
                payload = call.encode()
            return self._insert(call.started_at, payload, ended=False), call

    def add(self, call: Call, sub_calls: Sequence[Call] = ()) -> int:
        """Write down a call that has ended already, because its start could not be, and its sub-calls."""
        payload = call.encode()
        with self.lock, self._at_once() if sub_calls else _ALONE:
            number = self._insert(call.started_at, payload, ended=True)
            self._add_below(sub_calls)
            return number

    def amend(self, call: Call, sub_calls: Sequence[Call] = ()) -> None:
        """Write down a call once more, of which more is known now than when it ended, and its sub-calls.

        It counts as begun now: what was said to be complete stays so, as far as anybody could know then.
        """
        with self.lock, self._at_once():
            started_at = max(_microseconds(datetime.now(UTC)), self._promised)
            for each in (call, *sub_calls):
                self._put(started_at, each.encode(), ended=True)

    def recount(self) -> None:
        """Count anew what is open and what is ready: an interrupt between a statement and its count leaves them off."""
        with self.lock:
            self._ready = self._one("SELECT count(*) FROM calls WHERE delivered_at IS NULL AND ended = 1")
            # Of what an index holds by itself; that of the open ones would be looked up row by row.
            self._open = self._one("SELECT count(*) FROM calls WHERE delivered_at IS NULL") - self._ready

    def finish(self, number: int, call: Call, sub_calls: Sequence[Call] = ()) -> None:
        """Write down how a call ended, and its sub-calls with it. A second ending of a number changes nothing."""
        payload = call.encode()
        with self.lock, self._at_once() if sub_calls else _ALONE:
            if self._end(number, payload):
                self._add_below(sub_calls)

    def abandon(self, number: int) -> None:
        """End a call of which no more will be learned: its outcome is unknown."""
        with self.lock:
            row = self._connection.execute(
                "SELECT CAST(payload AS BLOB) FROM calls WHERE number = ? AND ended = 0", (number,)
            ).fetchone()
        if row is not None:
            self._end(number, _ended_unknown(row[0]))

    def abandon_open(self) -> None:
        """End every call that a former owner left open, or that this one leaves at its end."""
        with self.lock:
            numbers = self._connection.execute(
                "SELECT number FROM calls WHERE delivered_at IS NULL AND ended = 0"
            ).fetchall()
        for (number,) in numbers:
            self.abandon(number)

    @property
    def ready(self) -> int:
        """How many calls have ended and are not delivered."""
        return self._ready

    @property
    def highest(self) -> int:
        """The number of the call that started last; 0 before the first."""
        return self._highest

    def is_delivered(self, upto: int) -> bool:
        """Whether every ended call up to the number is in the store."""
        return not self._one(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE delivered_at IS NULL AND ended = 1 AND number <= ?)", upto
        )

    def entries(self, limit: int) -> list[Entry]:
        """The next calls to deliver, in the order of their numbers."""
        # As one row: sqlite3 gives the interpreter to other threads at each row, and callers would wait for the lock
        # as often as that.
        with self.lock:
            lengths, payloads = self._connection.execute(_JOINED, (limit,)).fetchone()
        return list(_entries(json.loads(lengths), payloads or b""))

    def standing(self, now: datetime, delivering: frozenset[int] = frozenset()) -> Standing:
        """How the journal will stand once these numbers are delivered; never twice at the same instant."""
        with self.lock:
            self._promised = max(_microseconds(now), self._promised + 1)
            with suppress(sqlite3.Error):  # a full disk must not keep the report from the store
                self.remember("promised", str(self._promised))
            oldest = self._connection.execute(
                "SELECT started_at FROM calls WHERE delivered_at IS NULL "
                "AND number NOT IN (SELECT value FROM json_each(?)) ORDER BY started_at LIMIT 1",
                (json.dumps(sorted(delivering)),),
            ).fetchone()
            return Standing(
                at=_instant(self._promised),
                highest=self._highest,
                open=self._open,
                backlog=max(self._ready - len(delivering), 0),
                oldest_undelivered_at=None if oldest is None else _instant(oldest[0]),
            )

    def delivered(self, numbers: Iterable[int], now: datetime) -> None:
        """Let these numbers go: they are safe in the store. Their rows stay for a while, for replay."""
        for some in _hundreds(sorted(numbers)):
            with self.lock:
                self._ready -= self._connection.execute(
                    "UPDATE calls SET delivered_at = ? "
                    "WHERE number IN (SELECT value FROM json_each(?)) AND delivered_at IS NULL",
                    (_microseconds(now), json.dumps(some)),
                ).rowcount

    def lost(self, contiguous: int, ahead: int) -> int:
        """How many numbers have been delivered beyond those that the store holds, of which it says how many.

        Never too many: what the store holds already, but is still to be delivered here, makes it less.
        """
        with self.lock:
            return self._highest - self._open - self._ready - contiguous - ahead

    def recall(self, after: int) -> list[int]:
        """Have delivered rows beyond a number delivered again: the numbers of the next hundred."""
        with self.lock:
            # By number, though another index has fewer rows: it would have to be sorted each time.
            (text,) = self._connection.execute(
                "SELECT json_group_array(number) FROM (SELECT number FROM calls NOT INDEXED "
                "WHERE number > ? AND delivered_at IS NOT NULL ORDER BY number LIMIT 100)",
                (after,),
            ).fetchone()
            self._ready += self._connection.execute(
                "UPDATE calls SET delivered_at = NULL WHERE number IN (SELECT value FROM json_each(?))", (text,)
            ).rowcount
            numbers: list[int] = json.loads(text)
            self._recalled = max(self._recalled, *numbers[-1:], 0)
        return numbers

    def forget(self, before: datetime) -> int:
        """Delete rows delivered before the instant, at most 500 at a time, oldest first; returns how many."""
        with self.lock:
            return self._forget(_microseconds(before))

    def tidy(self, *, idle: bool) -> None:
        """Copy SQLite's log into the file once it is long, or nobody is in a hurry.

        It waits for the disk and holds the lock, so it is delivery's to do: SQLite by itself would do it in a caller.
        """
        log_file = self.file.with_name(f"{self.file.name}-wal")
        if log_file.exists() and log_file.stat().st_size >= (IDLE_LOG_BYTES if idle else LOG_BYTES):
            with self.lock:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def fact(self, name: str) -> str | None:
        """A small remembered text: what the journal's owner wants its next owner to know."""
        with self.lock:
            row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str) -> None:
        with self.lock:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def is_empty(self) -> bool:
        """Nothing is kept here any more, not even for replay."""
        return bool(self._one("SELECT NOT EXISTS (SELECT 1 FROM calls)"))

    def delete(self) -> None:
        """Remove the files while they are still owned, so that nobody continues them in between."""
        self.file.unlink()
        self.file.with_name(f"{self.file.name}-wal").unlink(missing_ok=True)

    def close(self) -> None:
        """Give up ownership."""
        with self.lock:
            self._connection.close()

    def _end(self, number: int, payload: bytes) -> int:
        """How many calls this ended: one, or none that had ended before."""
        with self.lock:
            changed = self._connection.execute(
                "UPDATE calls SET payload = ?, ended = 1 WHERE number = ? AND ended = 0", (payload, number)
            ).rowcount
            self._ready += changed
            self._open -= changed
        return changed

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """All of the block's statements or none. A savepoint, as a signal handler's may lie within another's."""
        self._connection.execute("SAVEPOINT together")
        try:
            yield
            self._connection.execute("RELEASE together")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK TO together")
                self._connection.execute("RELEASE together")
            self._highest = self._last_number()
            self.recount()
            raise

    def _add_below(self, sub_calls: Sequence[Call]) -> None:
        """Write sub-calls down beside their call, whose start they share: what was let in has room for them."""
        for call in sub_calls:
            self._put(_microseconds(call.started_at), call.encode(), ended=True)

    def _insert(self, started_at: datetime, payload: bytes, ended: bool) -> int:
        self._make_room()
        return self._put(_microseconds(started_at), payload, ended)

    def _put(self, started_at: int, payload: bytes, ended: bool) -> int:
        number = self._connection.execute(
            "INSERT INTO calls (started_at, payload, ended) VALUES (?, ?, ?)",
            (started_at, payload, ended),
        ).lastrowid
        assert number is not None  # noqa: S101 - an INSERT has one
        self._highest = max(self._highest, number)
        if ended:
            self._ready += 1
        else:
            self._open += 1
        return number

    def _make_room(self) -> None:
        """Refuse a new call where the file has its full size; rows kept for replay go first.

        The bound is for new calls alone: what was let in must be able to end, and to be delivered.
        """
        if self._highest % CALLS_BETWEEN_LOOKS and not self._is_full:
            return
        self._is_full = (
            self._bytes("page_count") >= self._max_bytes
            and self._bytes("freelist_count") < SPARE_BYTES
            and not self._forget(_microseconds(datetime.max.replace(tzinfo=UTC)))
            and not self._has_room_while_recalled()
        )
        if self._is_full:
            raise JournalUnavailable(
                f"{self.file} is full of calls that the store has not taken ({self._max_bytes // 2**20} MB): "
                "make the store reachable, or raise ACCOUNTING_JOURNAL_MAX_MB"
            )

    def _has_room_while_recalled(self) -> bool:
        """Rows that go out once more can't make room, so until they are there new calls have another quarter."""
        return not self.is_delivered(self._recalled) and self._bytes("page_count") < self._max_bytes * 5 // 4

    def _bytes(self, pages: str) -> int:
        return PAGE_BYTES * int(self._connection.execute(f"PRAGMA {pages}").fetchone()[0])

    def _forget(self, before: int) -> int:
        return self._connection.execute(
            "DELETE FROM calls WHERE number IN "
            "(SELECT number FROM calls WHERE delivered_at < ? ORDER BY delivered_at, number LIMIT 500)",
            (before,),
        ).rowcount

    def _last_number(self) -> int:
        return self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'calls'")

    def _one(self, query: str, *values: int) -> int:
        with self.lock:
            return int(self._connection.execute(query, values).fetchone()[0])


_ALONE = nullcontext()
"""Around a single statement, which needs no savepoint."""

# The payloads end to end, as bytes: what can't be read is the store's to judge. It must not stop those behind it here.
_JOINED = """
SELECT json_group_array(json_array(number, length(payload))), CAST(group_concat(payload, '') AS BLOB)
FROM (SELECT number, CAST(payload AS BLOB) AS payload FROM calls
      WHERE delivered_at IS NULL AND ended = 1 ORDER BY number LIMIT ?)
"""


def _entries(lengths: list[tuple[int, int]], payloads: bytes) -> Iterator[Entry]:
    start = 0
    for number, length in lengths:
        yield Entry(number, payloads[start : start + length])
        start += length


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _ended_unknown(payload: bytes) -> bytes:
    """The started call's bytes with the outcome unknown; bytes that are no call go on as they are, to `rejected`."""
    try:
        return replace(Call.decode(payload), outcome=Outcome.UNKNOWN).encode()
    except CallInvalid:
        return payload


def _hundreds(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), 100):
        yield numbers[start : start + 100]
