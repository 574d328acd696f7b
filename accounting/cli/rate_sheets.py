"""Rates as people and programs read them: a line each, or one with all its prices per 1000 and per million."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounting.cli.withdrawals import withdrawal, withdrawal_fields
from accounting.money import EXACT
from accounting.periods import moment
from accounting.pricelists import successor
from accounting.ratebook import Line
from accounting.rates import CLASSES, PRICES, UNPRICED, Class, Rate
from accounting.sheets import Cell, Column, Sheet, instant
from accounting.store.withdrawals import by_whom

_USUAL = CLASSES[:5]
"""Always shown; the others where there is a price for them."""
_SPARE = {"cache_read": 3, "cache_write": 3, "reasoning": 2}
_SELDOM = 5

_UNITS = {
    "request": "requests",
    "web_search": "web searches",
    "image": "images",
    "audio_second": "seconds of audio",
}
"""What is counted where it is not tokens."""

_WITHOUT = "Prices per 1000 tokens; - costs what its parent costs: cache as input, reasoning as output."


def explained(lines: Sequence[Line]) -> list[str]:
    """What the figures of the sheet mean."""
    units = ", ".join(_title(each) for each in _priced([line.rate for line in lines]) if each.name in _UNITS)
    return [_WITHOUT, *([f"Prices per 1000 {units}, as their columns say; - is no known price."] if units else [])]


def sheet(lines: Sequence[Line], hold: Collection[int]) -> Sheet:
    """A row a line; conditions, withdrawals and which of them hold now, by their ids, where they differ in it."""
    rates = [line.rate for line in lines]
    priced = _priced(rates)
    said = (
        any(rate.conditions for rate in rates),
        None if all(rate.id in hold for rate in rates) else hold,
        any(line.withdrawn_at for line in lines),
    )
    columns = (
        Column("id"),
        Column("provider", figure=False),
        Column("model", figure=False),
        *([Column("only", figure=False)] if said[0] else []),
        Column("valid from", figure=False),
        Column("valid until", figure=False, spare=1),
        *([] if said[1] is None else [Column("holds now", figure=False)]),
        Column("currency", figure=False),
        *(Column(_title(each), spare=_SPARE.get(each.name, 0 if each in _USUAL else _SELDOM)) for each in priced),
        *([Column("withdrawn", figure=False)] if said[2] else []),
        Column("source", figure=False, spare=4),
    )
    return Sheet(columns, tuple(_row(line, priced, *said) for line in lines))


def _row(
    line: Line, priced: Sequence[Class], conditions: bool, hold: Collection[int] | None, withdrawn: bool
) -> tuple[Cell, ...]:
    rate = line.rate
    until = day_or_moment(rate.period.end) if rate.period.end else None
    return (
        *(rate.id, rate.provider, rate.model),
        *([rate.conditions or None] if conditions else []),
        *(day_or_moment(rate.valid_from), until),
        *([] if hold is None else ["yes" if rate.id in hold else None]),
        rate.currency,
        *(_own(rate, each) for each in priced),
        *([instant(line.withdrawn_at) if line.withdrawn_at else None] if withdrawn else []),
        rate.source,
    )


def _priced(rates: Sequence[Rate]) -> list[Class]:
    return [each for each in CLASSES if each in _USUAL or any(_own(rate, each) is not None for rate in rates)]


def _own(rate: Rate, each: Class) -> Decimal | None:
    price: Decimal | None = getattr(rate, each.column)
    return price


def _title(each: Class) -> str:
    return _UNITS.get(each.name, each.name.replace("_", " "))


def price_sheet(rate: Rate) -> Sheet:
    """Each price of one rate, per 1000, and of tokens per million."""
    prices = (Column(f"{rate.currency} per 1000"), Column(f"{rate.currency} per million tokens"))
    columns = (Column("of", figure=False), *prices, Column("", figure=False))
    return Sheet(columns, tuple(_price_row(rate, each) for each in _priced([rate])))


def _price_row(rate: Rate, each: Class) -> tuple[str | Decimal | None, ...]:
    own = _own(rate, each)
    price: Decimal = getattr(rate, f"{each.parent}_per_1k") if own is None else own
    note = f"as {each.parent}" if own is None else ""
    of_tokens = "" if each.name in _UNITS else EXACT.scaleb(price, 3)
    return (_title(each), price, of_tokens, note)


def heading(line: Line, others: Collection[Rate], at: datetime) -> str:
    """Of which calls it is the rate, and when; `others` are the lines in force."""
    rate = line.rate
    only = f" ({rate.conditions})" if rate.conditions else ""
    return f"Line {rate.id}, {rate.provider}/{rate.model}{only}: {_validity(line, others, at)}"


def _validity(line: Line, others: Collection[Rate], at: datetime) -> str:
    rate = line.rate
    since = f"from {day_or_moment(rate.valid_from)}"
    if line.withdrawn_at is not None:
        return f"{since}, withdrawn"
    later = successor(rate, others)
    if later is not None:
        until, end = f"until {day_or_moment(later.valid_from)}, when line {later.id} takes over", later.valid_from
    elif rate.period.end:
        until, end = f"until {day_or_moment(rate.period.end)}", rate.period.end
    else:
        until, end = "until a later rate takes over", None
    holds = at in rate.period and (end is None or at < end) and (rate.hours is None or at in rate.hours)
    return f"{since} {until}{' (holds now)' if holds else ''}"


def history(line: Line) -> list[str]:
    """Where it is from, who loaded it and why, and who withdrew it."""
    said = [
        f"Source: {line.rate.source}",
        f"Loaded {instant(line.loaded_at)}{by_whom(line.loaded_by, line.loaded_why)}",
    ]
    if withdrawn := withdrawal(line):
        said.append(f"Withdrawn {withdrawn}")
    return said


def day_or_moment(at: datetime) -> str:
    """The day where the time is midnight UTC, as most cards write it; else the time, as exactly as it is."""
    return moment(at).removesuffix(" 00:00Z")


def line_fields(line: Line) -> dict[str, Any]:
    """A line of the book for programs, with its history."""
    return {
        **fields(line.rate),
        "loaded_at": line.loaded_at,
        "loaded_by": line.loaded_by,
        "loaded_why": line.loaded_why,
        **withdrawal_fields(line),
    }


def fields(rate: Rate) -> dict[str, Any]:
    """A rate for programs; its id is null while it is not in the books."""
    return {
        "id": None if rate.id == UNPRICED else rate.id,
        "provider": rate.provider,
        "model": rate.model,
        "currency": rate.currency,
        "valid_from": rate.valid_from,
        "valid_until": rate.period.end,
        "service_tier": rate.service_tier,
        "context_above": rate.context_above,
        "hours": str(rate.hours) if rate.hours else None,
        **{name: getattr(rate, name) for name in PRICES},
        "source": rate.source,
    }
