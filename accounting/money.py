"""Exact amounts.

A sum of money is a `Decimal` from text to text. All arithmetic runs in `EXACT`, a context that raises
instead of rounding and refuses binary floats, so a result is right to the last digit or there is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import (
    Clamped,
    Context,
    Decimal,
    DecimalException,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)

from accounting.currencies import CODES, MEANT
from accounting.errors import ConfigurationError, CurrencyMismatch

EXACT = Context(prec=60, traps=[Inexact, FloatOperation, InvalidOperation, Overflow, Underflow, Clamped])
"""60 digits: 10^18 tokens at nine decimals a thousand, summed 10^18 times, still fit."""

ZERO = Decimal(0)

PRICE_DECIMALS = 9
"""The most decimals a price per 1000 tokens may carry; an amount then has at most twelve."""


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency (ISO 4217 code)."""

    amount: Decimal
    currency: str

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise CurrencyMismatch(
                f"Can't add {other.amount} {other.currency} to {self.amount} {self.currency}: "
                "sum each currency by itself, or convert one at a dated rate first."
            )
        return Money(EXACT.add(self.amount, other.amount), self.currency)


def exact(text: str | int | Decimal) -> Decimal:
    """The number that the text spells, to the last digit.

    Raises `ValueError` for anything but a finite decimal number; a float is never taken, as its digits
    are not the ones somebody wrote.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise ValueError(f'{text!r} is a {type(text).__name__}; expected a decimal number as text, like "0.011".')
    if isinstance(text, str) and not text.isascii():
        # Decimal takes digits of every script, and a full-width one is more likely a slip than a price.
        raise ValueError(f"{text!r} is not a decimal number; expected digits from 0 to 9, and a point.")
    try:
        number = EXACT.create_decimal(text)
    except DecimalException as error:
        raise ValueError(f"{text!r} is not a decimal number of at most {EXACT.prec} digits.") from error
    if not number.is_finite():
        raise ValueError(f"{text!r} is not a finite number.")
    return number


def plain(amount: Decimal) -> str:
    """The amount in full, without exponent and without trailing zeros: `0.007515`, `12`, `0`."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def currency(text: object) -> str:
    """The text, where it is the code of a currency; raises `ConfigurationError` with those near it where it is not.

    For what people write today. What is in the books, or came from a provider, may name a currency that is no more.
    """
    if isinstance(text, str) and text in CODES:
        return text
    near = _near(text.strip().upper()) if isinstance(text, str) else []
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ConfigurationError(f"{text!r} is no currency; expected a code of ISO 4217 like CNY or USD.{hint}")


def _near(code: str) -> list[str]:
    """The code that is meant, or those that another order or one other letter makes of it."""
    if meant := MEANT.get(code, code if code in CODES else None):
        return [meant]
    turned = sorted(known for known in CODES if sorted(known) == sorted(code))
    return turned or sorted(known for known in CODES if len(code) == 3 and _apart(known, code) == 1)[:_NEAR]


def _apart(one: str, other: str) -> int:
    """In how many places two codes differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


_NEAR = 5
"""So many currencies are named where one is not known."""


def by_currency(moneys: Iterable[Money]) -> dict[str, Decimal]:
    """Sums, one a currency, in the order of their codes."""
    sums: dict[str, Decimal] = {}
    for money in moneys:
        sums[money.currency] = EXACT.add(sums.get(money.currency, ZERO), money.amount)
    return dict(sorted(sums.items()))
