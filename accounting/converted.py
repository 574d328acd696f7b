"""Money brought together in one currency, as people read it and as programs do.

It is never rounded, so that lines add up to their total; and no amount leaves the currency it is in without the rate
that it was converted at, the day of that rate and its source standing below.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from accounting.fx import Conversion, Exchange
from accounting.sheets import Column, amount, printable

Spent = Mapping[str, Decimal]
"""Sums by currency."""

OF_MONEY = ("converted_", "not_converted_", "fx_")
"""How its columns in CSV begin."""


def columns(exchange: Exchange | None) -> tuple[Column, ...]:
    """One, which names what is not in it; none where all was spent in the one currency."""
    if exchange is None or not (exchange.conversions or exchange.missing):
        return ()
    without = f" without {' '.join(exchange.missing)}" if exchange.missing else ""
    return (Column(f"in {exchange.currency}{without}"),)


def cells(exchange: Exchange | None, spent: Spent) -> tuple[Decimal | None, ...]:
    """Under those columns."""
    return (exchange.total(spent),) if exchange and columns(exchange) else ()


def in_words(exchange: Exchange | None, spent: Spent, estimated: Spent) -> list[str]:
    """The total, a line for each rate that made it so, and what is not in it; none where that was not asked for."""
    if exchange is None:
        return []
    total, likely = exchange.total(spent), exchange.total(estimated)
    beside = f", and ≈ {amount(likely)} estimated beside" if likely else ""
    what = f"In {exchange.currency}: {_nothing(exchange) if total is None else amount(total)}{beside}"
    if not exchange.conversions and not exchange.missing:
        return [f"{what}; nothing was spent in another currency."]
    if not exchange.conversions:
        return [f"{what}.", *_not_in_it(exchange, spent, estimated)]
    rates = [printable(f"{one}.") for one in exchange.conversions]
    by = f"by the latest exchange rates until {exchange.day}:"
    return [f"{what}, {by}", *rates, *_not_in_it(exchange, spent, estimated)]


def _nothing(exchange: Exchange) -> str:
    return "nothing" if exchange.missing else "nothing priced"


def _not_in_it(exchange: Exchange, spent: Spent, estimated: Spent) -> list[str]:
    if not exchange.missing:
        return []
    left = [f"{amount(value)} {code}" for code, value in exchange.left(spent).items()]
    likely = [f"≈ {amount(value)} {code} estimated" for code, value in exchange.left(estimated).items()]
    return [f"Not in it: {', '.join((*left, *likely))}. {without_rate(exchange)}"]


def without_rate(exchange: Exchange) -> str:
    """Which rates there are none of, and how to add them."""
    pairs = " or ".join(f"{code}/{exchange.currency}" for code in exchange.missing)
    return (
        f"There is no exchange rate {pairs} of {exchange.day} or before, nor the opposite one, nor two by way of a "
        "third currency. Load one: accounting fx load FILE"
    )


def fields(exchange: Exchange | None, spent: Spent) -> dict[str, Any]:
    """The sum in one currency for JSON, where that was asked for; its amount is null where nothing is in it."""
    if exchange is None:
        return {}
    total = {"currency": exchange.currency, "amount": exchange.total(spent), "not_converted": exchange.left(spent)}
    return {"converted": total}


def exchange_fields(exchange: Exchange | None) -> dict[str, Any]:
    """By which rates, and which there are none of."""
    if exchange is None:
        return {}
    rates = [conversion_fields(one) for one in exchange.conversions]
    return {
        "fx": {"currency": exchange.currency, "day": exchange.day, "rates": rates, "without_rate": exchange.missing}
    }


def conversion_fields(conversion: Conversion) -> dict[str, Any]:
    """An exchange rate for programs; `derived` are the rates it was made of, where it is not one of the books."""
    made_of = [
        {"base": one.base, "quote": one.quote, "rate": one.rate, "day": one.day, "source": one.source}
        for one in conversion.of
    ]
    return {
        "base": conversion.base,
        "quote": conversion.quote,
        "rate": conversion.rate,
        "day": conversion.day,
        "age_days": conversion.age_days,
        "source": conversion.source,
        "derived": made_of if conversion.derived else [],
    }


def flat(exchange: Exchange | None, spent: Spent, estimated: Spent) -> dict[str, object]:
    """The sums in one currency for CSV, and by which rates: these are in every row, as a file has no other place."""
    if exchange is None:
        return {}
    left, likely = exchange.left(spent), exchange.left(estimated)
    return {
        f"converted_{exchange.currency}": exchange.total(spent),
        **{f"not_converted_{code}": left.get(code) for code in exchange.missing},
        f"estimated_converted_{exchange.currency}": exchange.total(estimated),
        **{f"estimated_not_converted_{code}": value for code, value in likely.items()},
        "fx_day": exchange.day,
        **{name: value for one in exchange.conversions for name, value in _flat_rate(one).items()},
    }


def _flat_rate(conversion: Conversion) -> dict[str, object]:
    name = f"fx_{conversion.base}_{conversion.quote}"
    return {name: conversion.rate, f"{name}_day": conversion.day, f"{name}_source": conversion.source}
