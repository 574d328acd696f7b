"""The exchange rates in the books: appended to, never edited; a wrong one is withdrawn, kept, and counts no more.

Nothing in the books depends on one: what is converted is converted as it is read.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from accounting.errors import FxRateError
from accounting.fx import Exchange, FxRate, FxRates
from accounting.store import insert, reading, transact, withdrawals
from accounting.store.tables import fx_rates

_AT_ONCE = 2000
"""Rates written in one transaction: about 50 ms. The ECB's whole history is 100 of them."""

_COLUMNS = (fx_rates.c.base, fx_rates.c.quote, fx_rates.c.day, fx_rates.c.rate, fx_rates.c.source, fx_rates.c.id)
_HELD = fx_rates.c.withdrawn_at.is_(None)

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading rates did, or would do."""

    added: int
    unchanged: int


def load(
    engine: Engine,
    rates: Iterable[FxRate],
    now: datetime,
    by: str,
    *,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Loaded:
    """Add the rates that are not there yet. Raises `FxRateError` where one contradicts another, and adds none then.

    Unless the other came into the books meanwhile: rates are written in portions, the earliest days first, and those
    before it stay. So it is with loading that was interrupted, which can be done again.

    A pair's rate of a day that is there already is left as it is, whoever says it. The opposite pair is another: banks
    buy at one rate and sell at the other.
    """
    some = list(_portions(distinct(rates, now)))
    every = sum(map(len, some))
    with reading(engine) as conn:
        fresh = [_missing(conn, part) for part in some]
    added = 0
    for part in [] if dry_run else fresh:
        transact(engine, lambda conn, part=part: _append(conn, part, now, by))  # type: ignore[misc]
        progress(added := added + len(part), sum(map(len, fresh)))
    added = sum(map(len, fresh))
    return Loaded(added, every - added)


def distinct(rates: Iterable[FxRate], now: datetime) -> list[FxRate]:
    """Each once, by day; raises `FxRateError` where two contradict each other or one is of a day to come."""
    last = now.date() + timedelta(days=1)  # it may have begun where they are from
    found: dict[tuple[date, str, str], FxRate] = {}
    for rate in rates:
        if rate.day > last:
            raise FxRateError(f"{rate} has a day to come; expected one until {last}.")
        _refuse_contradiction(found.setdefault(_key(rate), rate), rate)
    return [found[key] for key in sorted(found)]


def _key(rate: FxRate) -> tuple[date, str, str]:
    return rate.day, rate.base, rate.quote


def _refuse_contradiction(one: FxRate, other: FxRate) -> None:
    if one.rate == other.rate:
        return
    raise FxRateError(
        f"Two rates of one day: {_said(one)} and {_said(other)}. Keep one of them; "
        f"one that is in the books is withdrawn by: accounting fx withdraw {one.id or 'ID'} --why …"
    )


def _said(rate: FxRate) -> str:
    return f"{rate} ({f'in the books as {rate.id}, ' if rate.id else ''}source: {rate.source})"


def _portions(rates: Sequence[FxRate]) -> Iterator[Sequence[FxRate]]:
    return (rates[start : start + _AT_ONCE] for start in range(0, len(rates), _AT_ONCE))


def _missing(conn: Connection, rates: Sequence[FxRate]) -> list[FxRate]:
    """Those that are not in the books; raises `FxRateError` where one contradicts what is. They come by day."""
    if not rates:
        return []
    held = {_key(rate): rate for rate in _between(conn, rates[0].day, rates[-1].day)}
    for rate in rates:
        _refuse_contradiction(held.get(_key(rate), rate), rate)
    return [rate for rate in rates if _key(rate) not in held]


def _append(conn: Connection, rates: Sequence[FxRate], now: datetime, by: str) -> None:
    rows = [_row(rate) | {"loaded_at": now, "loaded_by": by} for rate in rates]
    columns = [fx_rates.c.day, fx_rates.c.base, fx_rates.c.quote]
    if rows:
        conn.execute(insert(conn, fx_rates).on_conflict_do_nothing(index_elements=columns, index_where=_HELD), rows)
    _missing(conn, rates)  # raises, should somebody have written others since they were looked for


def _row(rate: FxRate) -> dict[str, object]:
    return {name: getattr(rate, name) for name in ("base", "quote", "day", "rate", "source")}


def withdraw(conn: Connection, id_: int, now: datetime, by: str, why: str) -> FxRate:
    """Have a rate count no more; it stays in the books with who said so and why. Raises `FxRateError`."""
    this = sa.update(fx_rates).where(fx_rates.c.id == id_, _HELD)
    done = conn.execute(this.values(withdrawn_at=now, withdrawn_by=by, withdrawn_why=why)).rowcount
    found = conn.execute(sa.select(*_COLUMNS).where(fx_rates.c.id == id_)).one_or_none()
    if found is None:
        raise FxRateError(f"There is no exchange rate {id_}. Their numbers: accounting fx show BASE/QUOTE")
    if not done:
        raise FxRateError(f"{FxRate(*found)} was withdrawn already.")
    return FxRate(*found)


def exchange(conn: Connection, currencies: Iterable[str], into: str, day: date) -> Exchange:
    """What brings the currencies together in one on the day; those without a rate are named in it."""
    others = [code for code in currencies if code != into]
    held = FxRates(day, latest(conn, {*others, into}, day))
    found = {code: held.find(code, into) for code in others}
    known = tuple(conversion for conversion in found.values() if conversion)
    return Exchange(into, day, known, tuple(code for code, conversion in found.items() if conversion is None))


def _between(conn: Connection, first: date, last: date) -> list[FxRate]:
    found = conn.execute(sa.select(*_COLUMNS).where(_HELD, fx_rates.c.day.between(first, last)))
    return [FxRate(*row) for row in found]


def latest(conn: Connection, codes: Collection[str], day: date) -> list[FxRate]:
    """Of each pair with one of the currencies the last rate until that day: a way by a third begins and ends so."""
    if len(codes) < 2:
        return []
    either = fx_rates.c.base.in_(codes) | fx_rates.c.quote.in_(codes)
    return [pair.latest for pair in _pairs(conn, either & (fx_rates.c.day <= day))]


@dataclass(frozen=True, slots=True)
class Pair:
    """How many rates of a pair there are, from which day on, and the latest."""

    count: int
    first: date
    latest: FxRate


def pairs(conn: Connection) -> list[Pair]:
    """All that are held, in the order of their codes."""
    return _pairs(conn, sa.true())


def _pairs(conn: Connection, of: sa.ColumnElement[bool]) -> list[Pair]:
    group = (fx_rates.c.base, fx_rates.c.quote)
    summed = sa.select(
        *group,
        sa.func.count().label("count"),
        sa.func.min(fx_rates.c.day).label("first"),
        sa.func.max(fx_rates.c.day).label("last"),
    )
    each = summed.where(_HELD, of).group_by(*group).subquery()
    latest = (each.c.base == fx_rates.c.base) & (each.c.quote == fx_rates.c.quote) & (each.c.last == fx_rates.c.day)
    chosen = sa.select(each.c.count, each.c.first, *_COLUMNS).join_from(each, fx_rates, latest & _HELD)
    return [Pair(count, first, FxRate(*rate)) for count, first, *rate in conn.execute(chosen.order_by(*group))]


@dataclass(frozen=True, slots=True)
class Entry:
    """A rate with who loaded it and, where it was withdrawn, who did that and why."""

    rate: FxRate
    loaded_at: datetime
    loaded_by: str
    withdrawn_at: datetime | None = None
    withdrawn_by: str | None = None
    withdrawn_why: str | None = None


def entries(conn: Connection, base: str, quote: str, until: date, limit: int) -> list[Entry]:
    """The pair's and the opposite one's until that day, also those withdrawn; the latest first."""
    this = (fx_rates.c.base == base) & (fx_rates.c.quote == quote)
    opposite = (fx_rates.c.base == quote) & (fx_rates.c.quote == base)
    chosen = sa.select(fx_rates).where(this | opposite, fx_rates.c.day <= until)
    latest = chosen.order_by(fx_rates.c.day.desc(), fx_rates.c.id.desc()).limit(limit)
    return [_entry(row) for row in conn.execute(latest).mappings()]


def _entry(row: sa.RowMapping) -> Entry:
    rate = FxRate(*(row[column.name] for column in _COLUMNS))
    of_entry = ("loaded_at", "loaded_by", *withdrawals.COLUMNS)
    return Entry(rate, *(row[name] for name in of_entry))
