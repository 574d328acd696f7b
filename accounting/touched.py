"""Which calls in the books lines of the rate book are about: how many, and what they cost by now.

Read from the spend tables, so it costs the same for a thousand calls or a billion, and calls that are not rolled up are
not in it. What is not in the tables, like the tier that served a call, is not known here: see `Touched.at_most`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import ratebook
from accounting.aliases import Aliases
from accounting.money import by_currency
from accounting.periods import Period, quarter, shifted
from accounting.pricelists import asks_no_more
from accounting.rates import ANY_TIER, UNPRICED, Rate, price
from accounting.resolution import RateBook
from accounting.store import aliaslines
from accounting.store.tables import batches
from accounting.store.tables import spend_quarters as spend
from accounting.usage import COUNTED, Quantities

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Touched:
    """Calls, sub-calls among them, that would be priced otherwise; `unpriced` have no rate, the others cost `spent`.

    They began in the quarter hour `first` or later, and are of `models`: providers, and the names that the calls gave.
    With `at_most` there may be fewer, as maybe not all of them meet the conditions of the lines. `unrolled` calls, of
    any model, came in since the last rollup and were not looked at.
    """

    calls: int = 0
    unpriced: int = 0
    spent: Mapping[str, Decimal] = field(default_factory=dict)
    models: tuple[tuple[str, str], ...] = ()
    first: datetime | None = None
    at_most: bool = False
    unrolled: int = 0


def touched(conn: Connection, lines: Iterable[Rate], without: Collection[int] = ()) -> Touched:
    """The calls for which one of the lines would hold, and that have another rate by now, or none.

    The lines may be in the books or not yet, where lines with the ids `without` are left out. Raises `RateCardError`
    where they contradict the others.
    """
    held = ratebook.lines(conn, withdrawn=True)
    force = [line.rate for line in held if line.withdrawn_at is None and line.rate.id not in without]
    wanted = _Wanted(conn, force, list(lines))
    rates = {line.rate.id: line.rate for line in held}
    found = [
        (row, rate)
        for part, holding in _parts(wanted.lines)
        for row in _of_providers(conn, rates, part, holding)
        if (rate := wanted.taking_over(row, part, holding)) is not None
    ]
    return _together(conn, [row for row, _ in found], at_most=any(_is_partial(rate, row) for row, rate in found))


def priced_by(conn: Connection, lines: Iterable[Rate], since: datetime | None = None) -> Touched:
    """The calls that were priced by these lines of the books; of them those that began at the instant or later."""
    rates = {rate.id: rate for rate in lines}
    start = since or min((rate.valid_from for rate in rates.values()), default=None)
    part = Period(start and quarter(start), None)
    rows = _spent(conn, rates, part, spend.c.rate_id.in_(rates))
    return _together(conn, rows, at_most=any(since is not None and row.first < since for row in rows))


def renamed(conn: Connection, aliases: Aliases) -> Touched:
    """The calls that would be priced otherwise, were these the aliases: those of the books with or without some."""
    held = ratebook.lines(conn, withdrawn=True)
    force = [line.rate for line in held if line.withdrawn_at is None]
    change = _Renaming(RateBook(force, aliaslines.in_force(conn)), RateBook(force, aliases))
    rows = _spent(conn, {line.rate.id: line.rate for line in held}, Period(None, None), sa.true())
    found = [row for row in rows if change.takes(row)]
    return _together(conn, found, at_most=any(change.takes_some(row) for row in found))


@dataclass(frozen=True, slots=True)
class _Spent:
    """Spend of a provider's model, by the name that calls gave it, at one rate, from the first quarter to the last."""

    provider: str
    model: str
    rate_id: int
    rate: Rate | None
    calls: int
    first: datetime
    last: datetime
    most_input: int
    quantities: Quantities

    @property
    def tier(self) -> str | None:
        """That of the calls, where their rate tells; None where they may have any."""
        return None if self.rate is None or self.rate.service_tier == ANY_TIER else self.rate.service_tier


