"""What a restatement did: to how many calls, and to what they cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
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


class Cost(NamedTuple):
    """So many calls, and what they cost together; 0 where they are unpriced."""

    calls: int
    amount: Decimal

    def plus(self, other: "Cost") -> "Cost":
        return Cost(self.calls + other.calls, EXACT.add(self.amount, other.amount))


Costs = Mapping[Place, Cost]

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
    """

    seen: int = 0
    changed: int = 0
    before: Mapping[str, Decimal] = field(default_factory=dict)
    after: Mapping[str, Decimal] = field(default_factory=dict)
    recosted: int = field(default=0, compare=False)
    costs_before: Costs = field(default_factory=dict, compare=False)
    costs_after: Costs = field(default_factory=dict, compare=False)

    def __add__(self, other: "Restated") -> "Restated":
        before, after = added(self.costs_before, other.costs_before), added(self.costs_after, other.costs_after)
        counts = (self.seen + other.seen, self.changed + other.changed, self.recosted + other.recosted)
        return _restated(*counts, before, after)


def compared(seen: int, edits: Sequence[Edit], rates: Mapping[int, Rate]) -> Restated:
    """What changing some of the calls that were seen does to what they cost."""
    recosted = sum(_is_recosted(edit, rates) for edit in edits)
    before, after = _costs((edit.before for edit in edits), rates), _costs((edit.after for edit in edits), rates)
    return _restated(seen, len(edits), recosted, before, after)


def added(one: Costs, other: Costs) -> Costs:
    """The sum of both, place by place."""
    sums = dict(one)
    for place, cost in other.items():
        sums[place] = sums[place].plus(cost) if place in sums else cost
    return sums


def _restated(seen: int, changed: int, recosted: int, before: Costs, after: Costs) -> Restated:
    return Restated(seen, changed, _spent(before), _spent(after), recosted, before, after)


def _spent(costs: Costs) -> dict[str, Decimal]:
    return by_currency(Money(cost.amount, place.currency) for place, cost in costs.items() if place.currency)


def _costs(rows: Iterable[Row], rates: Mapping[int, Rate]) -> Costs:
    """Quantities are summed before they are priced, which comes to the same and is done for every call."""
    sums: dict[tuple[int, date, int], list[int]] = {}
    for row in rows:
        group = row["project_id"], row["billed_on"], row["rate_id"]
        held = sums.get(group)
        if held is None:
            held = sums[group] = [0] * (len(COUNTED) + 1)
        held[-1] += 1
        for index, name in _INDEXED:
            if count := row[name]:
                held[index] += count
    found: Costs = {}
    for (project_id, day, rate_id), (*counts, calls) in sums.items():
        money = _cost(Quantities(*counts), rates.get(rate_id))
        place = Place(project_id, day.replace(day=1), money.currency if money else "")
        found = added(found, {place: Cost(calls, money.amount if money else ZERO)})
    return found


_INDEXED = tuple(enumerate(COUNTED))


def _cost(quantities: Quantities, rate: Rate | None) -> Money | None:
    return None if rate is None else price(quantities, rate)


def _is_recosted(edit: Edit, rates: Mapping[int, Rate]) -> bool:
    was, is_ = (rates.get(row["rate_id"]) for row in (edit.before, edit.after))
    if _COUNTED.isdisjoint(edit.columns) and (was is is_ or (was and is_ and _prices(was) == _prices(is_))):
        return False
    return _cost(_quantities(edit.before), was) != _cost(_quantities(edit.after), is_)


_COUNTED = frozenset(COUNTED)


def _prices(rate: Rate) -> tuple[str, int, tuple[tuple[int, int], ...]]:
    return rate.currency, rate.decimals, rate.margins


def _quantities(row: Row) -> Quantities:
    return Quantities(*(row[name] or 0 for name in COUNTED))
