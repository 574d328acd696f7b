"""What a call costs, for the commands that show it: by which rates, of what that was used."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from accounting import ratebook, ratesources
from accounting.charges import Charge
from accounting.cli.books import books
from accounting.errors import AccountingError, ConfigurationError, StoreMissing
from accounting.formats import Answer
from accounting.money import Money, by_currency
from accounting.pricing import price, rate_book
from accounting.resolution import Considered, RateBook
from accounting.store import reading
from accounting.usage import Quantities, Usage

MAX_FILE = 64 * 2**20
"""Bytes of a file that are read: of a whole body fewer are, but a stream may be longer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be priced; `answer` is the saved one, or empty."""

    model: str
    provider: str | None
    at: datetime
    service_tier: str | None
    usage: Usage | Quantities
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """The charge for a model, and the line that was found for it; or why there is none.

    `anomalies` name what was off with the usage, as in `Usage`.
    """

    model: str
    charge: Charge | None
    line: Considered | None = None
    why: str = ""
    anomalies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bill:
    """What one call costs: the first of `priced`, and those of its sub-calls. `rates_of`: where the rates are from."""

    asked: Asked
    priced: tuple[Priced, ...]
    rates_of: str

    @property
    def total(self) -> dict[str, Decimal]:
        """By currency."""
        return by_currency(one.charge.total for one in self.priced if one.charge)

    @property
    def is_whole(self) -> bool:
        return all(one.charge is not None and one.charge.is_whole for one in self.priced)

    @property
    def stated(self) -> Money | None:
        """What the provider itself says that it costs."""
        usage = self.asked.usage
        return usage.provider_cost if isinstance(usage, Usage) else None


@dataclass(frozen=True, slots=True)
class Rates:
    """A rate book, and where it is from."""

    book: RateBook
    source: str


def rates_of(sources: Sequence[str] | None = None) -> Rates:
    """Those of the price lists, else of the books, else the shipped ones."""
    if sources:
        lines = (line for source in sources for line in ratesources.read(source).lines)
        return Rates(rate_book(lines), ", ".join(Path(source).name for source in sources))
    try:
        with books() as engine, reading(engine) as conn:
            return Rates(ratebook.book(conn), "the books")
    except StoreMissing:
        return Rates(rate_book(), "the shipped rate cards, as there are no books")


def answer_bytes(file: str) -> bytes:
    """A saved answer; - is the input."""
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"Can't read {file}: {error.strerror}.") from error
    name = "The input" if file == "-" else file
    if not data:
        raise ConfigurationError(f"{name} is empty; expected an answer's body, or the bytes of its stream.")
    if len(data) > MAX_FILE:
        raise ConfigurationError(f"{name} has more than {MAX_FILE >> 20} MiB; expected one answer's body or stream.")
    return data


def asked_of(answer: Answer, model: str | None, provider: str | None, at: datetime, tier: str | None) -> Asked:
    """What the answer says of itself, where it isn't said otherwise."""
    named = model or answer.model
    if not named:
        raise ConfigurationError("The answer names no model; say which it was with --model.")
    return Asked(named, provider, at, tier or answer.service_tier, answer.usage, answer)


def bill_of(asked: Asked, rates: Rates) -> Bill:
    """Raises what `accounting.price` does, of the call itself."""
    return _bill(_priced(rates.book, asked), asked, rates)


def known_of(asked: Asked, rates: Rates) -> Bill:
    """The same, where it is no fault that there is no price: it says why."""
    return _bill(_known(rates.book, asked), asked, rates)


def _bill(first: Priced, asked: Asked, rates: Rates) -> Bill:
    subs = asked.answer.sub_calls if asked.answer else ()
    beside = (_known(rates.book, replace(asked, model=sub.model, usage=sub.usage)) for sub in subs)
    return Bill(asked, (first, *beside), rates.source)


def _priced(book: RateBook, asked: Asked) -> Priced:
    charge = price(
        *(asked.usage, asked.model, asked.at), provider=asked.provider, service_tier=asked.service_tier, rates=book
    )
    lines = book.considered(charge.rate.provider, asked.model)
    line = next((one for one in lines if one.rate is charge.rate), None)
    return Priced(asked.model, charge, line, anomalies=_anomalies(asked.usage))


def _known(book: RateBook, asked: Asked) -> Priced:
    try:
        return _priced(book, asked)
    except AccountingError as error:
        return Priced(asked.model, None, why=str(error), anomalies=_anomalies(asked.usage))


def _anomalies(usage: Usage | Quantities) -> tuple[str, ...]:
    return usage.anomalies if isinstance(usage, Usage) else ()
