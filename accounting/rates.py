"""Rates: what a call costs at the rate that holds for it. `cards` reads them, `resolution` finds the one that holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import repeat
from typing import NamedTuple

from accounting.hours import Hours
from accounting.money import EXACT, Money
from accounting.periods import Period, moment
from accounting.usage import Quantities

UNPRICED = 0
"""The id that stands in the books for "no rate"."""

STANDARD = ""
"""The service tier of calls that were served as usual."""

ANY_TIER = "*"
"""Of a rate: it holds for whatever tier served the call, where no other line names that tier."""

_AS_USUAL = frozenset(("", "default", "standard", "standard_only", "auto", "on_demand"))


def tier_of(served: str | None) -> str:
    """The service tier by which a call is priced; providers have many names for the standard one."""
    name = (served or "").lower()
    return STANDARD if name in _AS_USUAL else name


class Class(NamedTuple):
    """What has a price of its own, by its name on a card.

    With a parent it is a part of that class, and costs what the parent does where it has no price.
    """

    name: str
    parent: str | None = None

    @property
    def column(self) -> str:
        """Its price's name in `Rate` and in the books."""
        return f"{self.name}_per_1k"


CLASSES = (
    Class("input"),
    Class("cache_read", "input"),
    Class("cache_write", "input"),
    Class("output"),
    Class("reasoning", "output"),
    Class("cache_write_1h", "cache_write"),
    Class("audio_input", "input"),
    Class("image_input", "input"),
    Class("audio_output", "output"),
    Class("image_output", "output"),
    Class("request"),
    Class("web_search"),
    Class("image"),
    Class("audio_second"),
)
"""All there are, each beside its quantity in `Quantities`: the one place that says what is charged and how."""

PRICES = tuple(each.column for each in CLASSES)
"""The prices of a rate, by their name in `Rate` and in the books; a card leaves out the unit."""

REQUIRED = ("input", "output")
"""Classes that every rate prices, with 0 where they cost nothing."""

PARENTS = {each.name: each.parent for each in CLASSES}

_PLACES = {each.name: place for place, each in enumerate(CLASSES)}
_FREE = ("request",)
"""Where these have no price, there is none to pay: hardly anybody charges for them."""

UNITS = tuple(each for each in CLASSES if each.parent is None and each.name not in (*REQUIRED, *_FREE))
"""What nobody knows the price of where a rate has none for it."""

