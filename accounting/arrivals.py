"""Nothing is lost on the way: batches held against the calls they brought, journals against the numbers here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from accounting.differences import Difference, raw, text
from accounting.store.tables import batches, calls, conflicts, received_ahead, rejected, sources

BATCHES_AT_ONCE = 1_000
_PAGE = 16
"""Numbers are noted in pages of 2 ** 16, so that one far out takes no more room than any other."""


@dataclass(slots=True)
class Numbers:
    """Which numbers of which journals have been seen: a bit each."""

    _pages: dict[tuple[int, int], bytearray] = field(default_factory=dict)

    def add(self, numbers: Iterable[tuple[int, int]]) -> None:
        """Notes pairs of source and number; one that comes twice, as of a journal that was copied, counts once."""
        for source, number in numbers:
            page = self._pages.get((source, number >> _PAGE))
            if page is None:
                page = self._pages[source, number >> _PAGE] = bytearray(1 << _PAGE - 3)
            page[(number & 0xFFFF) >> 3] |= 1 << (number & 7)

    def upto(self, source: int, last: int) -> int:
        """How many of the numbers from 1 to the last have been seen."""
        return sum(
            _bits(page, last - (index << _PAGE)) - (index == 0 and page[0] & 1)
            for (owner, index), page in self._pages.items()
            if owner == source and 0 <= index << _PAGE <= last
        )

    def __contains__(self, pair: tuple[int, int]) -> bool:
        source, number = pair
        page = self._pages.get((source, number >> _PAGE))
        return page is not None and bool(page[(number & 0xFFFF) >> 3] >> (number & 7) & 1)


def _bits(page: bytearray, last: int) -> int:
    """How many bits are set in the page, up to the last, counted from 0."""
    return (int.from_bytes(page, "little") & (1 << min(last, 0xFFFF) + 1) - 1).bit_count()


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


def lost(conn: Connection, said: Mapping[int, int], seen: Numbers) -> Iterator[Difference]:
    """Nothing is lost: of each journal all numbers up to `contiguous` are in the books, and the next one is not.

    `said` is from before the calls were read, for their numbers; the number that may not be there is the one after
    what is said now, as what has been seen by now has been counted by now.
    """
    for table in (rejected, conflicts):
        seen.add(tuple(row) for row in conn.execute(sa.select(table.c.source_id, table.c.number)))
    for row in conn.execute(sa.select(sources.c.id, sources.c.journal, sources.c.contiguous, _is_next_ahead())):
        journal, last = f"journal {row.journal}", said.get(row.id, 0)
        if (held := seen.upto(row.id, last)) != last:
            yield Difference("sources", journal, f"numbers here up to {last}", str(last), str(held))
        if row.is_next_ahead or (row.id, row.contiguous + 1) in seen:
            yield Difference("sources", journal, "contiguous", f"{row.contiguous + 1} or more", str(row.contiguous))


def _is_next_ahead() -> sa.Label[bool]:
    following = sa.and_(received_ahead.c.source_id == sources.c.id, received_ahead.c.number == sources.c.contiguous + 1)
    return sa.exists().where(following).label("is_next_ahead")