class _Wanted:
    """Lines among those that are considered for a model, in the order in which they are."""

    def __init__(self, conn: Connection, held: Sequence[Rate], lines: Sequence[Rate]) -> None:
        new = [replace(line, id=-n) for n, line in enumerate(ratebook.fresh(lines, held), 1)]
        others = {rate.id for rate in ratebook.fresh(held, lines)}
        self.lines = [rate for rate in (*held, *new) if rate.id not in others]
        self._book = RateBook([*held, *new], Aliases(aliaslines.read(conn, withdrawn=False)))
        self._considered: dict[tuple[str, str], list[Rate]] = {}

    def taking_over(self, row: _Spent, part: Period, holding: Collection[Rate]) -> Rate | None:
        """Of the lines the one that takes calls of the stretch from the rate that they have, or some of them."""
        ids = {rate.id for rate in holding}
        for rate in self._before(row, row.rate_id):
            if rate.id in ids and _may_hold(rate, row) and not self._is_beaten(rate, row, part):
                return rate
        return None

    def _before(self, row: _Spent, rate_id: int) -> Iterator[Rate]:
        """What is taken before that rate, where it holds; all, where it is none or withdrawn."""
        place = row.provider, row.model
        if place not in self._considered:
            self._considered[place] = [one.rate for one in self._book.considered(*place)]
        for rate in self._considered[place]:
            if rate.id == rate_id:
                return
            yield rate

    def _is_beaten(self, rate: Rate, row: _Spent, part: Period) -> bool:
        """Whether another is taken before it wherever it holds in the stretch."""
        return any(_spans(other, part) and asks_no_more(other, rate) for other in self._before(row, rate.id))


def _spans(rate: Rate, part: Period) -> bool:
    """Whether it holds in all of the stretch."""
    end = rate.period.end
    is_to_the_end = end is None or (part.end is not None and part.end <= end)
    return is_to_the_end and part.start is not None and rate.valid_from <= part.start


def _may_hold(rate: Rate, row: _Spent) -> bool:
    """Whether calls of the row can meet its conditions; none had more input than all of a quarter hour."""
    served = row.tier is None or rate.service_tier in (ANY_TIER, row.tier)
    return served and (not rate.context_above or row.most_input > rate.context_above)


def _is_partial(rate: Rate, row: _Spent) -> bool:
    """Whether it may hold for some calls of the row only."""
    end = rate.period.end
    return (
        bool(rate.context_above or rate.hours)
        or rate.service_tier not in (ANY_TIER, row.tier)
        or row.first < rate.valid_from
        or (end is not None and end < row.last + _QUARTER)
    )


class _Renaming:
    """The lines that are for a model by some aliases and, in their order, by others."""

    def __init__(self, before: RateBook, after: RateBook) -> None:
        self._books = before, after
        self._lines: dict[tuple[str, str], tuple[list[Rate], list[Rate]]] = {}

    def takes(self, row: _Spent) -> bool:
        """Whether calls of the row lose their rate, or some that goes before it now may hold for them."""
        return self._loses(row) or any(self._coming(row))

    def takes_some(self, row: _Spent) -> bool:
        return not self._loses(row) and all(_is_partial(rate, row) for rate in self._coming(row))

    def _loses(self, row: _Spent) -> bool:
        before, after = self._of(row)
        return row.rate in before and row.rate not in after

    def _coming(self, row: _Spent) -> Iterator[Rate]:
        """What may hold for calls of the row, and was not taken before their rate until now."""
        before, after = (_until(row.rate, lines) for lines in self._of(row))
        part = Period(row.first, row.last + _QUARTER)
        for place, rate in enumerate(after):
            is_new = rate not in before and _meets(rate, part) and _may_hold(rate, row)
            if is_new and not any(_spans(other, part) and asks_no_more(other, rate) for other in after[:place]):
                yield rate

    def _of(self, row: _Spent) -> tuple[list[Rate], list[Rate]]:
        place = row.provider, row.model
        if place not in self._lines:
            before, after = ([one.rate for one in book.considered(*place)] for book in self._books)
            self._lines[place] = before, after
        return self._lines[place]