_UNITS = tuple((_PLACES[each.name], Quantities._fields[_PLACES[each.name]], each.column) for each in UNITS)
_FIRST_UNIT = _UNITS[0][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Prices per 1000 of one model at one provider, over one period, under its conditions.

    `model` may be a pattern. The conditions: the call's input, cached tokens included, is more than `context_above`
    tokens; `service_tier` served it; it began within the `hours`. Prices that are None: as the parent class; and of
    what has no parent, like searches, that nobody knows the price. 0 is a price.
    """

    provider: str
    model: str
    currency: str
    period: Period
    service_tier: str = STANDARD
    context_above: int = 0
    hours: Hours | None = None
    input_per_1k: Decimal
    output_per_1k: Decimal
    cache_read_per_1k: Decimal | None = None
    cache_write_per_1k: Decimal | None = None
    reasoning_per_1k: Decimal | None = None
    cache_write_1h_per_1k: Decimal | None = None
    audio_input_per_1k: Decimal | None = None
    image_input_per_1k: Decimal | None = None
    audio_output_per_1k: Decimal | None = None
    image_output_per_1k: Decimal | None = None
    request_per_1k: Decimal | None = None
    web_search_per_1k: Decimal | None = None
    image_per_1k: Decimal | None = None
    audio_second_per_1k: Decimal | None = None
    source: str = ""
    id: int = UNPRICED
    margins: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    """What 1000 of a class cost beyond its parent, by the place of its quantity; left out where that is nothing.
    Whole numbers, as many calls are priced, of the power of ten that is the `decimals`th below 1."""
    decimals: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        margins = list(_margins(self))
        decimals = max((-int(margin.as_tuple().exponent) for _, margin in margins), default=0)
        whole = tuple((place, int(EXACT.scaleb(margin, decimals))) for place, margin in margins)
        object.__setattr__(self, "decimals", decimals)
        object.__setattr__(self, "margins", whole)

    @property
    def valid_from(self) -> datetime:
        assert self.period.start is not None  # noqa: S101 - every card line has one
        return self.period.start

    @property
    def conditions(self) -> str:
        """Those beside its period, in words; empty where there are none."""
        above = f"above {self.context_above:,} input tokens" if self.context_above else ""
        tier = "any service tier" if self.service_tier == ANY_TIER else self.service_tier
        return ", ".join(filter(None, (tier, above, str(self.hours or ""))))

    def holds(self, at: datetime, input_tokens: int = 0, service_tier: str = STANDARD) -> bool:
        """Whether it holds for a call that began at the instant, with so much input, served by that tier."""
        return (
            at in self.period
            and (self.service_tier == service_tier or self.service_tier == ANY_TIER)
            and (not self.context_above or input_tokens > self.context_above)
            and (self.hours is None or at in self.hours)
        )

    def __str__(self) -> str:
        until = f" until {moment(self.period.end)}" if self.period.end else ""
        conditions = f" ({self.conditions})" if self.conditions else ""
        return f"{self.provider}/{self.model}{conditions} from {moment(self.valid_from)}{until}"


def price(quantities: Quantities, rate: Rate) -> Money:
    """What the quantities cost at the rate, exactly.

    Linear in the quantities, so the price of a sum is the sum of the prices. Cached tokens are part of the
    input and reasoning tokens of the output: each is charged once, at its own price if it has one. What has no price
    adds nothing: see `unpriced_units`.
    """
    total = 0
    for place, margin in rate.margins:
        if count := quantities[place]:
            total += margin * count
    return Money(EXACT.scaleb(total, -3 - rate.decimals), rate.currency)


def likely_cost(tokens_in: int, tokens_out: int, rate: Rate) -> Money:
    """What estimated tokens cost: at the plain prices, as nobody says which of them would be cached, or thoughts."""
    return price(Quantities(input=tokens_in, output=tokens_out), rate)


def unpriced_units(quantities: Sequence[int | None], rate: Rate) -> dict[str, int]:
    """How many searches, images or seconds of audio were used that the rate has no price for: unknown, not free.

    Of quantities in the order of `Quantities`; by their names in the books. A card says `image = 0` where they cost
    nothing by themselves, as where images are charged by their tokens.
    """
    if not any(quantities[_FIRST_UNIT:]):  # as of nearly every call, and every one is looked at
        return {}
    return {
        name: count for place, name, column in _UNITS if (count := quantities[place]) and getattr(rate, column) is None
    }


def is_unknown(quantities: Quantities, rate: Rate) -> bool:
    """Whether nobody can say what it cost: something without a price was used, and nothing that has one.

    With tokens beside, what these cost is known, and the rest is named: see `unpriced_units`.
    """
    return bool(unpriced_units(quantities, rate)) and not any(map(_is_priced, CLASSES, quantities, repeat(rate)))


def _is_priced(each: Class, count: int, rate: Rate) -> bool:
    """Whether any was used that the rate says the price of; a part costs at least what its parent does."""
    return bool(count) and (each.parent is not None or getattr(rate, each.column) is not None)


def _margins(rate: Rate) -> Iterator[tuple[int, Decimal]]:
    for place, each in enumerate(CLASSES):
        own: Decimal | None = getattr(rate, each.column)
        if own is not None and (margin := own if each.parent is None else EXACT.subtract(own, _whole(rate, each))):
            yield place, margin


def _whole(rate: Rate, part: Class) -> Decimal:
    """What the class costs that this is a part of."""
    parent = CLASSES[_PLACES[str(part.parent)]]
    own: Decimal | None = getattr(rate, parent.column)
    return _whole(rate, parent) if own is None else own
