"""What the calls say by themselves: their stamps, and the sums of a day, in Python and by other code than the rollup's.

The calls of a day are found by their ids, whose time is the call's start. So one that is billed on another day than
its start says is met where it belongs, and named.
"""

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any, get_args, get_type_hints

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import ratebook
from accounting.aliases import NO_ALIASES, Aliases
from accounting.contributions import ANOMALY, ESTIMATES, REFUSAL, STATED, TAG, USER
from accounting.differences import Difference, instant, microseconds, text_at
from accounting.money import EXACT, ZERO
from accounting.projects import Calendar
from accounting.ratebook import Line
from accounting.rates import ANY_TIER, UNPRICED, Rate, tier_of
from accounting.rawcalls import Call
from accounting.resolution import is_for, names
from accounting.stated import StatedAs
from accounting.store import aliaslines
from accounting.store.tables import store
from accounting.usage import APART, COUNTED, Outcome

Group = tuple[Any, ...]
"""The key of a row of a spend table, in the order of its columns, raw."""

Figures = tuple[int, ...]
"""Counts, quantities, estimates and how many calls these are of, in the order of `FIGURES`."""

Sums = dict[Group, Figures]

_QUARTER = 15 * 60 * 1_000_000
_CLOCKS_APART = 60 * 60 * 1_000_000
_APART = APART // timedelta(microseconds=1)
_DAY = timedelta(days=1)

_KINDS = {name: {*(get_args(hint) or (hint,))} for name, hint in get_type_hints(Call).items()}
_GROUP = slice(Call._fields.index("quarter"), Call._fields.index("effort") + 1)
_QUANTITIES = slice(Call._fields.index(COUNTED[0]), Call._fields.index(ESTIMATES[-1]) + 1)


@dataclass(frozen=True, slots=True)
class Days:
    """Which day a call is billed on, and when a day is; each quarter hour is looked up once."""

    calendar: Calendar
    _known: dict[tuple[int, int], str | None] = field(default_factory=dict)

    def span(self, day: date) -> tuple[datetime, datetime]:
        """From when to when it is the day for anybody, and what an id may be off."""
        everybody = {self.calendar.books, *self.calendar.own.values()}
        first, end = min(days.start(day) for days in everybody), max(days.start(day + _DAY) for days in everybody)
        return first - APART, end + APART

    def of(self, project: int, at: int) -> str:
        """The day on which the project's calls of that microsecond are billed."""
        start = at - at % _QUARTER
        if (project, start) not in self._known:
            ends = {self._day(project, start), self._day(project, start + _QUARTER - 1)}
            # Not one day where a clock goes back over midnight within a quarter hour, as St John's did.
            self._known[project, start] = ends.pop() if len(ends) == 1 else None
        return self._known[project, start] or self._day(project, at)

    def _day(self, project: int, at: int) -> str:
        return self.calendar.billed_on(project, instant(at)).isoformat()


@dataclass(frozen=True, slots=True)
class Held:
    """A rate, from when to when it holds, when it was withdrawn, in microseconds, and the names that models go by."""

    rate: Rate
    start: int
    end: float
    withdrawn: float = math.inf
    aliases: Aliases = NO_ALIASES
    _known: dict[str, bool] = field(default_factory=dict)

    def covers(self, call: Call) -> bool:
        rate = self.rate
        is_its = rate.provider == call.provider and (rate.model == call.model or self._is_known_as(call.model))
        return is_its and self.start <= call.started_at < self.end and self._fits(call)

    def was_gone(self, call: Call) -> bool:
        """Whether it had been withdrawn when the call came in; by the clocks of two hosts, so give or take a while."""
        return call.received_at is not None and call.received_at > self.withdrawn + _CLOCKS_APART

    def _is_known_as(self, model: str) -> bool:
        if model not in self._known:
            self._known[model] = is_for(self.rate, names(self.aliases, self.rate.provider, model))
        return self._known[model]

    def _fits(self, call: Call) -> bool:
        rate = self.rate
        if rate.service_tier != ANY_TIER and rate.service_tier != tier_of(call.service_tier):
            return False
        if rate.context_above and (call.input_tokens or 0) <= rate.context_above:
            return False
        return rate.hours is None or instant(call.started_at) in rate.hours


