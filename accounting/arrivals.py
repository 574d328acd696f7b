"""Nothing is lost on the way: batches held against the calls they brought, journals against the numbers here."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from accounting.differences import Difference, raw, text
from accounting.store.tables import batches, calls, conflicts, received_ahead, rejected, sources

BATCHES_AT_ONCE = 1_000
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

    def first(self, source: int) -> int | None:
        """The least number from 1 on that has been seen."""
        pages = self._pages.get(source, {})
        numbers = ((i << _PAGE) + bit for i in sorted(pages) if i >= 0 for bit in _set_bits(pages[i]))
        return next((number for number in numbers if number >= 1), None)

    def __contains__(self, pair: tuple[int, int]) -> bool:
        source, number = pair
        page = self._pages.get(source, {}).get(number >> _PAGE)
        return page is not None and bool(page[(number & _LAST) >> 3] >> (number & 7) & 1)


_LAST = (1 << _PAGE) - 1


def _bits(page: bytearray, last: int) -> int:
    """How many bits are set in the page, up to the last, counted from 0."""
    return (int.from_bytes(page, "little") & (1 << min(last, _LAST) + 1) - 1).bit_count()


def _set_bits(page: bytearray) -> Iterator[int]:
    return (bit for bit in range(1 << _PAGE) if page[bit >> 3] >> (bit & 7) & 1)


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


def contiguous(conn: Connection) -> dict[int, int]:
    """Of each journal, by its source's id, the number up to which all are said to be here."""
    return {row.id: row.contiguous for row in conn.execute(sa.select(sources.c.id, sources.c.contiguous))}


@dataclass(frozen=True, slots=True)
class Journals:
    """What their numbers say: what is lost, and, in sentences, what only looks so."""

    differences: tuple[Difference, ...] = ()
    remarks: tuple[str, ...] = ()


def journals(conn: Connection, said: Mapping[int, int], seen: Numbers) -> Journals:
    """Nothing is lost: of each journal all numbers up to `contiguous` are in the books, and the next one is not.

    `said` is from before the calls were read, for their numbers; the number that may not be there is the one after
    what is said now, as what has been seen by now has been counted by now.
    """
    for table in (rejected, conflicts):
        seen.add(tuple(row) for row in conn.execute(sa.select(table.c.source_id, table.c.number)))
    known = conn.execute(sa.select(sources.c.id, sources.c.journal, sources.c.contiguous, _is_next_ahead())).all()
    short = [row for row in known if seen.upto(row.id, said.get(row.id, 0)) != said.get(row.id, 0)]
    copied = {row.id: of for row in short if (of := _original(conn, row.id, said[row.id], known, seen)) is not None}
    lost = (_lost(row, said[row.id], seen) for row in short if row.id not in copied)
    behind = (_behind(row) for row in known if row.is_next_ahead or (row.id, row.contiguous + 1) in seen)
    names = {row.id: row.journal for row in known}
    copies = (_copy(names[id_], names[of]) for id_, of in copied.items())
    return Journals((*lost, *behind, *_unknown(conn, known, seen)), tuple(copies))


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


def _lost(row: Any, last: int, seen: Numbers) -> Difference:
    held = str(seen.upto(row.id, last))
    return Difference("sources", f"journal {row.journal}", f"numbers here up to {last}", str(last), held)


def _behind(row: Any) -> Difference:
    expected = f"{row.contiguous + 1} or more"
    return Difference("sources", f"journal {row.journal}", "contiguous", expected, str(row.contiguous))


def _copy(journal: UUID, original: UUID) -> str:
    return (
        f"The first numbers of journal {journal} brought nothing new: they seem to be calls that came from journal "
        f"{original}, of which it is a copy under another name."
    )


def _original(conn: Connection, source: int, last: int, known: Sequence[Any], seen: Numbers) -> int | None:
    """The source of which this one is a copy, so that its first numbers met calls that were here; None if it is none.

    Such calls leave nothing under its name. What it did bring must be here, and those numbers be the other's, too.
    """
    first = seen.first(source)
    shared = last if first is None else min(first - 1, last)
    if seen.upto(source, last) != last - shared or _brought(conn, source) != seen.upto(source, _HIGHEST):
        return None
    return next((row.id for row in known if row.id != source and seen.upto(row.id, shared) == shared), None)


def _brought(conn: Connection, source: int) -> int:
    """How many entries of the source are here as calls or put aside, as its batches say."""
    kept = batches.c.inserted + batches.c.rejected + batches.c.conflicts
    return int(
        conn.execute(
            sa.select(sa.func.coalesce(sa.func.sum(kept), 0)).where(batches.c.source_id == source)
        ).scalar_one()
    )


def _is_next_ahead() -> sa.Label[bool]:
    following = sa.and_(received_ahead.c.source_id == sources.c.id, received_ahead.c.number == sources.c.contiguous + 1)
    return sa.exists().where(following).label("is_next_ahead")
