"""What a call gets by its rate: one place for calls on their way into the books, and for those that are there.

The same call, priced by the same lines, is stamped alike whenever that is done.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from accounting import stated
from accounting.money import Money
from accounting.rates import CLASSES, STANDARD, UNITS, UNPRICED, Rate, tier_of, unpriced_units
from accounting.resolution import RateBook
from accounting.stated import Statement
from accounting.usage import COUNTED, Call, Usage, counted

STAMPING_FAILED = "stamping_failed"
"""The anomaly of a call that could not be priced through a fault of ours; it is stored unpriced."""

UNPRICED_TIER = "unpriced_service_tier"
"""The anomaly of a call that a service tier served which has no rate, where its model has one otherwise."""

COLUMNS = ("rate_id", "anomalies", "stated_as")
"""Of `calls`, in the order of `by_rate`."""

Stamp = tuple[int, list[str], str | None]
"""The values of these columns."""

_UNPRICED = {COUNTED[CLASSES.index(each)]: f"unpriced_{COUNTED[CLASSES.index(each)]}" for each in UNITS}

_OURS = frozenset((STAMPING_FAILED, UNPRICED_TIER, *_UNPRICED.values()))
"""Anomalies that nobody but stamps says: they are no part of what was delivered, whatever another program thinks."""


class Rated(NamedTuple):
    """What of a call its stamps follow from.

    `counts` are in the order of `COUNTED`; `anomalies` are the call's own, without those of stamps; `stated` is what
    its provider said that it cost.
    """

    provider: str
    model: str
    started_at: datetime
    service_tier: str | None
    counts: Sequence[int | None]
    anomalies: Sequence[str]
    stated: Statement | None = None


READ = (
    *("provider", "model", "started_at", "service_tier", "anomalies", *COUNTED),
    *("provider_cost", "provider_cost_currency", "usage_source", "usage_block"),
)
"""The columns of `calls` that `in_books` reads."""


def delivered(call: Call, usage: Usage) -> Rated:
    """Of a call on its way into the books, whose usage is plausible."""
    own, counts, cost = _own(usage.anomalies), counted(usage), usage.provider_cost
    said = None if cost is None else Statement(cost, call.provider, counts, usage.source, usage.block)
    return Rated(call.provider, call.model, call.started_at, call.service_tier, counts, own, said)


def in_books(row: Mapping[Any, Any]) -> Rated:
    """Of a row of `calls`."""
    counts = tuple(row[name] for name in COUNTED)
    own = _own(row["anomalies"])
    said = None if row["provider_cost"] is None else _stated(row, counts)
    return Rated(row["provider"], row["model"], row["started_at"], row["service_tier"], counts, own, said)


def _stated(row: Mapping[Any, Any], counts: Sequence[int | None]) -> Statement:
    cost = Money(row["provider_cost"], row["provider_cost_currency"])
    return Statement(cost, row["provider"], counts, row["usage_source"], row["usage_block"])


def by_rate(book: RateBook, call: Rated) -> Stamp:
    """The id of the rate that holds, the call's anomalies, each once, and how the provider's cost stands to ours.

    Among the anomalies is that the rate has no price for searches, images or seconds of audio that were used: they are
    in the call's cost with nothing, and nobody knows what they cost.
    """
    at, used, tier = call.started_at, call.counts[0] or 0, tier_of(call.service_tier)
    rate = book.find(call.provider, call.model, at, used, tier)
    if rate is None:
        is_tier = tier != STANDARD and book.find(call.provider, call.model, at, used) is not None
        return UNPRICED, _once(call.anomalies, [UNPRICED_TIER] if is_tier else []), _standing(call, None)
    unpriced = [_UNPRICED[name] for name in unpriced_units(call.counts, rate)]
    return rate.id, _once(call.anomalies, unpriced), _standing(call, rate)


def without_rate(call: Rated) -> Stamp:
    """The same where no rate could be looked for, through a fault of ours."""
    return UNPRICED, _once(call.anomalies, [STAMPING_FAILED]), _standing(call, None)


def _standing(call: Rated, rate: Rate | None) -> str | None:
    return None if call.stated is None else str(stated.standing(call.stated, rate))


def _own(anomalies: Sequence[str]) -> list[str]:
    return [name for name in anomalies if name not in _OURS] if anomalies else []


def _once(own: Sequence[str], ours: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*own, *ours))) if own or ours else []
