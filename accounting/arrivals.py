"""Nothing is lost on the way: batches held against the calls they brought, journals against the numbers here."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from accounting.differences import Difference, raw, text
from accounting.sheets import counted
from accounting.store.tables import batches, calls, conflicts, received_ahead, rejected, repeats, sources

BATCHES_AT_ONCE = 1_000
_PAYLOADS_AT_ONCE = 100
_HIGHEST = 2**63 - 1
_PAGE = 12
"""Numbers are noted in pages of 2 ** 12, so that one far out takes no more room than any other."""


@dataclass(slots=True)
class Numbers:
    """Which numbers of which journals have been seen: a bit each."""

    _pages: dict[int, dict[int, bytearray]] = field(default_factory=dict)

    def add(self, numbers: Iterable[tuple[int, int]]) -> None:
        """Notes pairs of source and number; one that two copies of a journal gave to different calls counts once."""
        for source, number in numbers:
            pages = self._pages.setdefault(source, {})
            page = pages.get(number >> _PAGE)
            if page is None:
                page = pages[number >> _PAGE] = bytearray(1 << _PAGE - 3)
            page[(number & _LAST) >> 3] |= 1 << (number & 7)

    def upto(self, source: int, last: int) -> int:
        """How many of the numbers from 1 to the last have been seen."""
        pages = self._pages.get(source, {})
        seen = sum(_bits(page, last - (i << _PAGE)) for i, page in pages.items() if 0 <= i << _PAGE <= last)
        return seen - ((source, 0) in self)

    def lacking(self, others: "Numbers") -> dict[int, int]:
        """How many numbers the others lack, by source, of those that lack any."""
        lacking: Counter[int] = Counter()
        for source, pages in self._pages.items():
            for i, page in pages.items():
                there = others._pages.get(source, {}).get(i, b"")
                lacking[source] += (_bitset(page) & ~_bitset(there)).bit_count()
        return {source: number for source, number in lacking.items() if number}

    def __contains__(self, pair: tuple[int, int]) -> bool:
        source, number = pair
        page = self._pages.get(source, {}).get(number >> _PAGE)
        return page is not None and bool(page[(number & _LAST) >> 3] >> (number & 7) & 1)


_LAST = (1 << _PAGE) - 1


def _bits(page: bytearray, last: int) -> int:
    """How many bits are set in the page, up to the last, counted from 0."""
    return (_bitset(page) & (1 << min(last, _LAST) + 1) - 1).bit_count()


def _bitset(page: bytes | bytearray) -> int:
    return int.from_bytes(page, "little")


def batches_after(conn: Connection, after: int | None, which: sa.ColumnElement[bool]) -> Sequence[RowMapping]:
    """The next of the chosen batches, raw, by id; fewer than `BATCHES_AT_ONCE` are the last."""
    ahead = sa.true() if after is None else batches.c.id > after
    chosen = sa.select(*raw(conn, batches, *_BATCH)).where(ahead, which)
    return conn.execute(chosen.order_by(batches.c.id).limit(BATCHES_AT_ONCE)).mappings().all()


def wrong_batches(conn: Connection, some: Sequence[RowMapping]) -> Iterator[Difference]:
    """What the batches say otherwise than the calls that carry their number."""
    (id_,) = raw(conn, calls, "id")
    figures = (
        sa.func.count().label("inserted"),
        sa.func.min(id_).label("min_call_id"),
        sa.func.max(id_).label("max_call_id"),
    )
    query = sa.select(calls.c.batch_id, *figures).where(calls.c.batch_id.in_([batch["id"] for batch in some]))
    brought = {row["batch_id"]: dict(row) for row in conn.execute(query.group_by(calls.c.batch_id)).mappings()}
    for batch in some:
        became = sum(batch[name] for name in _BECAME)
        expected = {**_EMPTY, **brought.get(batch["id"], {}), "entries": became}
        for column in (*_EMPTY, "entries"):
            if batch[column] != expected[column]:
                yield Difference("batches", f"batch {batch['id']}", column, text(expected[column]), text(batch[column]))


_BECAME = ("inserted", "duplicates", "superseded", "conflicts", "rejected")
_BATCH = ("id", "entries", *_BECAME, "min_call_id", "max_call_id")
_EMPTY = {"inserted": 0, "min_call_id": None, "max_call_id": None}


@dataclass(frozen=True, slots=True)
class Said:
    """What the books say of journals, by the id of the source, as its calls begin to be read.

    All numbers up to `contiguous` are here, and those `ahead` beyond it.
    """

    contiguous: Mapping[int, int]
    ahead: Numbers


def said(conn: Connection) -> Said:
    ahead = Numbers()
    beyond = sa.select(received_ahead.c.source_id, received_ahead.c.number).join(sources)
    ahead.add(_pairs(conn, beyond.where(received_ahead.c.number > sources.c.contiguous)))
    return Said({row.id: row.contiguous for row in conn.execute(sa.select(sources.c.id, sources.c.contiguous))}, ahead)


def _pairs(conn: Connection, query: sa.Select[Any]) -> Iterator[tuple[int, int]]:
    with conn.execute(query, execution_options={"yield_per": BATCHES_AT_ONCE}) as found:
        yield from map(tuple, found)


@dataclass(frozen=True, slots=True)
class Journals:
    """What their numbers say: what is lost, and, in sentences, what only looks so."""

    differences: tuple[Difference, ...] = ()
    remarks: tuple[str, ...] = ()


def journals(conn: Connection, said: Said, seen: Numbers) -> Journals:
    """Nothing is lost: of each journal all numbers up to `contiguous` are in the books, and the next one is not.

    What is said is from before the calls were read, for their numbers; the number that may not be there is the one
    after what is said now, as what has been seen by now has been counted by now.
    """
    for table in (rejected, conflicts, repeats):
        seen.add(_pairs(conn, sa.select(table.c.source_id, table.c.number)))
    figures = (sources.c.id, sources.c.journal, sources.c.contiguous, sources.c.highest)
    known = conn.execute(sa.select(*figures, _is_next_ahead())).all()
    differences = [*_lost(known, said, seen), *_phantoms(known, said, seen), *_behind(known, seen)]
    differences += _unknown(conn, known, seen)
    return Journals(tuple(differences), tuple(_copies(conn)))


def _lost(known: Sequence[Any], said: Said, seen: Numbers) -> Iterator[Difference]:
    for row in known:
        last = said.contiguous.get(row.id, 0)
        if (held := seen.upto(row.id, last)) != last:
            yield _wrong(row, f"numbers here up to {last}", str(last), held)


def _phantoms(known: Sequence[Any], said: Said, seen: Numbers) -> Iterator[Difference]:
    """Numbers noted as having come ahead that are nowhere: each would hide that one is lost."""
    lacking = said.ahead.lacking(seen)
    for row in known:
        if row.id in lacking:
            noted = said.ahead.upto(row.id, _HIGHEST)
            yield _wrong(row, f"numbers here of {noted} received ahead", str(noted), noted - lacking[row.id])


def _behind(known: Sequence[Any], seen: Numbers) -> Iterator[Difference]:
    for row in known:
        if row.is_next_ahead or (row.id, row.contiguous + 1) in seen:
            yield _wrong(row, "contiguous", f"{row.contiguous + 1} or more", row.contiguous)
        if row.highest < row.contiguous:
            yield _wrong(row, "highest", f"{row.contiguous} or more", row.highest)


def _unknown(conn: Connection, known: Sequence[Any], seen: Numbers) -> Iterator[Difference]:
    """Numbers that are here beyond `contiguous`, and that nobody noted as having come ahead."""
    upto = {row.id: row.contiguous for row in known}
    ahead: Counter[int] = Counter()
    for source, number in conn.execute(sa.select(received_ahead.c.source_id, received_ahead.c.number)):
        ahead[source] += number > upto[source] and (source, number) in seen
    for row in known:
        held = seen.upto(row.id, _HIGHEST) - seen.upto(row.id, row.contiguous)
        if held != ahead[row.id] and (row.id, row.contiguous + 1) not in seen:
            column = f"numbers here beyond {row.contiguous}"
            yield Difference("sources", f"journal {row.journal}", column, str(ahead[row.id]), str(held))


def _wrong(row: Any, column: str, expected: str, found: int) -> Difference:
    return Difference("sources", f"journal {row.journal}", column, expected, str(found))


def _copies(conn: Connection) -> Iterator[str]:
    """Calls of one journal that had come from another."""
    first, again = sources.alias(), sources.alias()
    twice = sa.select(again.c.journal, first.c.journal.label("original"), sa.func.count().label("calls"))
    joined = repeats.join(calls, calls.c.id == repeats.c.call_id).join(again, again.c.id == repeats.c.source_id)
    query = twice.select_from(joined.join(first, first.c.id == calls.c.source_id)).where(first.c.id != again.c.id)
    for row in conn.execute(query.group_by(again.c.id, first.c.id).order_by(again.c.id, first.c.id)):
        yield (
            f"Journal {row.journal} brought {counted(row.calls, 'call')} that had come from journal {row.original} and "
            "count once: it seems to be a copy of it under another name."
        )


def digests(conn: Connection) -> Iterator[Difference]:
    """What was put aside and is not what came: its digest was taken as it came."""
    for table in (rejected, conflicts):
        # Cast, as SQLite keeps whatever somebody puts into a column.
        payload, digest = (sa.cast(column, sa.LargeBinary) for column in (table.c.payload, table.c.digest))
        query = sa.select(table.c.id, payload.label("payload"), digest.label("digest")).order_by(table.c.id)
        with conn.execute(query, execution_options={"yield_per": _PAYLOADS_AT_ONCE}) as found:
            for row in found:
                if (expected := sha256(row.payload).digest()) != row.digest:
                    yield Difference(
                        table.name, f"the one with id {row.id}", "digest", expected.hex(), row.digest.hex()
                    )


def _is_next_ahead() -> sa.Label[bool]:
    following = sa.and_(received_ahead.c.source_id == sources.c.id, received_ahead.c.number == sources.c.contiguous + 1)
    return sa.exists().where(following).label("is_next_ahead")
