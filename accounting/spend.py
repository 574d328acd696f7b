"""What was spent, and on what: the one place where quantities become the money of a report.

Reads the spend tables, so a month costs the same to read for a thousand calls or a billion. Every line and the
total say what they may hide: calls without usage, without a rate, interrupted, open, or not delivered yet.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import periods, ratebook, spend_rows
from accounting.aliases import Aliases
from accounting.contributions import COUNTS, ESTIMATED, ESTIMATES, TAG, USER
from accounting.errors import ConfigurationError
from accounting.fx import Exchange, to_convert
from accounting.keys import label
from accounting.money import ZERO, Money, by_currency
from accounting.rates import Rate, likely_cost, price, unpriced_units
from accounting.resolution import is_for, names
from accounting.sources import Completeness, complete_until
from accounting.spend_rows import IN_TIME, OF_SOME, Row, Scope, Slice, sliced
from accounting.store import aliaslines, ratelines, tables
from accounting.store.tables import keys, projects
from accounting.usage import COUNTED, Quantities, UsageSource

BY = ("key", "project", "model", "provider", "day", "month", "effort", "user", "anomaly", "refusal", "tag:KEY")
"""What a report can be grouped by, KEY being that of any tag."""

ALL = Scope()

_NONE = Quantities()


@dataclass(frozen=True, slots=True)
class Estimated:
    """What `calls` without their whole usage likely used beyond what was stated, and cost at their rates."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    spent: Mapping[str, Decimal] = field(default_factory=dict)


_NO_ESTIMATE = Estimated()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLine:
    """Spend of one group.

    `id` tells groups apart where `group`, its label, need not: a key's fingerprint. It is empty for calls without the
    tag, and also for those whose tag is empty, which the label tells. `calls` includes `failed`,
    `interrupted` and `unknown` ones, and none of the `sub_calls`, which are other models' work inside them and are in
    all that follows. `usage_missing` calls didn't fail and yet nobody said what they used, of `usage_partial` ones only
    a part is known; `unpriced` ones used something that no rate covers, and `unpriced_units` are searches, images or
    seconds of audio that their rate has no price for. `spent` leaves out what is not known; `estimated` stands beside.
    """

    group: str
    id: str
    calls: int = 0
    failed: int = 0
    interrupted: int = 0
    unknown: int = 0
    sub_calls: int = 0
    usage_missing: int = 0
    usage_partial: int = 0
    unpriced: int = 0
    unpriced_units: Mapping[str, int] = field(default_factory=dict)
    quantities: Quantities = _NONE
    spent: Mapping[str, Decimal] = field(default_factory=dict)
    estimated: Estimated = _NO_ESTIMATE


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    """Calls that used something and have no rate, by the names that a rate card must give.

    It `has_rate` where a line is for the model by now, if for another service tier or time than the calls'.
    """

    provider: str
    model: str
    calls: int
    has_rate: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Lines that add up to the total, and how far in time the total is complete.

    By anomaly and refusal they don't: a call is in the line of each anomaly, and in that of the budget that refused it,
    and may be in none; the total is of all calls, of which budgets `refused` so many, None where nobody counts that.
    `rejected` delivered calls were put aside, `conflicts` came again with other contents, unsettled; both are counted
    over all time, are kept with their bytes, and are in no line. `known_tags` is given where the grouping is by a tag.
    `exchange` brings its money together in one currency, where that was asked for.
    """

    by: str
    lines: tuple[SpendLine, ...]
    total: SpendLine
    completeness: Completeness
    rejected: int = 0
    conflicts: int = 0
    unpriced_models: tuple[UnpricedModel, ...] = ()
    scope: Scope = ALL
    known_tags: tuple[str, ...] | None = None
    exchange: Exchange | None = None
    refused: int | None = None

    @property
    def currencies(self) -> list[str]:
        """Those in which there is any money, in the order of their codes."""
        return to_convert(self.total.spent, self.total.estimated.spent)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the books know it; the key itself is nowhere in them. `name` is what people call it."""

    fingerprint: str
    last4: str
    name: str | None = None

    @property
    def label(self) -> str:
        if self.fingerprint.startswith("("):  # in place of one: see `unknown`
            return self.fingerprint
        return label(self.fingerprint, self.last4, self.name)


