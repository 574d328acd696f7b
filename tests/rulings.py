"""Which rate holds for a call, by a rule that is spelt out here once more: the slow way, with every line looked at."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from accounting.aliases import Aliases
from accounting.rates import ANY_TIER, Rate


class Asked(NamedTuple):
    """What a rate is looked for by."""

    model: str
    at: datetime
    input_tokens: int
    tier: str


def rank(rate: Rate, call: Asked, names: Sequence[str]) -> tuple[Any, ...] | None:
    """How well the line fits the call of a model of these names, the more the better; None where it is not for it."""
    holds = (
        rate.valid_from <= call.at
        and (rate.period.end is None or call.at < rate.period.end)
        and rate.service_tier in (call.tier, ANY_TIER)
        and (rate.context_above == 0 or call.input_tokens > rate.context_above)
        and (rate.hours is None or call.at in rate.hours)
    )
    if not holds:
        return None
    of_line = rate.service_tier != ANY_TIER, rate.valid_from, rate.hours is not None, rate.context_above
    if "*" not in rate.model:
        return (1, -names.index(rate.model), 0, *of_line) if rate.model in names else None
    expression = ".*".join(map(re.escape, rate.model.split("*")))
    fitting = [-place for place, name in enumerate(names) if re.fullmatch(expression, name, re.DOTALL)]
    return (0, len(rate.model.replace("*", "")), max(fitting), *of_line) if fitting else None


def winners(some: Iterable[Rate], call: Asked, aliases: Aliases) -> list[Rate]:
    """Of the lines of provider `p` those that no other comes before: one or none, or there is nothing to choose."""
    names = [call.model, *(name for name, _ in aliases.names("p", call.model))]
    ranked = [(found, rate) for rate in some if (found := rank(rate, call, names)) is not None]
    best = max((found for found, _ in ranked), default=None)
    return [rate for found, rate in ranked if found == best]
