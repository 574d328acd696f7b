"""What books should say of calls: what each costs, and what they add up to, by common fractions and one by one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from accounting.rates import UNPRICED, Rate
from accounting.usage import Call

ZONE = "Asia/Shanghai"
AHEAD = timedelta(hours=8)
"""Of UTC, all year."""


@dataclass(frozen=True)
class Booked:
    """A call as the books should have it."""

    call: Call
    project: str
    rate: Rate | None
    is_served_unpriced: bool
    """Whether only the tier that served it has no rate."""

    @property
    def rate_id(self) -> int:
        return UNPRICED if self.rate is None else self.rate.id

    @property
    def billed_on(self) -> date:
        return (self.call.started_at + AHEAD).date()

    @property
    def cost(self) -> Fraction | None:
        """By common fractions; None without a rate."""
        if self.rate is None:
            return None
        n, rate = self.call.usage.quantities, self.rate
        read, thought = rate.cache_read_per_1k, rate.reasoning_per_1k
        charged = (
            (n.input - n.cache_read, rate.input_per_1k),
            (n.cache_read, rate.input_per_1k if read is None else read),
            (n.output - n.reasoning, rate.output_per_1k),
            (n.reasoning, rate.output_per_1k if thought is None else thought),
        )
        return sum((count * Fraction(price) for count, price in charged), Fraction()) / 1000


class Group(NamedTuple):
    """What calls are added up by here."""

    billed_on: date
    project: str
    model: str
    rate_id: int


class Sum(NamedTuple):
    calls: int
    input_tokens: int
    output_tokens: int
    amount: Fraction


def added(some: Iterable[Booked]) -> dict[Group, Sum]:
    """The sums of calls, one by one."""
    found: dict[Group, Sum] = {}
    for one in some:
        n = one.call.usage.quantities
        more = Sum(1, n.input, n.output, one.cost or Fraction())
        group = Group(one.billed_on, one.project, one.call.model, one.rate_id)
        found[group] = _sum(found.get(group), more)
    return found


def stored(rows: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> dict[Group, Sum]:
    """The same as the rows of a spend table say it; what has no rate has no amount."""
    found: dict[Group, Sum] = {}
    for row in rows:
        assert (row["amount"] is None) == (row["rate_id"] == UNPRICED)
        amount = Fraction(row["amount"] or 0)
        more = Sum(row["calls"], row["input_tokens"], row["output_tokens"], amount)
        group = Group(row["billed_on"], names[row["project_id"]], row["model"], row["rate_id"])
        found[group] = _sum(found.get(group), more)
    return found


def _sum(one: Sum | None, other: Sum) -> Sum:
    if one is None:
        return other
    calls, tokens_in, tokens_out = one.calls + other.calls, one.input_tokens + other.input_tokens, one[2] + other[2]
    return Sum(calls, tokens_in, tokens_out, one.amount + other.amount)
