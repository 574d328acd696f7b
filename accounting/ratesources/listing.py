"""What a source says of prices: lines of the rate book, and what it says beyond them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

from accounting import cards, patterns
from accounting.errors import RateCardError
from accounting.money import EXACT, PRICE_DECIMALS
from accounting.rates import REQUIRED, UNITS, Rate
from accounting.resolution import RateBook

ALWAYS = date(2020, 1, 1)
"""From when a price holds that its source gives no date: before the first call of anybody who keeps books here."""

_REFUSED = "one of its lines is refused, and with it the others of its list"
_TOO_FINE = "a price has more decimals than a line can; to take its list with that rounded: --round"

Place = tuple[str, str, str]
"""A provider, its model, and the service tier: what has one list of prices at a time."""


def place(rate: Rate) -> Place:
    return rate.provider, rate.model, rate.service_tier


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a source says that no line can, and why; the `detail` is about this one.

    Where the provider is not known it is empty, and the model as the source calls it, maybe with a house before it.
    `name` is its own for the price, or for what else of the model is left out; without, all of it is.
    """

    provider: str
    model: str
    reason: str
    name: str = ""
    detail: str = ""
    service_tier: str | None = None
    """Where nothing is left of this tier's prices alone; None where nothing is of the model's."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """A price per 1000 that its source `stated` with more decimals than the line has."""

    line: Rate
    name: str
    stated: Decimal

    @property
    def price(self) -> Decimal:
        found: Decimal = getattr(self.line, f"{self.name}_per_1k")
        return found

    @property
    def off(self) -> Decimal:
        """By what part of what was stated the line says more, or less where it is below 0; to two digits."""
        return _ROUGH.divide(EXACT.subtract(self.price, self.stated), self.stated)


_ROUGH = Context(prec=2)


@dataclass(frozen=True, slots=True)
class Listing:
    """All prices of a source that are wanted. Lines that bear one of its `sources` are its own, also in the books.

    With `headings`, providers and sources, it speaks of these alone. Where it is `undated`, of lines from `ALWAYS` it
    says only that they hold now.
    """

    sources: frozenset[str]
    lines: tuple[Rate, ...]
    left_out: tuple[LeftOut, ...] = ()
    undated: bool = False
    headings: frozenset[tuple[str, str]] | None = None
    rounded: tuple[Rounded, ...] = ()

    @property
    def always(self) -> datetime | None:
        return datetime(ALWAYS.year, ALWAYS.month, ALWAYS.day, tzinfo=UTC) if self.undated else None

    def owns(self, rate: Rate) -> bool:
        """Whether the line, in the books as any, is for the source to change."""
        return rate.source in self.sources and (self.headings is None or (rate.provider, rate.source) in self.headings)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of a line beside its model, as a card has them."""

    since: date = ALWAYS
    service_tier: str = ""
    context_above: int = 0
    hours: str = ""


@dataclass(slots=True)
class Collected:
    """Prices of a source, as it is gone through. Of a list with one line that can't be, none is taken:
    a call would else be priced by the line beside it. Prices with too many decimals are such, or with `rounds` rounded,
    but never to nothing."""

    source: str
    currency: str
    rounds: bool = False
    _lists: dict[Place, list[Rate]] = field(default_factory=dict)
    _of: dict[tuple[str, str], str] = field(default_factory=dict)
    _refused: set[Place] = field(default_factory=set)
    _left_out: list[LeftOut] = field(default_factory=list)
    _rounded: dict[Place, list[Rounded]] = field(default_factory=dict)

    def add(self, named: str, provider: str, model: str, prices: Mapping[str, Decimal], conditions: Conditions) -> None:
        """A line with prices by class. `named` is what the source calls the model; of two that are one, the first is
        taken, whole."""
        there = provider, model, conditions.service_tier
        if self._of.setdefault((provider, model), named) != named or there in self._refused:
            return
        fine = {name: price for name, price in prices.items() if (at_nine := rounded(price)) != price and at_nine}
        taken = {**prices, **{name: rounded(price) for name, price in fine.items()}} if self.rounds else prices
        try:
            line = self._line(provider, model, taken, conditions)
        except RateCardError as error:
            self._refuse(there, str(error), _TOO_FINE if fine and not self.rounds else _REFUSED)
            return
        self._lists.setdefault(there, []).append(line)
        self._rounded.setdefault(there, []).extend(Rounded(line, name, price) for name, price in fine.items())

    def leave_out(self, provider: str, model: str, reason: str, name: str = "", detail: str = "") -> None:
        self._left_out.append(LeftOut(provider, model, reason, name, detail))

    def listing(self) -> Listing:
        for there, lines in list(self._lists.items()):
            try:
                RateBook(lines)
            except RateCardError as error:
                self._refuse(there, str(error))
        found = tuple(line for lines in self._lists.values() for line in lines)
        changed = tuple(one for there in self._lists for one in self._rounded.get(there, ()))
        return Listing(frozenset((self.source,)), found, tuple(self._left_out), undated=True, rounded=changed)

    def named(self, provider: str, model: str) -> str | None:
        """What the source calls the model; None where it has no line yet."""
        return self._of.get((provider, model))

    def _line(self, provider: str, model: str, prices: Mapping[str, Decimal], conditions: Conditions) -> Rate:
        if patterns.is_pattern(model):
            raise RateCardError(f"{model} would be a pattern, as it has a {patterns.ANY}.")
        heading = {"provider": provider, "currency": self.currency, "source": self.source}
        said = {
            "model": model,
            "valid_from": conditions.since,
            "service_tier": conditions.service_tier,
            "context_above": conditions.context_above,
            **({"hours": conditions.hours} if conditions.hours else {}),
        }
        return cards.line_of(heading, {**said, **whole(prices)}, provider)

    def _refuse(self, there: Place, detail: str, reason: str = _REFUSED) -> None:
        self._refused.add(there)
        self._lists.pop(there, None)
        provider, model, tier = there
        self._left_out.append(LeftOut(provider, model, reason, detail=detail, service_tier=tier))


def rounded(price: Decimal) -> Decimal:
    """The price per 1000 with as many decimals as a line can have; of two that are as near the even one."""
    exponent = price.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -PRICE_DECIMALS:
        return price
    return _HALF_EVEN.quantize(price, _LAST)


_HALF_EVEN = Context(prec=EXACT.prec, rounding=ROUND_HALF_EVEN)
_LAST = Decimal(1).scaleb(-PRICE_DECIMALS)


def whole(prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """With 0 for the tokens of one direction where only those of the other have a price, as with embeddings."""
    return {name: Decimal(0) for name in REQUIRED} | dict(prices)


def says_enough(prices: Mapping[str, Decimal]) -> bool:
    """Whether a model could be priced by these alone; nobody is charged for cached tokens and not for others."""
    return any(name in prices for name in (*REQUIRED, "request", *(each.name for each in UNITS)))
