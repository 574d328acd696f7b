"""Rates: which price holds for a call, and what the call then costs.

A rate card is a TOML file of dated lines, appended to and never edited:

    provider = "wcode"
    currency = "CNY"
    source = "price list of 2026-02-12"

    [[rate]]
    model = "z-ai/glm-5"
    valid_from = 2026-02-01      # a date begins at midnight UTC; a time with an offset is taken as it is
    input = 0.011                # per 1000 tokens; cache_read and cache_write cost this where they have no price
    output = 0.035               # reasoning costs this where it has no price of its own
    web_search = 70              # per 1000 searches

A line without `valid_until` holds until a later line of the same model takes over. `CLASSES` are all prices there are.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise, repeat
from typing import Any, NamedTuple

from accounting.errors import RateCardError
from accounting.money import EXACT, PRICE_DECIMALS, Money, exact, plain
from accounting.periods import Period
from accounting.usage import Quantities

UNPRICED = 0
"""The id that stands in the books for "no rate"."""

PRICE_LIMIT = Decimal(10**8)
"""Every price per 1000 is below it, or the cost of a call would not fit the 64 bits of `store.views`."""


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
    """Prices per 1000 of one model at one provider, over one period.

    None: as the parent class; and of what has no parent, like searches, that nobody knows the price. 0 is a price.
    """

    provider: str
    model: str
    currency: str
    period: Period
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

    def __str__(self) -> str:
        until = f" until {self.period.end:%Y-%m-%d %H:%M}Z" if self.period.end else ""
        return f"{self.provider}/{self.model} from {self.valid_from:%Y-%m-%d %H:%M}Z{until}"


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


class RateBook:
    """Finds the rate that holds for a provider's model at an instant."""

    def __init__(self, rates: Iterable[Rate]) -> None:
        """Raises `RateCardError` where two lines would hold at once with nothing to choose between them."""
        self._rates: dict[tuple[str, str], list[Rate]] = {}
        for rate in rates:
            self._rates.setdefault((rate.provider, rate.model), []).append(rate)
        for lines in self._rates.values():
            lines.sort(key=lambda rate: rate.valid_from, reverse=True)
            for later, earlier in pairwise(lines):
                _refuse_contradiction(earlier, later)

    def find(self, provider: str, model: str, at: datetime) -> Rate | None:
        """The rate that holds at the instant: of the lines valid then, the one that began last."""
        for rate in self._rates.get((provider, model), ()):
            if at in rate.period:
                return rate
        return None

    def __iter__(self) -> Any:
        return (rate for lines in self._rates.values() for rate in reversed(lines))


def _prices(rate: Rate, other: Rate) -> str:
    """Those in which it is not like the other, or those that every rate has; and where they are from."""
    own = {each.name: getattr(rate, each.column) for each in CLASSES}
    apart = [each.name for each in CLASSES if own[each.name] != getattr(other, each.column)] or REQUIRED
    said = ((name, own[name]) for name in apart)
    named = ", ".join(f"{name} {'none' if price is None else plain(price)}" for name, price in said)
    return f"{named} (source: {rate.source})"


def _refuse_contradiction(earlier: Rate, later: Rate) -> None:
    if earlier.valid_from == later.valid_from:
        raise RateCardError(
            f"Two rates for {later}: {_prices(earlier, later)} and {_prices(later, earlier)}. Keep one; if it is in "
            "the books already it stays there, so give the new line a later valid_from: it takes over then."
        )
    if earlier.period.end is not None and earlier.period.end > later.valid_from:
        raise RateCardError(
            f"Rate {earlier} runs into {later}. End it with valid_until at the later one's start, "
            "or leave valid_until out: the later line then takes over by itself."
        )


_CARD_FIELDS = {"provider", "currency", "source", "rate"}
_LINE_FIELDS = {"model", "valid_from", "valid_until", *_PLACES}