class Rates(dict[int, Held]):
    """The rates of the books by id; read once, and again where lines or aliases came in since."""

    _edition: int | None = None

    def learn(self, conn: Connection, ids: Collection[int]) -> None:
        edition = conn.scalar(sa.select(store.c.rates_edition))
        if edition != self._edition or not self.keys() >= {*ids} - {UNPRICED}:
            # By whatever led from one name to another at any time: a call keeps the rate that it once got by it.
            # And however many names that makes: those that were in the way of others then may be withdrawn since.
            ever = (rule for rule in aliaslines.read(conn, withdrawn=True) if not rule.keeps)
            aliases = Aliases(ever, most=math.inf)
            self.update((line.rate.id, _held(line, aliases)) for line in ratebook.lines(conn, withdrawn=True))
            self._edition = edition


def _held(line: Line, aliases: Aliases) -> Held:
    rate = line.rate
    end, withdrawn = (math.inf if at is None else microseconds(at) for at in (rate.period.end, line.withdrawn_at))
    return Held(rate, microseconds(rate.valid_from), end, withdrawn, aliases)


@dataclass(slots=True)
class Recount:
    """What the calls of one day say, taken in bunch by bunch.

    A call is counted on the day that its start says, and added up on the one that it is billed on: `sums` hold those
    rolled up by the key of a quarter hour's row, `labels` by all that a row by tag follows from. `stated` is what their
    providers said that they cost, by the key of the row that says so.
    """

    day: str
    days: Days
    rates: Rates
    calls: int = 0
    rolled: int = 0
    sums: Sums = field(default_factory=dict)
    labels: Sums = field(default_factory=dict)
    stated: dict[Group, Decimal] = field(default_factory=dict)
    _ids: Counter[tuple[int | None, ...]] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def take(self, bunch: Sequence[Call]) -> None:
        groups: dict[Group, list[Figures]] = {}
        labels: dict[Group, list[Figures]] = {}
        for call in bunch:
            self._check(call)
            if call.is_rolled and call.billed_on == self.day:
                figures = _figures(call)
                group: Group = call[_GROUP]  # type: ignore[assignment] # mypy takes a slice for one column
                groups.setdefault(group, []).append(figures)
                mark = call.mark
                if _is_labelled(call, mark):
                    labels.setdefault(_label(call, mark), []).append(figures)
                if mark is not None:
                    self._state(call, mark)
        _add(self.sums, groups)
        _add(self.labels, labels)

    def by_tag(self) -> Sums:
        """The sums by tag, end user, anomaly, stated cost and refusal, each call once under each of its own."""
        spread: dict[Group, list[Figures]] = {}
        for (tags, user, anomalies, mark, refused_by, *rest), figures in self.labels.items():
            some = ((USER, user), (STATED, mark), (REFUSAL, refused_by))
            ones = [(what, value) for what, value in some if value is not None]
            flags = [(ANOMALY, name) for name in _anomalies(anomalies) or ()]
            for tag, value in (*(_tags(tags) or {}).items(), *ones, *flags):
                spread.setdefault((tag, self.day, value, *rest), []).append(figures)
        sums: Sums = {}
        _add(sums, spread)
        return sums

    def named(self) -> Counter[tuple[str, int]]:
        """How many calls name which project, key or source, or a batch that is not there."""
        found: Counter[tuple[str, int]] = Counter()
        for ids, number in self._ids.items():
            for what, id_ in zip(("project_id", "key_id", "source_id", "batch_id"), ids, strict=True):
                if id_ is not None:
                    found[what, id_] += number
        return found

    def readable(self, bunch: Sequence[Call]) -> Sequence[Call]:
        """The calls whose every value is of its kind: SQLite keeps whatever somebody puts into a column."""
        odd: dict[str, Difference] = {}
        for name, column in zip(Call._fields, zip(*bunch, strict=True), strict=False):
            if not _KINDS[name].issuperset(map(type, column)):
                odd.update(
                    (call.id, _odd(call, name)) for call in bunch if type(getattr(call, name)) not in _KINDS[name]
                )
        self.differences += odd.values()
        return [call for call in bunch if call.id not in odd] if odd else bunch

    def _state(self, call: Call, mark: str) -> None:
        group = (STATED, self.day, mark, call.project_id, call.rate_id, call.usage_source)
        self.stated[group] = EXACT.add(self.stated.get(group, ZERO), call.stated or ZERO)

    def _check(self, call: Call) -> None:
        """If it is a call of the day: counts it, and names what was stamped on it and does not follow from it."""
        is_apart = abs(call.started_at - call.id_at) > _APART
        home = self.days.of(call.project_id, call.id_at if is_apart else call.started_at)
        if home != self.day:
            return
        self._count(call)
        if is_apart:
            self.differences.append(_wrong_start(call))
        quarter, model = call.started_at - call.started_at % _QUARTER, call.response_model or call.request_model or ""
        if (call.quarter, call.billed_on, call.model) != (quarter, home, model):
            self.differences += _wrong(call, quarter=quarter, billed_on=home, model=model)
        if call.source_id != call.batch_source_id is not None:
            expected = f"{call.batch_source_id}, as its batch"
            self.differences.append(Difference("calls", call.name, "source_id", expected, str(call.source_id)))
        if call.outcome not in _OUTCOMES:
            self.differences.append(
                Difference("calls", call.name, "outcome", "one of " + ", ".join(Outcome), call.outcome)
            )
        if _tags(call.tags) is None:
            self.differences.append(Difference("calls", call.name, "tags", "a JSON object of texts", call.tags))
        self.differences += _wrong_statement(call)
        if _anomalies(call.anomalies) is None:
            expected = "a JSON array of texts"
            self.differences.append(Difference("calls", call.name, "anomalies", expected, call.anomalies))
        rate = self.rates.get(call.rate_id)
        if call.rate_id != UNPRICED and (rate is None or not rate.covers(call)):
            self.differences.append(_wrong_rate(call, rate))
        elif rate is not None and rate.was_gone(call):
            self.differences.append(_rate_gone(call, rate))

    def _count(self, call: Call) -> None:
        self.calls += 1
        self.rolled += call.is_rolled or 0
        batch = call.batch_id if call.is_rolled is None else None
        self._ids[call.project_id, call.key_id, call.source_id, batch] += 1