def _until(rate: Rate | None, lines: Sequence[Rate]) -> Sequence[Rate]:
    return lines[: lines.index(rate)] if rate is not None and rate in lines else lines


def _meets(rate: Rate, part: Period) -> bool:
    """Whether it holds in some of the stretch."""
    begins_later = part.end is not None and part.end <= rate.valid_from
    ended = rate.period.end is not None and part.start is not None and rate.period.end <= part.start
    return not begins_later and not ended


def _parts(lines: Iterable[Rate]) -> Iterator[tuple[Period, list[Rate]]]:
    """Stretches of whole quarter hours in which the same lines hold, and these; left out where none does."""
    spans = [(quarter(rate.valid_from), _rounded_up(rate.period.end), rate) for rate in lines]
    borders = sorted({at for start, end, _ in spans for at in (start, end) if at is not None})
    for first, last in zip(borders, [*borders[1:], None], strict=False):  # of no lines none
        holding = [rate for start, end, rate in spans if start <= first and (end is None or first < end)]
        if holding:
            yield Period(first, last), holding


def _rounded_up(end: datetime | None) -> datetime | None:
    return None if end is None else shifted(_EPOCH, -(-(end - _EPOCH) // _QUARTER) * _QUARTER)


def _of_providers(conn: Connection, rates: Mapping[int, Rate], part: Period, lines: Collection[Rate]) -> list[_Spent]:
    """The spend in the stretch at the providers of the lines; apart what may have had as much input as they ask for."""
    which = spend.c.provider.in_({line.provider for line in lines})
    asked = {line.context_above for line in lines} - {0}
    return _spent(conn, rates, part, which, [spend.c.input_tokens > above for above in asked])


def _spent(
    conn: Connection,
    rates: Mapping[int, Rate],
    part: Period,
    which: sa.ColumnElement[bool],
    apart: Sequence[sa.ColumnElement[bool]] = (),
) -> list[_Spent]:
    bounds = [spend.c.quarter >= part.start] if part.start is not None else []
    bounds += [spend.c.quarter < part.end] if part.end is not None else []
    rows = conn.execute(_SUMS.where(which, *bounds).group_by(*_GROUP, *apart)).mappings()
    return [_row(row, rates.get(row["rate_id"])) for row in rows]


_GROUP = (spend.c.provider, spend.c.model, spend.c.rate_id)
_SUMS = sa.select(
    *_GROUP,
    sa.func.sum(spend.c.calls + spend.c.sub_calls).label("made"),
    sa.func.min(spend.c.quarter).label("first"),
    sa.func.max(spend.c.quarter).label("last"),
    sa.func.max(spend.c.input_tokens).label("most_input"),
    *(sa.func.sum(spend.c[name]).label(name) for name in COUNTED),
)


def _row(row: Mapping[Any, Any], rate: Rate | None) -> _Spent:
    return _Spent(
        provider=row["provider"],
        model=row["model"],
        rate_id=row["rate_id"],
        rate=rate,
        calls=int(row["made"]),  # PostgreSQL sums BIGINT as NUMERIC
        first=row["first"],
        last=row["last"],
        most_input=row["most_input"],
        quantities=Quantities(*(int(row[name]) for name in COUNTED)),
    )


def _together(conn: Connection, rows: Sequence[_Spent], *, at_most: bool) -> Touched:
    return Touched(
        calls=sum(row.calls for row in rows),
        unpriced=sum(row.calls for row in rows if row.rate_id == UNPRICED),
        spent=by_currency(price(row.quantities, row.rate) for row in rows if row.rate is not None),
        models=tuple(sorted({(row.provider, row.model) for row in rows})),
        first=min((row.first for row in rows), default=None),
        at_most=at_most,
        unrolled=int(conn.scalar(_UNROLLED) or 0),
    )


_UNROLLED = sa.select(sa.func.sum(batches.c.inserted)).where(batches.c.rolled_at.is_(None))
