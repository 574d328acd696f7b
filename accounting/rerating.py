"""Calls that are in the books, priced again by the rates as they are now.

A call gets what it would get if it came in today: the rate that holds for it, and the stamps that follow from that.
What it had before is in the log of the restatement.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine

from accounting import patterns, ratebook, ratestamps
from accounting.aliases import Aliases
from accounting.errors import ConfigurationError
from accounting.rates import UNPRICED, Rate
from accounting.resolution import RateBook
from accounting.restate import Change, Order, began, close, finish, restate
from accounting.restated import NO_CALLS, Restated, Row
from accounting.store import aliaslines, reading, transact
from accounting.store.tables import batches, calls, projects, restatements, spend_days, store

KIND = "rerated"
"""The kind of its restatements."""

NAMED = 3
"""So many of the rates that arrived are named where it is said why calls were priced."""

Model = tuple[str, str]
"""Provider and model, as calls named it."""

Clock = Callable[[], datetime]
Progress = Callable[[Restated], object]

_UNPRICED = "unpriced"
"""What stands in the log of those that priced unpriced calls alone."""

_RATES = "edition "
"""What stands there before the number of the rates' edition."""

_FAR = timedelta(days=2)
"""No zone's day is further off a day in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Calls that began from `first`, included, to `end`, left out (None: open), of a provider's models (None: any).

    `model` is a name or a pattern of names: of those that calls gave, or of those that alias rules make of them, as a
    rate that stands under such a name prices the calls. With `unpriced_only` it is those that have no rate.
    """

    provider: str | None = None
    model: str | None = None
    first: datetime | None = None
    end: datetime | None = None
    unpriced_only: bool = False

    def spans(self, first: datetime | None, end: datetime | None) -> bool:
        """Whether all that began from `first`, included, to `end`, left out (None: open), is in this time."""
        from_first = self.first is None or (first is not None and self.first <= first)
        return from_first and (self.end is None or (end is not None and end <= self.end))

    def is_of(self, provider: str, model: str, aliases: Aliases) -> bool:
        if self.provider not in (None, provider):
            return False
        wanted = self.model
        if wanted is None or patterns.fits(wanted, model):
            return True
        return any(patterns.fits(wanted, name) for name, _ in aliases.names(provider, model))


@dataclass(frozen=True, slots=True)
class Recost:
    """What the changed calls of a project and a month cost in one currency, before and after.

    An empty currency stands for calls without a rate, of which nobody knows what they cost.
    """

    project: str
    month: date
    currency: str
    calls_before: int
    calls_after: int
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class Rerated:
    """What pricing calls again came to, or would come to.

    `models` are those in the books that were meant. Of the changed calls some cost something else, the others are at
    another line of the same prices: see `Restated`. `overtaken` says that the rates changed while it was done: calls
    that had been looked at by then were priced by the former ones. `edition` is that of the rates when it began.

    Of the models some may have no call that had to be `looked_at`. `unpriced` says how many of the calls that are meant
    have no rate after it, model by model.
    """

    edition: int
    models: tuple[Model, ...]
    looked_at: tuple[Model, ...]
    unpriced: Mapping[Model, int]
    done: Restated
    recosts: tuple[Recost, ...] = ()
    overtaken: bool = False

    @property
    def unpriced_before(self) -> int:
        """How many of the changed calls had no rate."""
        return sum(one.calls_before for one in self.recosts if not one.currency)

    @property
    def unpriced_after(self) -> int:
        return sum(one.calls_after for one in self.recosts if not one.currency)