def _odd(call: Call, column: str) -> Difference:
    expected = " or ".join(_SPELT[kind] for kind in sorted(_KINDS[column], key=str))
    return Difference("calls", str(call.id), column, expected, repr(getattr(call, column)))


_OUTCOMES = {*map(str, Outcome)}
_SPELT = {int: "a whole number", str: "text", NoneType: "nothing"}


def _wrong_start(call: Call) -> Difference:
    expected = f"the time in its id, {text_at(call.id_at)}"
    return Difference("calls", call.name, "started_at", expected, text_at(call.started_at))


def _wrong(call: Call, **expected: Any) -> Iterator[Difference]:
    for column, value in expected.items():
        if (found := getattr(call, column)) != value:
            spelt = (text_at(value), text_at(found)) if column == "quarter" else (value, found)
            yield Difference("calls", call.name, column, *spelt)


def _wrong_rate(call: Call, held: Held | None) -> Difference:
    at = f"{instant(call.started_at):%Y-%m-%d %H:%M:%S}Z"
    tier = tier_of(call.service_tier)
    long = f" for {call.input_tokens or 0:,} input tokens" if held is not None and held.rate.context_above else ""
    expected = f"a rate of {call.provider}/{call.model}{tier and f' ({tier})'} that holds at {at}{long}"
    return Difference("calls", call.name, "rate_id", expected, str(call.rate_id if held is None else held.rate))


