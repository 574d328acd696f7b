"""Prices that look a thousand times off: given for a million where a thousand was meant, or the other way round.

Nobody knows what is right, so such a line is not refused but asked about. A price is held against those of its own
class: of the same model's other lines; where there are none, of the same model at other providers; where there are
none, of the provider's models that are named alike. First of those in the books, then of those that come with it; and
against the other prices of its line. Where half of the models of price lists are in the books, and all others come in
the wrong unit at once, it asks about 86 to 95 of 100 lines; where they come in the right one about 1 to 6 of 1000.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal

from accounting.money import EXACT, plain
from accounting.rates import CLASSES, PARENTS, REQUIRED, Rate

FACTOR = 64
"""A price so many times what it is held against is asked about. Price lists have one model up to 60 times dearer at one
provider than at another, and changed one by up to 35 times; with the wrong unit it is 1000 times what it should be."""

WITHIN = {"output": ("input", 40, 300), "reasoning": ("output", 40, 40), "cache_read": ("input", 500, 5)}
"""Of one line: a price is hardly less than so manieth of the other, or more than so many times it. Price lists have
output at 1/34 to 150 times input, a cached token at 1/125 to 1.02 of it."""

DEAREST = {"USD": Decimal(1), "EUR": Decimal(1), "GBP": Decimal(1), "CHF": Decimal(1), "CNY": Decimal(7)}
"""What 1000 tokens cost at no provider. The dearest ever were those that o1-pro put out, at 0.60 USD."""

_TOKENS = frozenset(each.name for each in CLASSES if each.parent is not None or each.name in REQUIRED)
_ROUGH = Context(prec=9)
"""For what only says which of two is nearer."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A price per 1000 of a line, and the one that it is so far from; `whose` that is, in words."""

    line: Rate
    name: str
    price: Decimal
    than: Decimal
    whose: str

    @property
    def high(self) -> bool:
        return self.price > self.than

    def __str__(self) -> str:
        """What was found, and what may have been meant."""
        more, unit = ("above", "million") if self.high else ("below", "thousand")
        return (
            f"{self.line}: {self.name} is {plain(self.price)} {self.line.currency} per 1000, far {more} "
            f"{plain(self.than)}, {self.whose}. Is it the price of a {unit}?"
        )


def suspicious(lines: Iterable[Rate], held: Iterable[Rate]) -> list[Suspicion]:
    """At most one for each price of the lines, held against those in the books and each other's."""
    new = list(lines)
    # Apart, as all lines of one card may have the wrong unit, and then agree with each other.
    known, others = _Known(held), _Known(new)
    return [found for line in new for found in _of_line(line, known, others)]


def _of_line(line: Rate, known: "_Known", others: "_Known") -> Iterator[Suspicion]:
    for each in CLASSES:
        price: Decimal | None = getattr(line, each.column)
        if price:
            found = _of_price(line, each.name, price, known, others)
            if found is not None:
                yield found


def _of_price(line: Rate, name: str, price: Decimal, known: "_Known", others: "_Known") -> Suspicion | None:
    for than in (known.nearest(line, name, price), others.nearest(line, name, price)):
        if than is not None and _apart(price, than[0], FACTOR, FACTOR):
            return Suspicion(line, name, price, *than)
    return _beside_others(line, name, price) or (None if known.has(line) else _beyond_all(line, name, price))


def _beside_others(line: Rate, name: str, price: Decimal) -> Suspicion | None:
    if name not in WITHIN:
        return None
    other, below, above = WITHIN[name]
    than: Decimal | None = getattr(line, f"{other}_per_1k")
    if not than or not _apart(price, than, below, above):
        return None
    return Suspicion(line, name, price, than, f"the price of {other} in the same line")


def _beyond_all(line: Rate, name: str, price: Decimal) -> Suspicion | None:
    dearest = DEAREST.get(line.currency)
    if dearest is None or price <= dearest or name not in _TOKENS:
        return None
    return Suspicion(line, name, price, dearest, "which no provider asks for 1000 tokens")


def _apart(price: Decimal, than: Decimal, below: int, above: int) -> bool:
    return EXACT.multiply(price, Decimal(below)) < than or price > EXACT.multiply(than, Decimal(above))


@dataclass(frozen=True, slots=True)
class _Likeness:
    """What lines that are alike have in common, and how a price of one is named in the message of another."""

    of: Callable[[Rate], tuple[str, ...]]
    words: str
    of_parts: bool = True
    """Whether it is told by classes that have a parent, too, as what is cached of it."""


_ALIKE = "the nearest of models named alike"


def _bare(model: str) -> str:
    """The name without the vendors before it."""
    return model.rpartition("/")[2].lower()


def _family(model: str) -> tuple[str, str]:
    """The vendor, and the name as far as the first digit or sign."""
    vendor, _, name = model.lower().rpartition("/")
    return vendor, re.split(r"[^a-z]", name.lstrip("~@"), maxsplit=1)[0]


def _generation(model: str) -> tuple[str, ...]:
    """The vendor, and the first two words of the name: most often the family and its version."""
    vendor, _, name = model.lower().rpartition("/")
    return vendor, *re.split(r"[-_:@ ]", name)[:2]


_LIKENESSES = (
    _Likeness(lambda rate: (rate.provider, rate.model), "which another line of the model says"),
    _Likeness(lambda rate: (_bare(rate.model),), "which the model costs elsewhere"),
    _Likeness(lambda rate: (rate.provider, *_generation(rate.model)), _ALIKE, of_parts=False),
    _Likeness(lambda rate: (rate.provider, *_family(rate.model)), _ALIKE, of_parts=False),
)
"""The most alike first."""


class _Known:
    """Lines by what they have in common."""

    def __init__(self, lines: Iterable[Rate]) -> None:
        self._groups: list[dict[tuple[str, ...], list[Rate]]] = [{} for _ in _LIKENESSES]
        for line in lines:
            for likeness, group in zip(_LIKENESSES, self._groups, strict=True):
                group.setdefault((line.currency, *likeness.of(line)), []).append(line)

    def has(self, line: Rate) -> bool:
        """Whether there is a line of its model."""
        return (line.currency, line.provider, line.model) in self._groups[0]

    def nearest(self, line: Rate, name: str, price: Decimal) -> tuple[Decimal, str] | None:
        """Of the most alike lines that have a price of the class, the one that is nearest, and whose that is."""
        for likeness, group in zip(_LIKENESSES, self._groups, strict=True):
            if PARENTS[name] is not None and not likeness.of_parts:
                continue
            others = (other for other in group.get((line.currency, *likeness.of(line)), ()) if other is not line)
            if prices := [(own, other) for other in others if (own := getattr(other, f"{name}_per_1k"))]:
                own, other = min(prices, key=lambda one: _distance(one[0], price))
                return own, f"{likeness.words} ({_named(other)})"
        return None


def _named(line: Rate) -> str:
    return f"line {line.id}, {line}" if line.id else str(line)


def _distance(one: Decimal, other: Decimal) -> Decimal:
    """How many times one of them is the other."""
    return _ROUGH.divide(max(one, other), min(one, other))
