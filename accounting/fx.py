"""Exchange rates by day, and what money of several currencies is in one.

What is converted is exact: an amount times a rate. Only a rate is ever rounded, and only one that nobody published:
the inverse of another, or one made of two others by way of a third currency. It has 12 significant digits then, and
goes by what it was made of.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, FloatOperation, InvalidOperation, Overflow

from accounting import money
from accounting.errors import FxRateError
from accounting.money import EXACT, ZERO, exact, plain

DERIVED_DIGITS = 12
"""Significant digits of a rate that is made of others."""

_DERIVED = Context(
    prec=DERIVED_DIGITS,
    rounding=ROUND_HALF_EVEN,
    traps=[FloatOperation, InvalidOperation, DivisionByZero, Overflow],
)

_MAX_DIGITS = 15
_LEAST, _MOST = Decimal("1E-9"), Decimal("1E+9")
_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class FxRate:
    """One unit of `base` is `rate` of `quote` on that day, as its source says."""

    base: str
    quote: str
    day: date
    rate: Decimal
    source: str
    id: int = 0

    @property
    def pair(self) -> str:
        return f"{self.base}/{self.quote}"

    def __str__(self) -> str:
        return f"1 {self.base} = {plain(self.rate)} {self.quote} of {self.day}"


def fx_rate(base: object, quote: object, day: date, rate: str | int | Decimal, source: str) -> FxRate:
    """A rate as people or files write it; raises `ConfigurationError` for one that can't be."""
    one, other = money.currency(base), money.currency(quote)
    if one == other:
        raise FxRateError(f"{one}/{other} is no pair; expected two currencies.")
    if day < _FIRST_DAY:
        raise FxRateError(f"{one}/{other}: expected a day from {_FIRST_DAY} on, found {day}.")
    return FxRate(one, other, day, _positive(rate, f"{one}/{other} of {day}"), source)


def _positive(rate: str | int | Decimal, where: str) -> Decimal:
    try:
        number = exact(rate)
    except ValueError as error:
        raise FxRateError(f"{where}: {error}") from error
    if not _LEAST <= number <= _MOST:
        raise FxRateError(f"{where}: expected a rate from {plain(_LEAST)} to {_MOST:,f}, found {plain(number)}.")
    digits = len(number.normalize(EXACT).as_tuple().digits)
    if digits > _MAX_DIGITS:
        raise FxRateError(
            f"{where}: expected a rate of at most {_MAX_DIGITS} digits, found {plain(number)} with {digits}. "
            "Write it as its source does: so many digits come from a binary fraction."
        )
    return number


@dataclass(frozen=True, slots=True)
class Conversion:
    """One unit of `base` is `rate` of `quote` on the day `on`, by the rates in the books that this was made `of`."""

    base: str
    quote: str
    rate: Decimal
    of: tuple[FxRate, ...]
    on: date

    @property
    def derived(self) -> bool:
        """Whether it is not a rate that somebody published."""
        return len(self.of) > 1 or self.of[0].base != self.base

    @property
    def day(self) -> date:
        """The rate's; the older one's of two."""
        return min(rate.day for rate in self.of)

    @property
    def age_days(self) -> int:
        """How old it was on the day that it was taken for."""
        return (self.on - self.day).days

    @property
    def source(self) -> str:
        return ", ".join(dict.fromkeys(rate.source for rate in self.of))

    def __str__(self) -> str:
        said = f"1 {self.base} = {plain(self.rate)} {self.quote}"
        made = f" from {' and '.join(map(str, self.of))}" if self.derived else f", of {self.day}"
        return f"{said}{made}{self._age()}, source: {self.source}"

    def _age(self) -> str:
        days = f"{self.age_days:,} day{'' if self.age_days == 1 else 's'}"
        return f" ({days} before {self.on})" if self.age_days else ""


class FxRates:
    """Finds the rate from one currency to another on a day."""

    def __init__(self, day: date, rates: Iterable[FxRate]) -> None:
        """Of each pair the latest until the day holds, however old; how old it is goes with what it makes."""
        self.day = day
        self._held: dict[str, dict[str, FxRate]] = {}
        for rate in sorted(rates, key=lambda rate: rate.day):
            if rate.day <= day:
                self._held.setdefault(rate.base, {})[rate.quote] = rate

    def find(self, base: str, quote: str) -> Conversion | None:
        """The newest. Of one day the pair's own, else the opposite's inverse, else by way of one other currency.

        A way by two is as old as the older of them; of several the one by the first currency of the alphabet is taken.
        """
        ways = [_made(base, quote, way, self.day) for way in self._ways(base, quote)]
        return max(ways, key=lambda way: way.day, default=None)

    def _ways(self, base: str, quote: str) -> Iterator[tuple[FxRate, ...]]:
        own, opposite = self._held.get(base, {}).get(quote), self._held.get(quote, {}).get(base)
        yield from ((rate,) for rate in (own, opposite) if rate)
        codes = {*self._held, *(code for quotes in self._held.values() for code in quotes)}
        for by in sorted(codes - {base, quote}):
            first, second = self._leg(base, by), self._leg(by, quote)
            if first and second:
                yield first, second

    def _leg(self, base: str, quote: str) -> FxRate | None:
        """The newer of the pair's own rate and the opposite one; of one day its own."""
        own, opposite = self._held.get(base, {}).get(quote), self._held.get(quote, {}).get(base)
        return max((rate for rate in (own, opposite) if rate), key=lambda rate: rate.day, default=None)


def _made(base: str, quote: str, of: tuple[FxRate, ...], on: date) -> Conversion:
    """Rounded once, whatever it was made of."""
    if len(of) == 1 and of[0].base == base:
        return Conversion(base, quote, of[0].rate, of, on)
    over = under = Decimal(1)
    have = base
    for rate in of:
        if rate.base == have:
            over, have = EXACT.multiply(over, rate.rate), rate.quote
        else:
            under, have = EXACT.multiply(under, rate.rate), rate.base
    return Conversion(base, quote, _DERIVED.divide(over, under), of, on)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What brings money together in one currency, as of a day: a rate for each other one that it can be in.

    Money of the currencies in `missing`, for which there is no rate, stays what it is and is told beside.
    """

    currency: str
    day: date
    conversions: tuple[Conversion, ...] = ()
    missing: tuple[str, ...] = ()

    def total(self, spent: Mapping[str, Decimal]) -> Decimal | None:
        """What has a rate, in the one currency, exact. Of nothing it is None: where nothing is priced, that is not 0.

        Raises `FxRateError` for an amount of a currency that was not asked for; no amount needs no rate.
        """
        total = None
        for code, amount in spent.items():
            if not amount or code not in self.missing:
                converted = EXACT.multiply(amount, self._rate(code)) if amount else ZERO
                total = EXACT.add(total or ZERO, converted)
        return total

    def left(self, spent: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """What is not in the total, as it has no rate."""
        return {code: amount for code, amount in spent.items() if amount and code in self.missing}

    def _rate(self, code: str) -> Decimal:
        if code == self.currency:
            return Decimal(1)
        found = next((one.rate for one in self.conversions if one.base == code), None)
        if found is None:
            raise FxRateError(f"No rate from {code} to {self.currency} was asked for.")
        return found


def to_convert(*sums: Mapping[str, Decimal]) -> list[str]:
    """The currencies in which there is any money, in the order of their codes."""
    return sorted({code for spent in sums for code, amount in spent.items() if amount})