def rerate(
    engine: Engine,
    which: Which,
    clock: Clock,
    who: str,
    why: str = "",
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Rerated:
    """Price the calls by the rates as they are now; a dry run changes nothing and says what would.

    The same once more goes on where one was killed, unless the rates are others by now: then it begins anew. Without
    a `why` it is that there are these rates now. Raises `RateCardError` where the rates contradict each other, and
    `ConfigurationError`, once all others are priced, where one is for hours in a zone that this host doesn't know.
    """
    with reading(engine) as conn:
        edition, found, present = _edition(conn), _found(conn, which), _Present(conn)
    done, tally = Restated(), _Tally(present.change)
    failed: ConfigurationError | None = None
    for part in _parts(which, found, present.book):
        order = Order(KIND, _what(part.which, edition), who, why or part.why)
        told = partial(_tell, progress, done)
        try:
            done += _price(engine, order, part, tally.change, clock, dry_run=dry_run, progress=told)
        except ConfigurationError as error:  # this host doesn't know the zone of a line: of other models it may
            failed = error
    if failed is not None:
        raise failed
    if which.unpriced_only and not dry_run:
        _close(engine, clock(), partial(_is_done_with, which, present.aliases, edition))
    with reading(engine) as conn:
        recosts, is_overtaken = tuple(_recosts(conn, done)), _edition(conn) != edition
        unpriced = _unpriced(conn, which, list(found))
    left = unpriced - tally.priced if dry_run else unpriced
    return Rerated(edition, tuple(found), tuple(sorted(tally.priced)), left, done, recosts, is_overtaken)


def end_begun(engine: Engine, which: Which, would: Rerated, now: datetime) -> None:
    """End what was begun of these calls and was interrupted, after a dry run that found nothing left to change."""
    what = _what(which, would.edition)
    with reading(engine) as conn:
        aliases = aliaslines.in_force(conn)
    if which.unpriced_only:
        _close(engine, now, partial(_is_done_with, which, aliases, would.edition))
    else:
        _close(engine, now, lambda begun: begun == what or _is_of_former_rates(what, begun))


def price_arrivals(engine: Engine, clock: Clock, who: str, progress: Progress | None = None) -> Rerated | None:
    """Price the calls without a rate for which one arrived since this was last done; None where none did.

    Any number may do so at once, and whoever is killed, or stopped by what `progress` raises, is made up for by the
    next, which goes on where that was: last of all it is written down that it is done for the rates as they were then.
    """
    with reading(engine) as conn:
        edition, priced = conn.execute(sa.select(store.c.rates_edition, store.c.priced_edition)).one()
    if edition <= priced:
        return None
    rerated = rerate(engine, Which(unpriced_only=True), clock, who, progress=progress)
    behind = sa.update(store).where(store.c.priced_edition < edition)
    transact(engine, lambda conn: conn.execute(behind.values(priced_edition=edition)))
    return rerated


@dataclass(frozen=True, slots=True)
class _Part:
    """Calls that are priced by one restatement; `why` that is, where nobody says.

    Those that are meant all began in the span, which says where to look for them.
    """

    which: Which
    calls: ColumnElement[bool]
    span: "_Span"
    why: str = ""


_Span = tuple[datetime | None, datetime | None]
"""From the first instant, included, to the second, left out; None: open."""


class _Present:
    """The rates as they are, read anew where they have become others."""

    def __init__(self, conn: Connection) -> None:
        self._read(conn)

    def _read(self, conn: Connection) -> None:
        self.edition, self.book, self.aliases = _edition(conn), ratebook.book(conn), aliaslines.in_force(conn)

    def change(self, conn: Connection, rows: Sequence[Row]) -> Mapping[UUID, Mapping[str, Any]]:
        """See `restate.Change`: while it changes calls the rates stay as they are."""
        if self.edition != _edition(conn):
            self._read(conn)
        return {row["id"]: _stamps(self.book, row) for row in rows}


class _Tally:
    """Does a change, and counts by model how many of the calls that are looked at get a rate, less those that lose it.

    Only a dry run counts each once, as another may have to take a step again.
    """

    def __init__(self, change: Change) -> None:
        self._change, self.priced = change, Counter[Model]()

    def change(self, conn: Connection, rows: Sequence[Row]) -> Mapping[UUID, Mapping[str, Any]]:
        changes = self._change(conn, rows)
        for row in rows:
            was, is_ = row["rate_id"], changes[row["id"]]["rate_id"]
            self.priced[row["provider"], row["model"]] += (is_ != UNPRICED) - (was != UNPRICED)
        return changes


_READS = (*ratestamps.READ, *ratestamps.COLUMNS)


def _stamps(book: RateBook, row: Row) -> dict[str, Any]:
    return dict(zip(ratestamps.COLUMNS, ratestamps.by_rate(book, ratestamps.in_books(row)), strict=True))


def _edition(conn: Connection) -> int:
    return int(conn.execute(sa.select(store.c.rates_edition)).scalar_one())


def _price(
    engine: Engine, order: Order, part: _Part, change: Change, clock: Clock, *, dry_run: bool, progress: Progress
) -> Restated:
    if not dry_run:
        _close(engine, clock(), partial(_is_of_former_rates, order.what))
    first, end = part.span
    span: dict[str, Any] = {"first": first, "end": end, "reads": _READS, "sparse": part.which.unpriced_only}
    return restate(engine, order, part.calls, change, clock, **span, dry_run=dry_run, progress=progress)


def _tell(progress: Progress | None, before: Restated, more: Restated) -> None:
    if progress is not None:
        progress(before + more)


def _parts(which: Which, models: Mapping[Model, _Span], book: RateBook) -> Iterator[_Part]:
    """All calls at once, in the order of their ids; unpriced ones by model, as their index finds them."""
    if not which.unpriced_only:
        if models:
            yield _Part(which, _of_models(list(models)), _within(which, models.values()))
        return
    for provider, model in models:
        if lines := [one.rate for one in book.considered(provider, model)]:
            first, end = _within(which, [(line.valid_from, line.period.end) for line in lines])
            narrowed = replace(which, provider=provider, model=model, first=first, end=end)
            calls_of = _WITHOUT_RATE & _of_models([(provider, model)])
            yield _Part(narrowed, calls_of, (first, end), _arrived(lines))


# Not as a parameter: the database must see that this is what its index of unpriced calls is of.
_WITHOUT_RATE = calls.c.rate_id == sa.literal_column("0")


def _unpriced(conn: Connection, which: Which, models: Sequence[Model]) -> "Counter[Model]":
    """How many of the calls have no rate."""
    if not models:
        return Counter()
    named = calls.c.provider, calls.c.model
    chosen = sa.and_(_WITHOUT_RATE, _of_models(models), *began(which.first, which.end))
    rows = conn.execute(sa.select(*named, sa.func.count()).where(chosen).group_by(*named))
    return Counter({(provider, model): number for provider, model, number in rows})


def _of_models(models: Sequence[Model]) -> ColumnElement[bool]:
    by_provider: dict[str, list[str]] = {}
    for provider, model in models:
        by_provider.setdefault(provider, []).append(model)
    return sa.or_(*(_of(provider, names) for provider, names in by_provider.items()))


def _of(provider: str, models: Sequence[str]) -> ColumnElement[bool]:
    named = calls.c.model == models[0] if len(models) == 1 else calls.c.model.in_(models)
    return sa.and_(calls.c.provider == provider, named)


def _within(which: Which, spans: Collection[_Span]) -> _Span:
    """The time that is meant, as far as it is from the first start of a span to the last end of one."""
    starts, ends = zip(*spans, strict=True)
    first = None if None in starts else min(starts)
    end = None if None in ends else max(ends)
    return max(filter(None, (first, which.first)), default=None), min(filter(None, (end, which.end)), default=None)


def _arrived(lines: Sequence[Rate]) -> str:
    named = ", ".join(f"{line}" for line in lines[:NAMED])
    return f"There are rates now: {named}{f' and {len(lines) - NAMED:,} more' if len(lines) > NAMED else ''}."


def _what(which: Which, edition: int) -> dict[str, str]:
    """What one is told from another by; the rates, too, as what was done by others is not done by these."""
    return {
        "provider": which.provider or "",
        "model": which.model or "",
        "since": which.first.isoformat() if which.first else "",
        "until": which.end.isoformat() if which.end else "",
        "calls": _UNPRICED if which.unpriced_only else "all",
        "rates": f"{_RATES}{edition}",
    }


def _close(engine: Engine, now: datetime, is_over: Callable[[Mapping[str, str]], bool]) -> None:
    """End what was begun and was killed, where nobody goes on with it."""

    def left(conn: Connection) -> list[sa.Row[Any]]:
        unfinished = sa.select(restatements).where(restatements.c.kind == KIND, restatements.c.ended_at.is_(None))
        return [row for row in conn.execute(unfinished) if is_over(row.what)]

    def end(conn: Connection) -> None:
        for row in left(conn):
            (close if row.what["calls"] == _UNPRICED else finish)(conn, row.id, now)

    with reading(engine) as conn:
        found = left(conn)
    if found:
        transact(engine, end)


def _is_of_former_rates(what: Mapping[str, str], begun: Mapping[str, str]) -> bool:
    """Whether the same calls were to be priced, by rates before these."""
    return _edition_of(begun) < _edition_of(what) and {**begun, "rates": ""} == {**what, "rates": ""}


def _is_done_with(which: Which, aliases: Aliases, edition: int, begun: Mapping[str, str]) -> bool:
    """Whether it was about unpriced calls that are all meant, by rates no newer than those of the edition.

    Then what is left of it is done, or could not be. One about other calls, or by newer rates, may well be at work.
    """
    is_meant = begun["calls"] == _UNPRICED and which.is_of(begun["provider"], begun["model"], aliases)
    return is_meant and _edition_of(begun) <= edition and which.spans(*map(_instant, (begun["since"], begun["until"])))


def _edition_of(what: Mapping[str, str]) -> int:
    return int(what["rates"].removeprefix(_RATES))


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def models(conn: Connection, which: Which) -> tuple[Model, ...]:
    """The models of the calls in the books that are meant."""
    return tuple(_found(conn, which))


def _found(conn: Connection, which: Which) -> dict[Model, _Span]:
    """Each in its order, with the time in which its calls began, where that is known."""
    found: Mapping[Model, _Span]
    found = dict.fromkeys(_unpriced_models(conn), (None, None)) if which.unpriced_only else _known_models(conn, which)
    aliases = aliaslines.in_force(conn)
    return {model: found[model] for model in sorted(found) if which.is_of(*model, aliases)}


def _known_models(conn: Connection, which: Which) -> dict[Model, tuple[datetime, datetime]]:
    """From the spend tables, and from the calls that are not in them yet."""
    unrolled = sa.select(batches.c.id).where(batches.c.rolled_at.is_(None))
    every = sa.union_all(_days(spend_days, which), _days(calls, which).where(calls.c.batch_id.in_(unrolled)))
    found: dict[Model, tuple[datetime, datetime]] = {}
    for provider, model, first, last in conn.execute(every):
        span = _midnight(first - _FAR), _midnight(last + _FAR)
        known = found.setdefault((provider, model), span)
        found[provider, model] = min(known[0], span[0]), max(known[1], span[1])
    return found


def _days(table: sa.Table, which: Which) -> sa.Select[Any]:
    """The first and the last that calls of each model were billed on, of those that may have begun when it is meant."""
    day, model = table.c.billed_on, (table.c.provider, table.c.model)
    days = sa.select(*model, sa.func.min(day), sa.func.max(day)).group_by(*model)
    if which.first is not None:
        days = days.where(day >= which.first.date() - _FAR)
    return days if which.end is None else days.where(day <= which.end.date() + _FAR)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _unpriced_models(conn: Connection) -> set[Model]:
    """One step of their index for each."""
    this = sa.tuple_(calls.c.provider, calls.c.model)
    first = sa.select(this.clauses[0], this.clauses[1]).where(_WITHOUT_RATE).order_by(*this.clauses).limit(1)
    found: set[Model] = set()
    row = conn.execute(first).first()
    while row is not None:
        found.add((row.provider, row.model))
        row = conn.execute(first.where(this > sa.tuple_(sa.literal(row.provider), sa.literal(row.model)))).first()
    return found


def _recosts(conn: Connection, done: Restated) -> Iterator[Recost]:
    names = {project.id: project.name for project in conn.execute(sa.select(projects.c.id, projects.c.name))}
    for place in sorted({*done.costs_before, *done.costs_after}):
        before, after = (costs.get(place, NO_CALLS) for costs in (done.costs_before, done.costs_after))
        project = names.get(place.project_id, f"{place.project_id}")
        counts = before.calls, after.calls
        yield Recost(project, place.month, place.currency, *counts, before.amount, after.amount)