def spend(
    conn: Connection,
    by: str,
    first: date | None,
    end: date | None,
    zone: ZoneInfo | None = None,
    scope: Scope = ALL,
    *,
    now: datetime,
) -> Report:
    """Spend of the days from `first`, included, to `end`, left out (None: open), grouped by one of `BY`.

    Days are the books' own, or the zone's. Days and months come in order of time, all else by what was spent,
    the most first. Each call is in one line: those without the tag, or the user, have one of their own; but by anomaly
    and by refusal see `Report`. Only what is rolled up counts; the total's completeness says what is not.
    """
    _refuse(by, zone, scope)
    part = sliced(conn, scope, first, end, zone)
    rates = {rate.id: rate for rate in ratebook.rates(conn)}
    lines = _lines(conn, by, part, rates)
    every = [_line("", "", row, rates) for row in spend_rows.everything(conn, part)] if by in OF_SOME else lines
    total = added("total", "", every)
    return Report(
        by=by,
        lines=tuple(_ordered(lines, by, total)),
        total=total,
        completeness=complete_until(conn, now),
        rejected=_unsettled(conn, tables.rejected),
        conflicts=_unsettled(conn, tables.conflicts),
        unpriced_models=unpriced_models(conn, now, part) if total.unpriced else (),
        scope=scope,
        known_tags=spend_rows.known_tags(conn) if by.startswith(TAG) else None,
        refused=spend_rows.refused(conn, part),
    )


def in_one(report: Report, exchange: Exchange) -> Report:
    """The report with its money in one currency, too; the most spent first by that."""
    lines = report.lines
    if report.by not in IN_TIME:
        lines = tuple(sorted(lines, key=lambda line: -(exchange.total(line.spent) or ZERO)))
    return replace(report, lines=lines, exchange=exchange)


def unpriced_models(conn: Connection, now: datetime, part: Slice | None = None) -> tuple[UnpricedModel, ...]:
    """What the unpriced calls of the slice were of, the most calls first; left out are those that named no model."""
    rows = spend_rows.unpriced(conn, part or Slice())
    # Not from a `RateBook`: it refuses lines that contradict each other, and the report must come all the same.
    held = ratelines.read(conn, withdrawn=False, providers={provider for provider, _, _ in rows})
    now_held = [rate for rate in held if now in rate.period]
    aliases = Aliases(aliaslines.read(conn, withdrawn=False))
    return tuple(UnpricedModel(*row, _is_rated(now_held, row[0], names(aliases, *row[:2]))) for row in rows)


def _is_rated(held: Iterable[Rate], provider: str, names: Sequence[str]) -> bool:
    return any(rate.provider == provider and is_for(rate, names) for rate in held)


def added(group: str, id_: str, lines: Iterable[SpendLine]) -> SpendLine:
    """The sum of the lines, each currency by itself."""
    some = list(lines)
    return SpendLine(
        group=group,
        id=id_,
        calls=sum(line.calls for line in some),
        failed=sum(line.failed for line in some),
        interrupted=sum(line.interrupted for line in some),
        unknown=sum(line.unknown for line in some),
        sub_calls=sum(line.sub_calls for line in some),
        usage_missing=sum(line.usage_missing for line in some),
        usage_partial=sum(line.usage_partial for line in some),
        unpriced=sum(line.unpriced for line in some),
        unpriced_units=_units(line.unpriced_units for line in some),
        quantities=Quantities(*(sum(counts) for counts in zip(*(line.quantities for line in some), strict=True))),
        spent=_together(line.spent for line in some),
        estimated=_estimated([line.estimated for line in some]),
    )


def _units(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part)
    return {name: sums[name] for name in COUNTED if name in sums}


