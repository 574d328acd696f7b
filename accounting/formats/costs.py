"""What a provider says a call cost, wherever its usage block puts it."""

from collections.abc import Mapping
from decimal import Decimal

from accounting.counts import Counts
from accounting.formats.wire import MAX_COST, at, provider_cost
from accounting.money import EXACT, Money

_TICK = Decimal("1e-10")
"""xAI counts in ticks: ten thousand million make one US dollar."""


def stated_cost(block: object, counts: Counts) -> Money | None:
    """The provider's own sum in US dollars, exact to the digit it wrote; flagged where that is no sum of money.

    `cost` is OpenRouter's (what it charged its own account: 0 where the caller brought a key), or Perplexity's, with
    the total among its parts. `cost_in_usd_ticks` is xAI's.
    """
    ticks = at(block, "cost_in_usd_ticks")
    if ticks is not None:
        return _from_ticks(ticks, counts)
    cost = at(block, "cost")
    return provider_cost(cost.get("total_cost") if isinstance(cost, Mapping) else cost, "USD", counts)


def _from_ticks(ticks: object, counts: Counts) -> Money | None:
    if type(ticks) is not int or not 0 <= ticks * _TICK <= MAX_COST:
        counts.flag("cost_unreadable")
        return None
    return Money(EXACT.multiply(Decimal(ticks), _TICK), "USD")
