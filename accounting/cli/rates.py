"""`accounting rates`: prices are loaded, listed, shown, exported, and withdrawn where they were wrong."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from accounting import cards, ratebook, ratesheets
from accounting.cli import aliases, rate_changes, rate_imports
from accounting.cli.books import AsJson, books, now, out, put_json
from accounting.cli.explain import explain
from accounting.cli.rate_effects import touched_fields
from accounting.cli.rate_sheets import explained, heading, history, line_fields, price_sheet, sheet
from accounting.errors import ConfigurationError
from accounting.nearness import near
from accounting.patterns import fits
from accounting.pricelists import in_force
from accounting.ratebook import Line
from accounting.rates import Rate
from accounting.sheets import counted, instant, printable, say, show
from accounting.spend_sheet import money
from accounting.store import reading
from accounting.touched import Touched, priced_by

app = typer.Typer(help="Prices per 1000 tokens, searches and so on.", no_args_is_help=True)
for _command in (rate_changes.load, rate_changes.add, rate_changes.end, rate_changes.withdraw, explain):
    app.command()(_command)
app.command("import")(rate_imports.import_)
app.add_typer(aliases.app, name="aliases")

Provider = Annotated[str | None, typer.Option("--provider", metavar="PROVIDER", help="Of this one alone.")]
Model = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="As the line names it; * stands for any text.")
]
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="DAY|INSTANT", help="Only what prices calls that begin then: a day, in UTC, or a time."
    ),
]
Withdrawn = Annotated[bool, typer.Option("--withdrawn", help="Also lines that were withdrawn.")]


@app.command("list")
def list_(
    provider: Provider = None,
    model: Model = None,
    at: At = None,
    withdrawn: Withdrawn = False,
    as_json: AsJson = False,
) -> None:
    """The rates, by provider, model and the day they begin."""
    lines = _lines(withdrawn)
    chosen = _chosen(lines, provider, model, cards.instant(at, "--at") if at else None)
    if as_json:
        put_json({"rates": [line_fields(line) for line in chosen]})
    elif chosen:
        show(out(), sheet(chosen, _hold(lines, now())))
        say(out(), "", *explained(chosen))
    elif lines:
        say(out(), f"None of {counted(len(lines), 'rate')} is such a one. To see them: accounting rates list")
    else:
        say(out(), "No rates yet. Add some: accounting rates load FILE")


@app.command("show")
def show_(
    wanted: Annotated[
        str, typer.Argument(metavar="ID|MODEL", help="A line's number, or the model as the line names it.")
    ],
    withdrawn: Withdrawn = False,
    as_json: AsJson = False,
) -> None:
    """A rate, or each of a model: when it holds, its prices per 1000, of tokens also per million, and its history."""
    lines = _lines(withdrawn=True)
    found = _by_id(wanted, lines) or _of(wanted, [line for line in lines if withdrawn or line.withdrawn_at is None])
    priced = _priced_by(found)
    if as_json:
        both = zip(found, priced, strict=True)
        put_json({"rates": [{**line_fields(line), "priced": touched_fields(calls)} for line, calls in both]})
        return
    at, others = now(), [line.rate for line in lines if line.withdrawn_at is None]
    for line, calls in zip(found, priced, strict=True):
        say(out(), printable(heading(line, others, at)), style="bold")
        say(out(), *map(printable, history(line)), _calls(calls), "")
        show(out(), price_sheet(line.rate))
        say(out(), "")


@app.command()
def export(
    provider: Provider = None,
    model: Model = None,
    at: At = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FOLDER", help="Write a card each provider, currency and source.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="One sheet (CSV) of all, instead of cards (TOML).")] = False,
) -> None:
    """Print the rates so that accounting rates load takes them as they are; withdrawn ones are left out."""
    rates = [line.rate for line in _chosen(_lines(), provider, model, cards.instant(at, "--at") if at else None)]
    if as_csv:
        _refuse_folder(into)
        _print(ratesheets.write_csv(rates))
    elif into is not None:
        _write(into, rates)
    else:
        _print(_one_card(rates))


def _lines(withdrawn: bool = False) -> list[Line]:
    with books() as engine, reading(engine) as conn:
        return ratebook.lines(conn, withdrawn=withdrawn)


def _priced_by(lines: Sequence[Line]) -> list[Touched]:
    with books() as engine, reading(engine) as conn:
        return [priced_by(conn, [line.rate]) for line in lines]


def _chosen(lines: Sequence[Line], provider: str | None, model: str | None, at: datetime | None) -> list[Line]:
    held = [line.rate for line in lines if line.withdrawn_at is None]
    ids = {rate.id for rate in (held if at is None else in_force(held, at))}
    found = (
        line
        for line in lines
        if (line.rate.id in ids or (line.withdrawn_at and (at is None or at in line.rate.period)))
        and provider in (None, line.rate.provider)
        and (model is None or _is_named(line.rate, model))
    )
    return sorted(found, key=lambda line: (line.rate.provider, line.rate.model, line.rate.valid_from, line.rate.id))


def _hold(lines: Sequence[Line], at: datetime) -> set[int]:
    """The lines by which a call that begins then may be priced, by their ids."""
    held = in_force((line.rate for line in lines if line.withdrawn_at is None), at)
    return {rate.id for rate in held if rate.hours is None or at in rate.hours}


def _is_named(rate: Rate, model: str) -> bool:
    """By its model, with its provider before it or without; or by a pattern that fits."""
    return any(model == name or fits(model, name) for name in (rate.model, f"{rate.provider}/{rate.model}"))


def _by_id(text: str, lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if text == str(line.rate.id)]


def _of(model: str, lines: Sequence[Line]) -> list[Line]:
    found = [line for line in lines if model in (line.rate.model, f"{line.rate.provider}/{line.rate.model}")]
    if not found:
        like = near(model, {line.rate.model for line in lines}, 0.5)
        hint = f" Near it: {', '.join(like)}." if like else ""
        raise ConfigurationError(
            f"No rate for {model!r}.{hint} See accounting rates list, or add one: accounting rates add"
        )
    return sorted(found, key=lambda line: (line.rate.provider, line.rate.valid_from, line.rate.id))


def _calls(priced: Touched) -> str:
    if not priced.calls:
        return "No call in the books is priced by it."
    return (
        f"It prices {counted(priced.calls, 'call')} in the books, since {instant(priced.first)}: {money(priced.spent)}."
    )


def _one_card(rates: Sequence[Rate]) -> str:
    many = cards.by_heading(rates)
    if len(many) != 1:
        raise ConfigurationError(
            f"These are {counted(len(many), 'card')}, one for each provider, currency and source. Have them written "
            "into a folder (--into FOLDER), take one sheet of all (--csv), or choose: --provider, --model, --at."
        )
    return cards.write(many[0])


def _refuse_folder(into: Path | None) -> None:
    if into is not None:
        raise ConfigurationError("--csv is one sheet, and --into is for cards. For a file: --csv > rates.csv")


def _write(into: Path, rates: Sequence[Rate]) -> None:
    """A file each card; none where one of them is there already."""
    files = {into / name: cards.write(card) for name, card in _named(cards.by_heading(rates)).items()}
    if there := [str(file) for file in files if file.exists()]:
        raise ConfigurationError(f"{', '.join(there)} is there already; nothing was written. Name another folder.")
    try:
        into.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(f"Can't write into {into}: {error.strerror}.") from error
    say(out(), f"Wrote {counted(len(rates), 'rate')} into {counted(len(files), 'card')} in {into}.")


def _named(many: Sequence[list[Rate]]) -> dict[str, list[Rate]]:
    """The cards by the names of their files: acme.toml, acme-2.toml."""
    found: dict[str, list[Rate]] = {}
    for card in many:
        bare = re.sub(r"[^a-z0-9.]+", "-", card[0].provider.lower()).strip("-.") or "rates"
        names = (f"{bare}{f'-{number}' if number > 1 else ''}.toml" for number in range(1, len(many) + 1))
        found[next(name for name in names if name not in found)] = card
    return found


def _print(text: str) -> None:
    """As bytes, which Windows leaves as they are; on a terminal without what could steer it."""
    if out().is_terminal:
        typer.echo("\n".join(map(printable, text.splitlines())))
    else:
        typer.echo(text.encode(), nl=False)
