"""What a call costs, part by part: each quantity once, at the price that holds for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from accounting.money import EXACT, Money
from accounting.rates import CLASSES, PARENTS, Class, Rate, price, unpriced_units
from accounting.usage import Quantities


@dataclass(frozen=True, slots=True)
class Part:
    """A quantity that is in no other part, and what it costs.

    `name` is its class as a card has it: of `input`, what was neither cached nor heard nor seen. `priced_as` is the
    class whose price it has, which is a parent of its own where that has none.
    """

    name: str
    quantity: int
    price_per_1k: Decimal
    amount: Decimal
    priced_as: str


@dataclass(frozen=True, slots=True)
class Charge:
    """What was used, at one rate. The parts add up to the total, to the last digit.

    `unpriced` are searches, images or seconds of audio that the rate has no price for, by their names in `Usage`: they
    cost something that nobody knows, beside the total. `is_partial`: not all that was used is stated, as of a stream
    that was cut, or where the output is unknown.
    """

    total: Money
    rate: Rate
    parts: tuple[Part, ...]
    unpriced: Mapping[str, int]
    is_partial: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the total is all that it cost, and not only the least."""
        return not self.unpriced and not self.is_partial


def charge(quantities: Quantities, rate: Rate, is_partial: bool = False) -> Charge:
    """What the quantities cost at the rate; `contradictions` in them are the caller's to look for."""
    parts = tuple(_parts(quantities, rate))
    return Charge(price(quantities, rate), rate, parts, unpriced_units(quantities, rate), is_partial)


def _parts(quantities: Quantities, rate: Rate) -> Iterator[Part]:
    """What went in before what came out, each class before its parts."""
    left = apart(quantities)
    for place, each in _ORDER:
        if left[place] and (priced := _priced_as(each, rate)):
            per_1k: Decimal = getattr(rate, priced.column)
            amount = EXACT.scaleb(EXACT.multiply(per_1k, left[place]), -3)
            yield Part(each.name, left[place], per_1k, amount, priced.name)


def _within(parent: str | None) -> Iterator[tuple[int, Class]]:
    """The classes within the class, or those within none, each before those within itself; with their places."""
    for place, each in enumerate(CLASSES):
        if each.parent == parent:
            yield place, each
            yield from _within(each.name)


_ORDER = tuple(_within(None))
_BY_NAME = {each.name: each for each in CLASSES}
_INSIDE = tuple(tuple(n for n, part in enumerate(CLASSES) if part.parent == each.name) for each in CLASSES)
"""Of each class the places of its parts."""


def apart(quantities: Quantities) -> Quantities:
    """Of each class what is in none of its parts, so that nothing is counted twice."""
    return Quantities._make(
        count - sum(quantities[n] for n in inside) for count, inside in zip(quantities, _INSIDE, strict=True)
    )


def contradictions(quantities: Quantities) -> list[str]:
    """Classes of which the parts come to more than there is of the whole."""
    return [each.name for each, left in zip(CLASSES, apart(quantities), strict=True) if left < 0]


def parts_of(name: str) -> list[str]:
    """The classes that are within the class."""
    return [each.name for each in CLASSES if each.parent == name]


def _priced_as(each: Class, rate: Rate) -> Class | None:
    """The class whose price it has; None where nobody knows the price, or there is none to pay."""
    while getattr(rate, each.column) is None:
        parent = PARENTS[each.name]
        if parent is None:
            return None
        each = _BY_NAME[parent]
    return each
