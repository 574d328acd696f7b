"""What `accounting price` shows of a charge: for people, and as JSON."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.console import Console

from accounting.anomalies import meaning
from accounting.charges import Charge, Part
from accounting.cli.bills import Bill, Priced
from accounting.money import EXACT, Money, by_currency, plain
from accounting.periods import moment
from accounting.rates import CLASSES, Rate
from accounting.resolution import Considered
from accounting.sheets import Cell, Column, Sheet, printable, say, show

_TOKENS = {each.name for each in CLASSES if each.parent is not None} | {"input", "output"}


def show_bill(console: Console, bill: Bill) -> None:
    for number, one in enumerate(bill.priced):
        if number:
            say(console, "", f"Beside it, of the model {printable(one.model)}:")
        _show(console, bill, one)
    if len(bill.priced) > 1:
        say(console, "", f"Together{'' if bill.is_whole else ' at least'}: {_moneys(bill.total)}")
    if bill.stated:
        say(console, "", f"The provider states {_moneys(by_currency([bill.stated]))}.")


def _moneys(sums: dict[str, Decimal]) -> str:
    return ", ".join(f"{plain(amount)} {currency}" for currency, amount in sums.items()) or "unknown"


def _show(console: Console, bill: Bill, one: Priced) -> None:
    if one.charge is None:
        say(console, one.why)
        return
    say(console, *_headings(bill, one.charge.rate, one.line), "")
    show(console, _sheet(one.charge))
    if notes := [*_notes(one.charge), *map(_told, one.anomalies)]:
        say(console, "", *notes)


def _headings(bill: Bill, rate: Rate, line: Considered | None) -> Iterator[str]:
    number = f", line {rate.id}" if rate.id else ""
    yield f"{rate}, of {bill.rates_of}{number}"
    yield f"Source: {printable(rate.source)}"
    if line and line.rules:
        yield f"Found as {printable(line.name)}, by the alias " + ", ".join(map(str, line.rules))
    yield f"At {moment(bill.asked.at)}"


def _sheet(charge: Charge) -> Sheet:
    currency = charge.rate.currency
    columns = (
        Column("what", figure=False),
        Column("quantity"),
        Column(f"{currency} per 1000"),
        Column(f"{currency} per million", spare=1),
        Column(currency, named_by_others=True),
        Column("", figure=False),
    )
    total: tuple[Cell, ...] = ("total", "", "", "", charge.total.amount, "")
    return Sheet(columns, tuple(_row(part) for part in charge.parts), total)


def _row(part: Part) -> tuple[Cell, ...]:
    note = "" if part.priced_as == part.name else f"as {_words(part.priced_as)}"
    return (_words(part.name), part.quantity, part.price_per_1k, _per_million(part), part.amount, note)


def _per_million(part: Part) -> Decimal | None:
    """Of tokens, as most price lists have it; nobody counts searches so."""
    return EXACT.scaleb(part.price_per_1k, 3) if part.name in _TOKENS else None


def _words(name: str) -> str:
    return name.replace("_", " ")


def _notes(charge: Charge) -> Iterator[str]:
    for name, count in charge.unpriced.items():
        yield f"Beside it {count:,} {_words(name)}, for which the rate has no price: it cost more."
    if charge.is_partial:
        yield "Not all that was used is stated: it cost at least this."


def _told(anomaly: str) -> str:
    known = meaning(anomaly)
    return f"{printable(anomaly)}: {known.what} {known.rule}" if known else printable(anomaly)


def bill_fields(bill: Bill) -> dict[str, Any]:
    """The same for programs."""
    return {
        "at": bill.asked.at,
        "service_tier": bill.asked.service_tier,
        "rates_of": bill.rates_of,
        "total": [_money(Money(amount, currency)) for currency, amount in bill.total.items()],
        "is_whole": bill.is_whole,
        "provider_cost": bill.stated and _money(bill.stated),
        "charges": [_charge_fields(one) for one in bill.priced],
    }


def _money(money: Money) -> dict[str, Any]:
    return {"amount": money.amount, "currency": money.currency}


def _charge_fields(one: Priced) -> dict[str, Any]:
    charge = one.charge
    if charge is None:
        return {"model": one.model, "total": None, "why": one.why, "anomalies": one.anomalies}
    return {
        "model": one.model,
        "total": _money(charge.total),
        "parts": [_part_fields(part) for part in charge.parts],
        "unpriced": dict(charge.unpriced),
        "is_partial": charge.is_partial,
        "anomalies": one.anomalies,
        "rate": _rate_fields(charge.rate),
        "found_as": one.line and one.line.name,
        "aliases": [] if one.line is None else [[rule.pattern, rule.target] for rule in one.line.rules],
    }


def _part_fields(part: Part) -> dict[str, Any]:
    return {
        "class": part.name,
        "quantity": part.quantity,
        "price_per_1k": part.price_per_1k,
        "price_per_1m": _per_million(part),
        "amount": part.amount,
        "priced_as": part.priced_as,
    }


def _rate_fields(rate: Rate) -> dict[str, Any]:
    return {
        "id": rate.id or None,
        "provider": rate.provider,
        "model": rate.model,
        "valid_from": rate.valid_from,
        "valid_until": rate.period.end,
        "service_tier": rate.service_tier,
        "context_above": rate.context_above,
        "hours": rate.hours and str(rate.hours),
        "source": rate.source,
    }
