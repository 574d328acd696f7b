"""The books held against themselves: calls = quarter hours = days = tags = budgets, to the last digit, and no number
is missing.

Day by day, each in a snapshot of its own, while others go on writing: no more is held in memory than one day's sums,
and no snapshot is older than it takes to read one day's calls. What spans days is kept in a form that may only grow.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from accounting import arrivals, balance, booked_days, budgetbalance, budgets, projects, rawcalls
from accounting.arrivals import Numbers
from accounting.booked_days import midnight
from accounting.budgetbalance import Chosen
from accounting.differences import Difference
from accounting.recount import Days, Rates, Recount
from accounting.sheets import counted, instant
from accounting.store import reading, tables
from accounting.store.tables import batches, restatements, spend_days
from accounting.usage import least_id

Progress = Callable[[int, int], object]

_DAY = timedelta(days=1)
_IDS_AT_ONCE = 10_000
_NAMED = {
    "project_id": tables.projects,
    "key_id": tables.keys,
    "source_id": tables.sources,
    "batch_id": tables.batches,
}
"""What calls name by its id."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How many calls were checked, how many of them are rolled up, how many budgets were, and what did not agree.

    `remarks` are sentences on what is as it should be, and yet worth knowing.
    """

    calls: int = 0
    rolled: int = 0
    differences: tuple[Difference, ...] = ()
    remarks: tuple[str, ...] = ()
    budgets: int = 0

    def __add__(self, other: "Verification") -> "Verification":
        return Verification(
            self.calls + other.calls,
            self.rolled + other.rolled,
            self.differences + other.differences,
            self.remarks + other.remarks,
            self.budgets + other.budgets,
        )

    @property
    def balanced(self) -> bool:
        return not self.differences


def verify(
    engine: Engine, first: date | None = None, end: date | None = None, progress: Progress | None = None
) -> Verification:
    """The sum of `steps`."""
    return sum(steps(engine, first, end, progress), Verification())


def steps(
    engine: Engine, first: date | None = None, end: date | None = None, progress: Progress | None = None
) -> Iterator[Verification]:
    """Recomputes what is billed on the days from `first`, included, to `end`, left out (None: open), step by step.

    Of batches only those with calls of these days are counted; of budgets all periods with one of these days, whole.
    Numbers of journals belong to no day, so they are looked after where no days are chosen. `progress` gets the calls
    read so far, and about how many there are.
    """
    return _Walk(engine, first, end, progress or (lambda _done, _total: None)).steps()


@dataclass(slots=True)
class _Walk:
    """One way through the books, from day to day."""

    engine: Engine
    first: date | None
    end: date | None
    progress: Progress
    rates: Rates = field(default_factory=Rates)
    numbers: Numbers = field(default_factory=Numbers)
    strangers: Counter[tuple[str, int]] = field(default_factory=Counter)
    known: set[tuple[str, int]] = field(default_factory=set)
    read: int = 0
    total: int = 0

    def steps(self) -> Iterator[Verification]:
        with reading(self.engine) as conn:
            said = arrivals.said(conn)
            days, strays = booked_days.booked(conn, self.first, self.end), tuple(booked_days.strays(conn))
            self.total = _expected(conn, self.first, self.end)
        yield Verification(differences=strays)
        for day in days:
            yield self._day(day)
        self.progress(self.read, self.read)
        yield Verification(differences=tuple(self._named_strangers()))
        yield from self._batches()
        yield from self._budgets()
        with reading(self.engine) as conn:
            journals = arrivals.Journals() if self._is_part else arrivals.journals(conn, said, self.numbers)
            spoilt = () if self._is_part else tuple(arrivals.digests(conn))
            remarks = (*journals.remarks, *_unfinished(conn))
        yield Verification(differences=(*journals.differences, *spoilt), remarks=remarks)

    @property
    def _is_part(self) -> bool:
        return self.first is not None or self.end is not None

    def _day(self, day: date) -> Verification:
        with reading(self.engine) as conn:
            count = Recount(day.isoformat(), Days(projects.calendar(conn)), self.rates)
            for bunch in rawcalls.bunches(conn, *count.days.span(day)):
                readable = count.readable(bunch)
                self.rates.learn(conn, {call.rate_id for call in readable})
                count.take(readable)
                self.numbers.add((call.source_id, call.number) for call in readable)
                self._tell(count.calls)
            unbalanced = balance.unbalanced(conn, day, count)
            self._note_strangers(conn, count.named())
        self.read += count.calls
        return Verification(count.calls, count.rolled, (*count.differences, *unbalanced))

    def _tell(self, more: int) -> None:
        done = self.read + more
        self.progress(done, max(self.total, done))

    def _note_strangers(self, conn: Connection, named: Counter[tuple[str, int]]) -> None:
        """Counts the calls of what nothing in the books goes by."""
        for what, table in _NAMED.items():
            ids = {id_ for column, id_ in named.keys() - self.known if column == what}
            self.known |= {(what, id_) for id_ in _found(conn, table, ids)}
        self.strangers += Counter({one: number for one, number in named.items() if one not in self.known})

    def _named_strangers(self) -> Iterator[Difference]:
        for (column, id_), number in sorted(self.strangers.items()):
            what = column.removesuffix("_id")
            yield Difference("calls", counted(number, "call"), column, f"a {what} in the books", str(id_))

    def _batches(self) -> Iterator[Verification]:
        after, which = None, _touching(self.first, self.end)
        while True:
            with reading(self.engine) as conn:
                some = arrivals.batches_after(conn, after, which)
                wrong = tuple(arrivals.wrong_batches(conn, some))
            yield Verification(differences=wrong)
            if len(some) < arrivals.BATCHES_AT_ONCE:
                return
            after = some[-1]["id"]

    def _budgets(self) -> Iterator[Verification]:
        """Each in a snapshot of its own; one that was removed counts no more."""
        with reading(self.engine) as conn:
            ids = [budget.id for budget in budgets.known(conn)]
        for id_ in ids:
            with reading(self.engine) as conn:
                budget = budgets.by_id(conn, id_)
                wrong = (
                    () if budget.removed_at else budgetbalance.differences(conn, budget, Chosen(self.first, self.end))
                )
            yield Verification(differences=tuple(wrong), budgets=1)


def _found(conn: Connection, table: Table, ids: Collection[int]) -> Iterator[int]:
    wanted = sorted(ids)
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        some = wanted[start : start + _IDS_AT_ONCE]
        yield from conn.execute(sa.select(table.c.id).where(table.c.id.in_(some))).scalars()


def _touching(first: date | None, end: date | None) -> sa.ColumnElement[bool]:
    """Batches with calls of the days, or of one beside them: whose days they are doesn't matter here."""
    since = sa.true() if first is None else batches.c.max_call_id >= least_id(midnight(first - _DAY))
    until = sa.true() if end is None else batches.c.min_call_id < least_id(midnight(end + _DAY))
    return sa.and_(since, until)


def _expected(conn: Connection, first: date | None, end: date | None) -> int:
    """About how many calls there are to read."""
    if first is None and end is None:
        return int(conn.scalar(sa.select(sa.func.coalesce(sa.func.sum(batches.c.inserted), 0))) or 0)
    since = sa.true() if first is None else spend_days.c.billed_on >= first
    until = sa.true() if end is None else spend_days.c.billed_on < end
    rolled = sa.func.sum(spend_days.c.calls + spend_days.c.sub_calls)
    return int(conn.scalar(sa.select(sa.func.coalesce(rolled, 0)).where(since, until)) or 0)


def _unfinished(conn: Connection) -> Iterator[str]:
    for row in conn.execute(
        sa.select(restatements).where(restatements.c.ended_at.is_(None)).order_by(restatements.c.id)
    ):
        yield (
            f"Restatement {row.id} ({row.kind}, begun by {row.who} at {instant(row.began_at)}) has not ended: "
            f"{counted(row.changed, 'call')} of {row.seen:,} seen changed so far. If nobody is at it, the same command "
            "goes on where it stopped."
        )