def _together(parts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    return by_currency(Money(amount, code) for part in parts for code, amount in part.items())


def _estimated(parts: Sequence[Estimated]) -> Estimated:
    return Estimated(
        sum(part.calls for part in parts),
        sum(part.input_tokens for part in parts),
        sum(part.output_tokens for part in parts),
        _together(part.spent for part in parts),
    )


def project_names(conn: Connection) -> dict[int, str]:
    """Names of the projects, by id."""
    return {project.id: project.name for project in conn.execute(sa.select(projects.c.id, projects.c.name))}


def known_keys(conn: Connection) -> dict[int, Key]:
    """The keys that have made calls, by id."""
    return {key.id: Key(key.fingerprint, key.last4, key.name) for key in conn.execute(sa.select(keys))}


def unknown(what: str, id_: int) -> str:
    """The label of an id that nothing in the books goes by, as after a careless edit; `accounting verify` names it."""
    return f"(unknown {what} {id_})"


def _refuse(by: str, zone: ZoneInfo | None, scope: Scope) -> None:
    is_tag = by in (USER, *OF_SOME) or (by.startswith(TAG) and by not in (TAG, BY[-1]))
    if by not in BY[:-1] and not is_tag:
        raise ConfigurationError(f"Can't group by {by!r}; expected one of {', '.join(BY)}, KEY being that of a tag.")
    if is_tag and zone is not None:
        raise ConfigurationError(
            f"Spend by {by} is kept by the books' own days, not by those of a zone: leave out --tz."
        )
    if is_tag and scope.keys:
        raise ConfigurationError(f"Spend by {by} is kept by project, not by key: leave out --key, or group by key.")


def _lines(conn: Connection, by: str, part: Slice, rates: Mapping[int, Rate]) -> list[SpendLine]:
    named = _naming(conn, by, part.zone)
    parts: dict[tuple[str, str], list[SpendLine]] = {}
    for row in spend_rows.rows(conn, by, part):
        group, id_ = named(row["subject"])
        parts.setdefault((id_, group), []).append(_line(group, id_, row, rates))
    return [added(group, id_, some) for (id_, group), some in parts.items()]


def _line(group: str, id_: str, row: Row, rates: Mapping[int, Rate]) -> SpendLine:
    calls, failed, interrupted, never_known, sub_calls, *counts = (row[name] for name in (*COUNTS, *COUNTED))
    rate = rates.get(row["rate_id"])
    missing = row["usage_source"] == UsageSource.MISSING
    quantities, all_calls = Quantities(*counts), calls + sub_calls
    return SpendLine(
        group=group,
        id=id_,
        calls=calls,
        failed=failed,
        interrupted=interrupted,
        unknown=never_known,
        sub_calls=sub_calls,
        usage_missing=all_calls - failed if missing else 0,
        usage_partial=all_calls if row["usage_source"] == UsageSource.PARTIAL else 0,
        unpriced=all_calls if rate is None and not missing else 0,
        unpriced_units={} if rate is None else unpriced_units(quantities, rate),
        quantities=quantities,
        spent={} if rate is None else by_currency([price(quantities, rate)]),
        estimated=_estimate(row, rate),
    )


def _estimate(row: Row, rate: Rate | None) -> Estimated:
    calls, tokens_in, tokens_out = (row[name] for name in (ESTIMATED, *ESTIMATES))
    if not calls:
        return _NO_ESTIMATE
    spent = {} if rate is None else by_currency([likely_cost(tokens_in, tokens_out, rate)])
    return Estimated(calls, tokens_in, tokens_out, spent)


def _naming(conn: Connection, by: str, zone: ZoneInfo | None) -> Callable[[Any], tuple[str, str]]:
    """What turns a subject of the spend tables into a group's label and id."""
    if by == "key":
        known = known_keys(conn)
        return lambda id_: (known[id_].label, known[id_].fingerprint) if id_ in known else (unknown(by, id_),) * 2
    if by == "project":
        names = project_names(conn)
        return lambda id_: (names.get(id_) or unknown(by, id_),) * 2
    if by in IN_TIME:
        digits = len("2026-11" if by == "month" else "2026-11-23")
        return lambda at: (_day(at, zone).isoformat()[:digits],) * 2
    if by in (USER, *OF_SOME) or by.startswith(TAG):
        nobody = "(no user)" if by == USER else "(untagged)"
        return lambda value: (nobody, "") if value is None else (value or "(empty)", value)
    return lambda name: (name or f"(no {by})", name)


def _day(at: Any, zone: ZoneInfo | None) -> date:
    return at if zone is None else periods.billed_on(at, zone)


def _unsettled(conn: Connection, table: sa.Table) -> int:
    return conn.execute(sa.select(sa.func.count()).where(table.c.settled_at.is_(None))).scalar_one()


def _ordered(lines: list[SpendLine], by: str, total: SpendLine) -> list[SpendLine]:
    if by in IN_TIME:
        return sorted(lines, key=lambda line: line.id)
    return sorted(lines, key=lambda line: ([-line.spent.get(code, 0) for code in total.spent], line.group, line.id))
