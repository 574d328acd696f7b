"""What a provider says a call cost, wherever its usage block puts it."""

from collections.abc import Mapping
from decimal import Decimal

from accounting.counts import Counts
from accounting.formats.wire import MAX_COST, fields, provider_cost
from accounting.money import EXACT, Money

_TICK = Decimal("1e-10")
"""xAI counts in ticks: ten thousand million make one US dollar."""


def stated_cost(block: object, counts: Counts) -> Money | None:
    """The provider's own sum in US dollars, exact to the digit it wrote; flagged where that is no sum of money.

    `cost` is OpenRouter's (what it charged its own account: 0 where the caller brought a key), or Perplexity's, with
    the total among its parts. `cost_in_usd_ticks` is xAI's.
    """
    stated = fields(block)
    ticks, cost = stated.get("cost_in_usd_ticks"), stated.get("cost")
    if ticks is not None:
        return _from_ticks(ticks, counts)
    return (
        None
        if cost is None
        else provider_cost(cost.get("total_cost") if isinstance(cost, Mapping) else cost, "USD", counts)
    )


def _from_ticks(ticks: object, counts: Counts) -> Money | None:
    if type(ticks) is not int or not 0 <= ticks * _TICK <= MAX_COST:
        counts.flag("cost_unreadable")
        return None
    return Money(EXACT.multiply(Decimal(ticks), _TICK), "USD")