def _rate_gone(call: Call, held: Held) -> Difference:
    expected = f"a rate that was in force when the call came in, at {text_at(call.received_at)}"
    return Difference("calls", call.name, "rate_id", expected, f"{held.rate}, withdrawn at {text_at(held.withdrawn)}")


def _is_labelled(call: Call, mark: str | None) -> bool:
    """Whether a row by tag follows from the call."""
    ones = (call.end_user, mark, call.refused_by)
    return ones != (None, None, None) or call.tags != "{}" or call.anomalies != "[]"


def _label(call: Call, mark: str | None) -> Group:
    said = (call.tags, call.end_user, call.anomalies, mark, call.refused_by)
    return *said, call.project_id, call.rate_id, call.usage_source


def _wrong_statement(call: Call) -> Iterator[Difference]:
    """A stated cost that is not whole: its amount, its currency and how it stands to ours come together."""
    said = call.stated_as, call.provider_cost, call.provider_cost_currency
    if said == (None, None, None):
        return
    if None in said:
        column = ("stated_as", "provider_cost", "provider_cost_currency")[said.index(None)]
        yield Difference("calls", call.name, column, "all of a cost that the provider stated, or none", "nothing")
    if call.stated_as is not None and call.stated_as not in _STANDINGS:
        yield Difference("calls", call.name, "stated_as", "one of " + ", ".join(StatedAs), call.stated_as)
    if call.provider_cost is not None and call.stated is None:
        yield Difference("calls", call.name, "provider_cost", "an amount", call.provider_cost)


_STANDINGS = {*map(str, StatedAs)}


@lru_cache(maxsize=4096)
def _tags(tags: str) -> dict[str, str] | None:
    """The values of a call's tags, by how a row by tag names these; None where they can't be read."""
    try:
        found = json.loads(tags).items()
    except (ValueError, AttributeError):
        return None
    return {TAG + tag: value for tag, value in found} if all(isinstance(value, str) for _, value in found) else None


@lru_cache(maxsize=4096)
def _anomalies(anomalies: str) -> list[str] | None:
    """A call's anomalies; None where they can't be read."""
    try:
        found = json.loads(anomalies)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else None


_FINISHED: Figures = (1, 0, 0, 0, 0)
_COUNTS: dict[str, Figures] = {
    Outcome.FAILED: (1, 1, 0, 0, 0),
    Outcome.INTERRUPTED: (1, 0, 1, 0, 0),
    Outcome.UNKNOWN: (1, 0, 0, 1, 0),
}
_SUB_CALL: Figures = (0, 0, 0, 0, 1)
_ESTIMATED: Figures = (1,)
_NOT_ESTIMATED: Figures = (0,)


def _figures(call: Call) -> Figures:
    quantities: tuple[Any, ...] = call[_QUANTITIES]  # type: ignore[assignment] # as above
    if None in quantities:
        quantities = tuple([count or 0 for count in quantities])
    counts = _COUNTS.get(call.outcome, _FINISHED) if call.parent_id is None else _SUB_CALL
    is_estimated = call.estimated_input_tokens is not None or call.estimated_output_tokens is not None
    return counts + quantities + (_ESTIMATED if is_estimated else _NOT_ESTIMATED)


def _add(sums: Sums, groups: Mapping[Group, Sequence[Figures]]) -> None:
    for group, some in groups.items():
        held = sums.get(group)
        together = some if held is None else [held, *some]
        sums[group] = some[0] if len(together) == 1 else tuple(map(sum, zip(*together, strict=True)))
