"""What a restatement did: to how many calls, and to what they cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple

from accounting.money import EXACT, ZERO, Money, by_currency
from accounting.rates import Rate, price
from accounting.usage import COUNTED, Quantities

Row = Mapping[Any, Any]
"""The columns of a call."""


class Place(NamedTuple):
    """Where calls stand in the books: the project's id, the first day of the month, the currency (empty: unpriced)."""

    project_id: int
    month: date
    currency: str


class Stretch(NamedTuple):
    """A budget in one of its periods: its name, its currency, and the day that the period begins on."""

    budget: str
    currency: str
    begins_on: date


class Cost(NamedTuple):
    """So many calls, and what they cost together; 0 where they are unpriced."""

    calls: int
    amount: Decimal

    def plus(self, other: "Cost") -> "Cost":
        return Cost(self.calls + other.calls, EXACT.add(self.amount, other.amount))


Costs = dict[Place, Cost]

NO_CALLS = Cost(0, ZERO)


@dataclass(frozen=True, slots=True)
class Edit:
    """A call that is to say something else: as it is, as it will be, and the columns in which that differs."""

    before: Row
    after: Row
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restated:
    """How many calls were looked at and how many changed, and what the changed ones cost by currency.

    Of the changed ones `recosted` cost something else, or have a price only before or only after; the others say
    something else at the same cost. `costs_before` and `costs_after` are theirs, too, place by place.
    `budgets` says of those that it moves by how much more is spent of them, period by period.
    `seen_earlier` and `changed_earlier` are in none of these: by then so many were done by what is gone on with.
    """

    seen: int = 0
    changed: int = 0
    before: Mapping[str, Decimal] = field(default_factory=dict)
    after: Mapping[str, Decimal] = field(default_factory=dict)
    recosted: int = field(default=0, compare=False)
    costs_before: Costs = field(default_factory=dict, compare=False)
    costs_after: Costs = field(default_factory=dict, compare=False)
    budgets: Mapping[Stretch, Decimal] = field(default_factory=dict, compare=False)
    seen_earlier: int = field(default=0, kw_only=True)
    changed_earlier: int = field(default=0, kw_only=True)

    def __add__(self, other: "Restated") -> "Restated":
        before, after = added(self.costs_before, other.costs_before), added(self.costs_after, other.costs_after)
        counts = (self.seen + other.seen, self.changed + other.changed, self.recosted + other.recosted)
        return replace(
            _restated(*counts, before, after),
            seen_earlier=self.seen_earlier + other.seen_earlier,
            changed_earlier=self.changed_earlier + other.changed_earlier,
            budgets=_moved(self.budgets, other.budgets),
        )


def compared(seen: int, edits: Sequence[Edit], rates: Mapping[int, Rate]) -> Restated:
    """What changing some of the calls that were seen does to what they cost."""
    recosted, before, after = 0, Costs(), Costs()
    for (was, is_), alike in _alike(edits).items():
        counts_before, counts_after = (list(map(_counts, rows)) for rows in zip(*alike, strict=True))
        recosted += _recosted(counts_before, counts_after, rates.get(was.rate_id), rates.get(is_.rate_id))
        before = added(before, _cost(was, counts_before, rates))
        after = added(after, _cost(is_, counts_after, rates))
    return _restated(seen, len(edits), recosted, before, after)


def added(one: Costs, other: Costs) -> Costs:
    """The sum of both, place by place."""
    sums = dict(one)
    for place, cost in other.items():
        sums[place] = sums[place].plus(cost) if place in sums else cost
    return sums


def _moved(one: Mapping[Stretch, Decimal], other: Mapping[Stretch, Decimal]) -> dict[Stretch, Decimal]:
    sums = {each: EXACT.add(one.get(each, ZERO), other.get(each, ZERO)) for each in sorted({*one, *other})}
    return {each: amount for each, amount in sums.items() if amount}


def _restated(seen: int, changed: int, recosted: int, before: Costs, after: Costs) -> Restated:
    return Restated(seen, changed, _spent(before), _spent(after), recosted, before, after)


def _spent(costs: Costs) -> dict[str, Decimal]:
    return by_currency(Money(cost.amount, place.currency) for place, cost in costs.items() if place.currency)


class _Group(NamedTuple):
    """Calls of one day that cost the same per token."""

    project_id: int
    billed_on: date
    rate_id: int


def _group(row: Row) -> _Group:
    return _Group(row["project_id"], row["billed_on"], row["rate_id"])


def _alike(edits: Iterable[Edit]) -> dict[tuple[_Group, _Group], list[tuple[Row, Row]]]:
    """Quantities are summed before they are priced, which comes to the same and is done for every call."""
    found: dict[tuple[_Group, _Group], list[tuple[Row, Row]]] = {}
    for edit in edits:
        found.setdefault((_group(edit.before), _group(edit.after)), []).append((edit.before, edit.after))
    return found


_Counts = tuple[int | None, ...]
_counts: Callable[[Row], _Counts] = itemgetter(*COUNTED)


def _cost(group: _Group, counts: Sequence[_Counts], rates: Mapping[int, Rate]) -> Costs:
    rate, month = rates.get(group.rate_id), group.billed_on.replace(day=1)
    if rate is None:
        return {Place(group.project_id, month, ""): Cost(len(counts), ZERO)}
    total = Quantities(*(sum(filter(None, column)) for column in zip(*counts, strict=True)))
    return {Place(group.project_id, month, rate.currency): Cost(len(counts), price(total, rate).amount)}


def _recosted(before: Sequence[_Counts], after: Sequence[_Counts], was: Rate | None, is_: Rate | None) -> int:
    """Of how many calls one after the other the cost is another."""
    if was is None or is_ is None or was.currency != is_.currency:
        return 0 if was is is_ else len(before)
    if before == after and _prices(was) == _prices(is_):
        return 0
    if before == after:
        margins = _apart(was, is_)
        return sum(sum(margin * (counts[place] or 0) for place, margin in margins) != 0 for counts in before)
    pairs = zip(before, after, strict=True)
    return sum(price(_quantities(one), was) != price(_quantities(other), is_) for one, other in pairs)


def _prices(rate: Rate) -> tuple[int, tuple[tuple[int, int], ...]]:
    return rate.decimals, rate.margins


def _apart(was: Rate, is_: Rate) -> list[tuple[int, int]]:
    """How much more 1000 of a class cost, by the place of its quantity, as whole numbers of one unit."""
    decimals = max(was.decimals, is_.decimals)
    sums: dict[int, int] = {}
    for rate, sign in ((was, -1), (is_, 1)):
        for place, margin in rate.margins:
            sums[place] = sums.get(place, 0) + sign * margin * 10 ** (decimals - rate.decimals)
    return [(place, margin) for place, margin in sums.items() if margin]


def _quantities(counts: _Counts) -> Quantities:
    return Quantities(*(count or 0 for count in counts))