def parse_card(text: str, name: str) -> list[Rate]:
    """The lines of a rate card; `name` is the file's, for messages. Raises `RateCardError`."""
    try:
        card = tomllib.loads(text, parse_float=exact)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise RateCardError(f"{name} is no TOML: {error}") from error
    for what in ("provider", "currency", "source"):
        if what not in card:
            raise RateCardError(f'{name}: {what} is missing. Write {what} = "…" at the top, above the first [[rate]].')
        if not isinstance(card[what], str) or not card[what].strip():
            raise RateCardError(f'{name}: expected {what} = "…" at the top, found {card[what]!r}.')
    _refuse_unknown(card, _CARD_FIELDS, name)
    if not (len(card["currency"]) == 3 and card["currency"].isalpha() and card["currency"].isupper()):
        raise RateCardError(f"{name}: currency {card['currency']!r} is no ISO 4217 code like CNY or USD.")
    lines = _lines(card.get("rate"), name)
    return [_rate(card, line, f"{name}, rate {number}") for number, line in enumerate(lines, 1)]


def _lines(found: object, name: str) -> list[dict[str, Any]]:
    if isinstance(found, dict):
        raise RateCardError(f"{name}: expected at least one [[rate]], found [rate]. Write it in two pairs of brackets.")
    if not isinstance(found, list) or not found or not all(isinstance(line, dict) for line in found):
        raise RateCardError(f"{name}: expected at least one [[rate]], found {found if found else 'none'}.")
    return found


def _rate(card: Mapping[str, Any], line: Mapping[str, Any], where: str) -> Rate:
    _refuse_unknown(line, _LINE_FIELDS, where)
    model = line.get("model")
    if not isinstance(model, str) or not model:
        raise RateCardError(f'{where}: expected model = "…", found {model!r}.')
    start = _instant(line.get("valid_from"), f"{where} ({model}): valid_from")
    end = _instant(line["valid_until"], f"{where} ({model}): valid_until") if "valid_until" in line else None
    if end is not None and end <= start:
        raise RateCardError(f"{where} ({model}): valid_until {end} is not after valid_from {start}.")
    prices: dict[str, Any] = {
        each.column: _price(line[each.name], f"{where} ({model}): {each.name}") for each in CLASSES if each.name in line
    }
    for what in REQUIRED:
        if what not in line:
            raise RateCardError(f"{where} ({model}): {what} is missing. Write 0 if it costs nothing.")
    return Rate(
        provider=card["provider"],
        model=model,
        currency=card["currency"],
        period=Period(start, end),
        source=card["source"],
        **prices,
    )


def _price(value: object, where: str) -> Decimal:
    try:
        number = exact(value)  # type: ignore[arg-type]
    except ValueError as error:
        raise RateCardError(f"{where}: {error}") from error
    if number < 0:
        raise RateCardError(f"{where} is {number}; a price can't be negative.")
    if number >= PRICE_LIMIT:
        raise RateCardError(f"{where}: expected a price below {PRICE_LIMIT:,f} per 1000, found {number}.")
    exponent = number.normalize(EXACT).as_tuple().exponent
    if isinstance(exponent, int) and -exponent > PRICE_DECIMALS:
        raise RateCardError(
            f"{where} is {number}; expected at most {PRICE_DECIMALS} decimals per 1000. "
            f"Round it to {PRICE_DECIMALS} decimals."
        )
    return number


def _instant(value: object, where: str) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise RateCardError(f"{where} is {value}; add an offset, like {value.isoformat()}Z, or give a date.")
        return _utc(value, where)
    if isinstance(value, date):
        return datetime.combine(value, time.min, UTC)
    raise RateCardError(f"{where}: expected a date like 2026-02-01, without quotes, found {value!r}.")


def _utc(value: datetime, where: str) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise RateCardError(f"{where} is {value}; expected a time within the years 1 to 9999 in UTC.") from error


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise RateCardError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
