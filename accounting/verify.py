"""The books held against themselves: calls = quarter hours = days, to the last digit, and no number is missing.

Everything is recomputed in Python from the calls, by other code than the rollup's SQL, in one snapshot.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from accounting import periods, ratebook
from accounting.contributions import COUNTS, TOKENS, group_columns
from accounting.money import EXACT, exact, plain
from accounting.rates import UNPRICED, Rate, price
from accounting.spend import known_keys, project_names
from accounting.store import reading
from accounting.store.tables import (
    batches,
    calls,
    conflicts,
    keys,
    projects,
    received_ahead,
    rejected,
    sources,
    spend_days,
    spend_quarters,
    store,
)
from accounting.usage import Outcome, Quantities

Group = tuple[Any, ...]
"""The key of a `spend_quarters` row; without its first part, that of a `spend_days` row."""

FIGURES = (*COUNTS, *TOKENS)
READ_AT_ONCE = 10_000

_RATE = -3
_NOTHING = (0,) * len(FIGURES)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of the books that is not what the rest of them says."""

    table: str
    key: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table}, {self.key}: {self.column} is {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Verification:
    """How many calls were checked, how many of them are rolled up, and what did not agree."""

    calls: int
    rolled: int
    differences: tuple[Difference, ...]

    @property
    def balanced(self) -> bool:
        return not self.differences


class Row(NamedTuple):
    """What a spend row says: its counts and tokens, in the order of `FIGURES`, and what they cost."""

    figures: tuple[int, ...]
    amount: Decimal | None = None
    currency: str | None = None

    def columns(self) -> dict[str, Any]:
        figures = dict(zip(FIGURES, self.figures, strict=True))
        return {**figures, "amount": self.amount, "currency": self.currency}


@dataclass(slots=True)
class _Recount:
    """What the calls say by themselves, gathered in one pass."""

    zone: ZoneInfo
    rates: Mapping[int, Rate]
    rolled: frozenset[int]
    sums: dict[Group, list[int]] = field(default_factory=dict)
    by_batch: Counter[int] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def take(self, call: Any) -> None:
        self.by_batch[call.batch_id] += 1
        self.differences += _wrong_stamps(call, self.zone, self.rates)
        if call.batch_id in self.rolled:
            sums = self.sums.setdefault(_group(call), [*_NOTHING])
            for place, count in enumerate(_counts(call)):
                sums[place] += count


def verify(engine: Engine, progress: Callable[[int, int], object] | None = None) -> Verification:
    """Recomputes stamps, sums and batch counts from the calls; `progress` gets calls read, and calls in all."""
    with reading(engine) as conn:
        count = _recount(conn, progress)
        names = _Names(project_names(conn), {id_: key.label for id_, key in known_keys(conn).items()})
        counted = {group: _row(group, sums, count.rates) for group, sums in count.sums.items()}
        spend = _unbalanced(counted, _stored(conn, spend_quarters), _stored(conn, spend_days), count.rates, names)
        of_calls = (*count.differences, *_strangers(conn), *_wrong_batches(conn, count.by_batch))
        differences = (*of_calls, *spend, *_lost(conn))
    rolled = sum(number for batch, number in count.by_batch.items() if batch in count.rolled)
    return Verification(count.by_batch.total(), rolled, differences)


def _recount(conn: Connection, progress: Callable[[int, int], object] | None) -> _Recount:
    rates = {rate.id: rate for rate in ratebook.rates(conn)}
    rolled = conn.execute(sa.select(batches.c.id).where(batches.c.rolled_at.is_not(None))).scalars()
    zone = periods.zone(conn.execute(sa.select(store.c.zone)).scalar_one())
    count = _Recount(zone, rates, frozenset(rolled))
    total = conn.execute(sa.select(sa.func.count()).select_from(calls)).scalar_one()
    read = conn.execution_options(yield_per=READ_AT_ONCE).execute(sa.select(*_READ))
    for done, call in enumerate(read, 1):
        count.take(call)
        if progress is not None and (done == total or done % READ_AT_ONCE == 0):
            progress(done, total)
    return count


_READ = [
    column
    for column in calls.c
    if column.name in (*group_columns(spend_quarters), *TOKENS)
    or column.name in ("id", "batch_id", "outcome", "started_at", "request_model", "response_model")
]


def _group(call: Any) -> Group:
    return (
        call.quarter,
        call.billed_on,
        call.project_id,
        call.key_id,
        call.provider,
        call.model,
        call.rate_id,
        call.usage_source,
        call.effort,
    )


def _counts(call: Any) -> tuple[int, ...]:
    return (
        1,
        call.outcome == Outcome.FAILED,
        call.outcome == Outcome.INTERRUPTED,
        call.outcome == Outcome.UNKNOWN,
        call.input_tokens or 0,
        call.cache_read_tokens or 0,
        call.cache_write_tokens or 0,
        call.output_tokens or 0,
        call.reasoning_tokens or 0,
    )


def _wrong_stamps(call: Any, zone: ZoneInfo, rates: Mapping[int, Rate]) -> Iterator[Difference]:
    """What was stamped on the call at ingest and does not follow from it."""
    stamps = {
        "quarter": periods.quarter(call.started_at),
        "billed_on": periods.billed_on(call.started_at, zone),
        "model": call.response_model or call.request_model or "",
    }
    for column, expected in stamps.items():
        if (found := getattr(call, column)) != expected:
            yield Difference("calls", str(call.id), column, _text(expected), _text(found))
    if call.rate_id != UNPRICED and not _covers(rates.get(call.rate_id), call):
        expected = f"a rate of {call.provider}/{call.model} that holds at {call.started_at:%Y-%m-%d %H:%M:%S}Z"
        yield Difference("calls", str(call.id), "rate_id", expected, str(rates.get(call.rate_id, call.rate_id)))


def _covers(rate: Rate | None, call: Any) -> bool:
    return (
        rate is not None
        and (rate.provider, rate.model) == (call.provider, call.model)
        and call.started_at in rate.period
    )


def _wrong_batches(conn: Connection, by_batch: Mapping[int, int]) -> Iterator[Difference]:
    known = set()
    for batch in conn.execute(sa.select(batches).order_by(batches.c.id)):
        known.add(batch.id)
        became = batch.inserted + batch.duplicates + batch.superseded + batch.conflicts + batch.rejected
        for column, expected in (("inserted", by_batch.get(batch.id, 0)), ("entries", became)):
            if (found := getattr(batch, column)) != expected:
                yield Difference("batches", f"batch {batch.id}", column, str(expected), str(found))
    for id_ in sorted(set(by_batch) - known):
        yield Difference("calls", _calls(by_batch[id_]), "batch_id", "a batch in the books", str(id_))


def _strangers(conn: Connection) -> Iterator[Difference]:
    """Ids on calls that nothing in the books goes by."""
    for table, what in ((projects, "project"), (keys, "key"), (sources, "source")):
        id_ = calls.c[f"{what}_id"]
        unknown = sa.select(id_, sa.func.count()).outerjoin_from(calls, table, table.c.id == id_)
        for found, number in conn.execute(unknown.where(table.c.id.is_(None)).group_by(id_).order_by(id_)):
            yield Difference("calls", _calls(number), id_.name, f"a {what} in the books", str(found))


def _lost(conn: Connection) -> Iterator[Difference]:
    """Nothing is lost: of each journal all numbers up to `contiguous` are in the books, and the next one is not."""
    kept = (sa.select(table.c.source_id, table.c.number) for table in (calls, rejected, conflicts))
    here = sa.union(*kept).subquery()
    upto = sources.c.contiguous
    held = sa.func.count(sa.case((here.c.number.between(1, upto), 1))).label("held")
    more = sa.func.count(sa.case((here.c.number == upto + 1, 1))).label("more")
    is_next = sa.and_(received_ahead.c.source_id == sources.c.id, received_ahead.c.number == upto + 1)
    ahead = sa.select(sa.func.count()).where(is_next).scalar_subquery().label("ahead")
    query = sa.select(sources.c.journal, upto, held, more, ahead).outerjoin_from(
        sources, here, here.c.source_id == sources.c.id
    )
    for row in conn.execute(query.group_by(sources.c.id).order_by(sources.c.id)):
        journal, last = f"journal {row.journal}", row.contiguous
        if row.held != last:
            yield Difference("sources", journal, f"numbers here up to {last}", str(last), str(row.held))
        if row.more or row.ahead:
            yield Difference("sources", journal, "contiguous", f"{last + 1} or more", str(last))


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"


def _row(group: Group, figures: Iterable[int], rates: Mapping[int, Rate]) -> Row:
    """The figures with what they cost at the group's rate."""
    row = Row(tuple(figures))
    rate = rates.get(group[_RATE])
    if rate is None:
        return row
    cost = price(Quantities(*row.figures[len(COUNTS) :]), rate)
    return row._replace(amount=cost.amount, currency=cost.currency)


def _stored(conn: Connection, table: Table) -> dict[Group, Row]:
    group = group_columns(table)
    others = [column for column in table.c if column.name != "amount"]
    # The amount as text: one that is no number is a difference among others, and no reason to stop reading.
    amount = sa.cast(table.c.amount, sa.Text).label("amount_text")
    return {
        tuple(row[name] for name in group): Row(
            tuple(row[name] for name in FIGURES), _amount(row["amount_text"]), row["currency"]
        )
        for row in conn.execute(sa.select(*others, amount)).mappings()
    }


def _amount(text: str | None) -> Decimal | None:
    """NaN, which differs from everything, where the text is no number."""
    try:
        return None if text is None else exact(text)
    except ValueError:
        return Decimal("NaN")


def _by_day(quarters: Mapping[Group, Row]) -> dict[Group, Row]:
    days: dict[Group, Row] = {}
    for group, row in quarters.items():
        before = days.get(group[1:])
        days[group[1:]] = row if before is None else _plus(before, row)
    return days


def _plus(one: Row, other: Row) -> Row:
    amounts = [row.amount for row in (one, other) if row.amount is not None]
    return Row(
        tuple(map(add, one.figures, other.figures)),
        reduce(EXACT.add, amounts) if amounts else None,
        one.currency or other.currency,
    )


def _unbalanced(
    counted: Mapping[Group, Row],
    quarters: Mapping[Group, Row],
    days: Mapping[Group, Row],
    rates: Mapping[int, Rate],
    names: "_Names",
) -> Iterator[Difference]:
    """Two against one: where both spend tables agree and the calls don't, the calls (or their rate) were changed."""
    counted_days, quarter_days = _by_day(counted), _by_day(quarters)

    def rows(group: Group, *sums: Mapping[Group, Row]) -> list[Row]:
        return [some.get(group) or _row(group, _NOTHING, rates) for some in sums]

    for group in sorted({*counted, *quarters}):
        of_calls, stored = rows(group, counted, quarters)
        by_day = rows(group[1:], counted_days, quarter_days, days)
        for column in _differing(of_calls, stored):
            culprit = _outvoted(column, *by_day) or "spend_quarters"
            pair = (of_calls, stored) if culprit == "spend_quarters" else (stored, of_calls)
            yield _difference(culprit, names.quarter(group), column, *pair)
    for group in sorted({*counted_days, *days}):
        of_calls, of_quarters, stored = rows(group, counted_days, quarter_days, days)
        for column in _differing(of_calls, stored):
            if _outvoted(column, of_calls, of_quarters, stored) is None:
                yield _difference("spend_days", names.day(group), column, of_calls, stored)


def _differing(one: Row, other: Row) -> list[str]:
    found = other.columns()
    return [column for column, expected in one.columns().items() if expected != found[column]]


def _outvoted(column: str, of_calls: Row, of_quarters: Row, of_days: Row) -> str | None:
    """The table behind the calls' figure, where quarter hours and days both have another; else None."""
    if column in _differing(of_quarters, of_days) or column not in _differing(of_calls, of_days):
        return None
    return "rates" if of_calls.figures == of_days.figures else "calls"


def _difference(table: str, key: str, column: str, expected: Row, found: Row) -> Difference:
    return Difference(table, key, column, _text(expected.columns()[column]), _text(found.columns()[column]))


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return "no number" if value.is_nan() else plain(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z"
    return "nothing" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class _Names:
    """Spells out the key of a spend row, so that a difference can be read without looking up ids."""

    projects: Mapping[int, str]
    keys: Mapping[int, str]

    def quarter(self, group: Group) -> str:
        return f"{_text(group[0])}, {self.day(group[1:])}"

    def day(self, group: Group) -> str:
        day, project, key, provider, model, rate, usage, effort = group
        parts = (
            f"billed on {day}",
            f"project {self.projects.get(project, project)}",
            f"key {self.keys.get(key, key)}",
            f"{provider}/{model}",
            f"rate {rate}" if rate != UNPRICED else "unpriced",
            f"usage {usage}",
            *([f"effort {effort}"] if effort else []),
        )
        return ", ".join(parts)
