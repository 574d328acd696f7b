"""`accounting rates`: load, list and show prices."""

from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from accounting import ratebook
from accounting.cards import parse_card
from accounting.cli.books import AsJson, books, now, out, put_json
from accounting.errors import ConfigurationError, RateCardError
from accounting.money import EXACT
from accounting.rates import CLASSES, PRICES, Class, Rate
from accounting.sheets import Column, Sheet, counted, say, show
from accounting.spend import unpriced_models
from accounting.store import reading, writing

app = typer.Typer(help="Prices per 1000 tokens, searches and so on.", no_args_is_help=True)

_USUAL = CLASSES[:5]
"""Always shown; the others where there is a price for them."""
_SPARE = {"cache_read": 3, "cache_write": 3, "reasoning": 2}
_SELDOM = 5


@app.command()
def load(
    files: Annotated[list[Path], typer.Argument(help="Rate cards (TOML); each is loaded whole or not at all.")],
) -> None:
    """Add the lines of rate cards to the books. A line that is there already is left as it is."""
    cards = [(file, parse_card(_text(file), file.name)) for file in files]
    with books() as engine:
        for file, lines in cards:
            with writing(engine) as conn:
                loaded = ratebook.load(conn, lines, now())
                left = _unpriced(conn, lines)
            say(out(), f"{file.name}: {counted(loaded.added, 'rate')} added, {loaded.unchanged:,} already there.")
            say(out(), *_stay_unpriced(left))


def _unpriced(conn: Connection, lines: list[Rate]) -> int:
    """Calls in the books that are unpriced and of a model of the card."""
    models = {(line.provider, line.model) for line in lines}
    return sum(one.calls for one in unpriced_models(conn, now()) if (one.provider, one.model) in models)


def _stay_unpriced(calls: int) -> list[str]:
    if not calls:
        return []
    if calls == 1:
        return ["1 call already in the books stays unpriced: it keeps the rate of the day it came in."]
    return [f"{calls:,} calls already in the books stay unpriced: they keep the rate of the day they came in."]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """All rates, by provider, model and the day they begin."""
    rates = sorted(_rates(), key=lambda rate: (rate.provider, rate.model, rate.valid_from))
    if as_json:
        put_json({"rates": [_fields(rate) for rate in rates]})
    elif rates:
        show(out(), _sheet(rates))
        say(out(), "", *_explained(rates))
    else:
        say(out(), "No rates yet. Add some: accounting rates load FILE")


@app.command("show")
def show_(
    model: Annotated[str, typer.Argument(help="The model as its provider names it, or provider/model.")],
    as_json: AsJson = False,
) -> None:
    """Each rate of one model: when it holds, its prices per 1000, of tokens also per million, and where it is from."""
    rates = _of(model, _rates())
    if as_json:
        put_json({"rates": [_fields(rate) for rate in rates]})
        return
    at = now()
    for rate in rates:
        say(out(), f"{rate.provider}/{rate.model}: {_validity(rate, at)}", style="bold")
        say(out(), f"Source: {rate.source}", "")
        show(out(), _price_sheet(rate))
        say(out(), "")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")  # Windows' Notepad begins a file with a byte order mark
    except UnicodeDecodeError as error:
        raise RateCardError(f"{file} is no UTF-8 text: {error}.") from error
    except OSError as error:
        raise ConfigurationError(f"Can't read the rate card {file}: {error.strerror}.") from error


def _rates() -> list[Rate]:
    with books() as engine, reading(engine) as conn:
        return list(ratebook.book(conn))


def _of(model: str, rates: list[Rate]) -> list[Rate]:
    found = [rate for rate in rates if model in (rate.model, f"{rate.provider}/{rate.model}")]
    if not found:
        near = get_close_matches(model, {rate.model for rate in rates}, n=3, cutoff=0.5)
        hint = f" Near it: {', '.join(near)}." if near else ""
        raise ConfigurationError(
            f"No rate for {model!r}.{hint} See accounting rates list, or add one: accounting rates load FILE"
        )
    return sorted(found, key=lambda rate: (rate.provider, rate.valid_from))


_UNITS = {
    "request": "requests",
    "web_search": "web searches",
    "image": "images",
    "audio_second": "seconds of audio",
}
"""What is counted where it is not tokens."""

_WITHOUT = "Prices per 1000 tokens; - costs what its parent costs: cache as input, reasoning as output."


def _explained(rates: list[Rate]) -> list[str]:
    units = ", ".join(_title(each) for each in _priced(rates) if each.name in _UNITS)
    return [_WITHOUT, *([f"Prices per 1000 {units}, as their columns say; - is no known price."] if units else [])]


def _sheet(rates: list[Rate]) -> Sheet:
    priced = _priced(rates)
    columns = (
        Column("provider", figure=False),
        Column("model", figure=False),
        Column("valid from", figure=False),
        Column("valid until", figure=False, spare=1),
        Column("currency", figure=False),
        *(Column(_title(each), spare=_SPARE.get(each.name, 0 if each in _USUAL else _SELDOM)) for each in priced),
        Column("source", figure=False, spare=4),
    )
    return Sheet(columns, tuple(_row(rate, priced) for rate in rates))


def _priced(rates: list[Rate]) -> list[Class]:
    return [each for each in CLASSES if each in _USUAL or any(_own(rate, each) is not None for rate in rates)]


def _own(rate: Rate, each: Class) -> Decimal | None:
    price: Decimal | None = getattr(rate, each.column)
    return price


def _title(each: Class) -> str:
    return _UNITS.get(each.name, each.name.replace("_", " "))


def _row(rate: Rate, priced: list[Class]) -> tuple[str | Decimal | None, ...]:
    prices = (_own(rate, each) for each in priced)
    until = _day(rate.period.end) if rate.period.end else None
    return (rate.provider, rate.model, _day(rate.valid_from), until, rate.currency, *prices, rate.source)


def _price_sheet(rate: Rate) -> Sheet:
    prices = (Column(f"{rate.currency} per 1000"), Column(f"{rate.currency} per million tokens"))
    columns = (Column("of", figure=False), *prices, Column("", figure=False))
    return Sheet(columns, tuple(_price_row(rate, each) for each in _priced([rate])))


def _price_row(rate: Rate, each: Class) -> tuple[str | Decimal | None, ...]:
    own = _own(rate, each)
    price: Decimal = getattr(rate, f"{each.parent}_per_1k") if own is None else own
    note = f"as {each.parent}" if own is None else ""
    of_tokens = "" if each.name in _UNITS else EXACT.scaleb(price, 3)
    return (_title(each), price, of_tokens, note)


def _validity(rate: Rate, at: datetime) -> str:
    until = f"until {_day(rate.period.end)}" if rate.period.end else "until a later rate takes over"
    return f"from {_day(rate.valid_from)} {until}{' (holds now)' if at in rate.period else ''}"


def _day(at: datetime) -> str:
    """The day where the time is midnight UTC, as most cards write it; else the time."""
    return f"{at:%Y-%m-%d}" if f"{at:%H:%M:%S}" == "00:00:00" else f"{at:%Y-%m-%d %H:%M}Z"


def _fields(rate: Rate) -> dict[str, Any]:
    return {
        "provider": rate.provider,
        "model": rate.model,
        "currency": rate.currency,
        "valid_from": rate.valid_from,
        "valid_until": rate.period.end,
        **{name: getattr(rate, name) for name in PRICES},
        "source": rate.source,
    }
