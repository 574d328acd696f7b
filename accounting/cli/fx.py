"""`accounting fx`: exchange rates by day, for reports in one currency."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from accounting import converted, fxbook, fxsheets, money
from accounting.cli.books import AsJson, Why, books, measuring, now, out, put_json
from accounting.cli.spans import day as a_day
from accounting.cli.withdrawals import withdrawal, withdrawal_fields
from accounting.errors import ConfigurationError, FxRateError
from accounting.fx import FxRate
from accounting.fxbook import Entry, Loaded, Pair
from accounting.fxsheets import FxSheet
from accounting.settings import whoami
from accounting.sheets import Column, Sheet, counted, instant, printable, say, show
from accounting.store import reading, writing
from accounting.texts import text_of

app = typer.Typer(help="Exchange rates by day, for reports in one currency.", no_args_is_help=True)

_PAIRS = (
    Column("pair", figure=False),
    Column("rate"),
    Column("of", figure=False),
    Column("rates", spare=2),
    Column("since", figure=False, spare=1),
    Column("source", figure=False, spare=3),
    Column("id", spare=4),
)
_ENTRIES = (
    Column("id"),
    Column("pair", figure=False),
    Column("of", figure=False),
    Column("rate"),
    Column("source", figure=False, spare=2),
    Column("loaded", figure=False, spare=3),
    Column("by", figure=False, spare=4),
    Column("withdrawn", figure=False, spare=1),
)


@app.command()
def load(
    files: Annotated[list[Path], typer.Argument(help="CSV or TOML; each is loaded whole or, where it is wrong, not.")],
    source: Annotated[str, typer.Option(help="Where rates are from that name no source; else the file's name.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add exchange rates to the books. One that is there already is left as it is.

    CSV has the columns date, base, quote, rate and, if need be, source: one unit of the base is so many of the quote.
    It may also be the European Central Bank's (Date,USD,JPY,…), where one euro is so many; TOML has [[fx]] with the
    same names. A rate that contradicts one in the books is refused.
    """
    sheets = [(file, fxsheets.read(text_of(file, FxRateError), file.name, source)) for file in files]
    fxbook.distinct((rate for _, sheet in sheets for rate in sheet.rates), now())  # raises before a file is loaded
    done: list[dict[str, Any]] = []
    with books() as engine:
        for file, sheet in sheets:
            loaded = _load(engine, sheet, dry_run)
            done.append({"file": str(file), **asdict(loaded), "left_out": sheet.left_out})
            if not as_json:
                say(out(), _told(file, sheet, loaded, dry_run))
    if as_json:
        put_json({"dry_run": dry_run, "files": done})


def _load(engine: Engine, sheet: FxSheet, dry_run: bool) -> Loaded:
    with measuring() as told:
        return fxbook.load(
            engine,
            sheet.rates,
            now(),
            whoami(),
            dry_run=dry_run,
            progress=lambda done, every: told("Loading", done, every),
        )


def _told(file: Path, sheet: FxSheet, loaded: Loaded, dry_run: bool) -> str:
    verb = "would be added" if dry_run else "added"
    said = f"{file.name}: {counted(loaded.added, 'rate')} {verb}, {loaded.unchanged:,} already there."
    left_out = f" Left out, as no currency today: {', '.join(sheet.left_out)}." if sheet.left_out else ""
    return f"{said}{left_out}"


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Each pair with its latest rate, how many there are, and since when."""
    with books() as engine, reading(engine) as conn:
        found = fxbook.pairs(conn)
    if as_json:
        put_json({"pairs": [_pair_fields(pair) for pair in found]})
    elif found:
        show(out(), Sheet(_PAIRS, tuple(_pair_cells(pair) for pair in found)))
    else:
        say(out(), "No exchange rates yet. Add some: accounting fx load FILE")


def _pair_cells(pair: Pair) -> tuple[Any, ...]:
    latest = pair.latest
    return latest.pair, latest.rate, str(latest.day), pair.count, str(pair.first), latest.source, latest.id


def _pair_fields(pair: Pair) -> dict[str, Any]:
    return {**_rate_fields(pair.latest), "rates": pair.count, "since": pair.first}


@app.command("show")
def show_(
    pair: Annotated[str, typer.Argument(metavar="BASE/QUOTE", help="Like USD/CNY: what one dollar is in yuan.")],
    at: Annotated[str | None, typer.Option("--at", metavar="DAY", help="On that day; else today (UTC).")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many lines of the books at most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """The rate that holds for a pair on a day, what it is made of, and the lines of the books up to then.

    The newest until that day holds, however old. Of one day a pair's own rate comes before the inverse of the opposite
    pair, and that before two by way of a third currency.
    """
    base, quote = _pair(pair)
    day = a_day(at) if at else now().date()
    with books() as engine, reading(engine) as conn:
        lines = fxbook.entries(conn, base, quote, day, limit)
        found = fxbook.exchange(conn, [base], quote, day)
    if as_json:
        rates = [converted.conversion_fields(one) for one in found.conversions]
        put_json({"conversion": next(iter(rates), None), "entries": [_entry_fields(line) for line in lines]})
        return
    say(out(), *(printable(f"{one}.") for one in found.conversions))
    say(out(), *([converted.without_rate(found)] if found.missing else []))
    if lines:
        say(out(), "")
        show(out(), Sheet(_ENTRIES, tuple(_entry_cells(line) for line in lines)))


def _pair(text: str) -> tuple[str, str]:
    base, slash, quote = text.partition("/")
    if not slash:
        raise ConfigurationError(f"{text!r} is no pair; expected two currencies like USD/CNY.")
    if base == quote:
        raise ConfigurationError(f"{text!r} is one currency; expected two like USD/CNY.")
    return money.currency(base), money.currency(quote)


def _entry_cells(entry: Entry) -> tuple[Any, ...]:
    rate = entry.rate
    return (
        rate.id,
        rate.pair,
        str(rate.day),
        rate.rate,
        rate.source,
        instant(entry.loaded_at),
        entry.loaded_by,
        withdrawal(entry),
    )


def _entry_fields(entry: Entry) -> dict[str, Any]:
    return {
        **_rate_fields(entry.rate),
        "loaded_at": entry.loaded_at,
        "loaded_by": entry.loaded_by,
        **withdrawal_fields(entry),
    }


def _rate_fields(rate: FxRate) -> dict[str, Any]:
    return {
        "id": rate.id,
        "base": rate.base,
        "quote": rate.quote,
        "day": rate.day,
        "rate": rate.rate,
        "source": rate.source,
    }


@app.command()
def withdraw(
    id_: Annotated[int, typer.Argument(metavar="ID", help="As accounting fx show says it.")],
    why: Why,
) -> None:
    """Have a wrong rate count no more. It stays in the books, with who withdrew it and why.

    Reports made since then are converted by what is left; a right one is added with accounting fx load.
    """
    with books() as engine, writing(engine) as conn:
        gone = fxbook.withdraw(conn, id_, now(), whoami(), why)
    say(out(), printable(f"Withdrew {gone} (source: {gone.source}). A right one: accounting fx load FILE"))
