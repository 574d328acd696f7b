"""`accounting rates load`, `add`, `withdraw` and `end`: what changes the rate book, and which calls that touches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from accounting import cards, ratebook, ratechanges, ratesheets, stamps
from accounting.cli.books import AsJson, MaybeWhy, Why, books, now, out, put_json, roll_up
from accounting.cli.rate_effects import (
    DRY,
    change_fields,
    insist,
    show_doubts,
    show_ending,
    show_replaced,
    show_touched,
)
from accounting.cli.rate_sheets import price_sheet
from accounting.cli.said import count, number
from accounting.errors import RateCardError
from accounting.money import EXACT, exact
from accounting.periods import moment
from accounting.ratebook import Loaded
from accounting.ratechanges import Change
from accounting.rates import CLASSES, PARENTS, REQUIRED, Rate
from accounting.settings import whoami
from accounting.sheets import counted, printable, say, show
from accounting.store import reading
from accounting.texts import text_of
from accounting.touched import touched

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Add prices that look a thousand times off, too.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The line's number: accounting rates list")]

_NAMES = tuple(each.name for each in CLASSES)
_TOKENS = frozenset(name for name in _NAMES if PARENTS[name] is not None or name in REQUIRED)
_PRICE_HELP = f"As CLASS=PRICE, per 1000, like input=0.011 output=0.035. Classes: {', '.join(_NAMES)}."


def load(
    files: Annotated[
        list[Path], typer.Argument(help="Rate cards (TOML), or sheets as rates export --csv writes them.")
    ],
    why: MaybeWhy = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Add the lines of rate cards to the books: all of them or none. A line that is there already is left as it is."""
    read = [(file.name, _lines(file)) for file in files]
    lines = [line for _, some in read for line in some]
    with books() as engine:
        roll_up(engine)  # what was delivered a moment ago is touched, too
        with reading(engine) as conn:
            change = ratechanges.loading(conn, lines)
        loaded = None if dry_run else _load(engine, change, [some for _, some in read], yes, why or "")
        change = _by_now(engine, change) if loaded else change
    if as_json:
        _put(change, [rate for each in loaded for rate in each.lines] if loaded else None, dry_run)
        return
    if loaded:
        counts = ((each.added, each.unchanged) for each in loaded)
        told = (f"{counted(added, 'rate')} added, {there:,} already there." for added, there in counts)
        say(out(), *(f"{printable(name)}: {text}" for (name, _), text in zip(read, told, strict=True)))
    else:
        say(out(), f"{counted(len(change.added), 'rate')} would be added, {change.unchanged:,} already there. {DRY}")
    if change.added:
        _show_added(change, why or f"loaded {', '.join(name for name, _ in read)}", dry_run)


def add(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As its provider names it; * stands for any text.")],
    prices: Annotated[list[str], typer.Argument(metavar="PRICE...", help=_PRICE_HELP)],
    provider: Annotated[str, typer.Option(help="Whose price it is, as calls name it.")],
    currency: Annotated[str, typer.Option(help="A code of ISO 4217, like CNY.")],
    valid_from: Annotated[
        str,
        typer.Option(metavar="DAY|INSTANT", help="Of calls that begin then or later: a day, in UTC, or an instant."),
    ],
    source: Annotated[str, typer.Option(help="Where the price is from, kept with it: price list of 2026-02-12.")],
    valid_until: Annotated[
        str | None,
        typer.Option(metavar="DAY|INSTANT", help="Of calls that begin before then; else until a later line."),
    ] = None,
    tier: Annotated[str, typer.Option(help="Only as served: batch, flex, priority …; * is any.")] = "",
    context_above: Annotated[
        str, typer.Option(metavar="COUNT", help="Only of calls with more input than this, cached included: 200k.")
    ] = "0",
    hours: Annotated[str | None, typer.Option(help='Only within them: "mon-fri 00:30-08:30 Asia/Shanghai".')] = None,
    per_million: Annotated[
        bool, typer.Option("--per-million", help="Prices of tokens are those of a million; others stay per 1000.")
    ] = False,
    why: MaybeWhy = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Add one line to the books; from its time on it takes the place of the model's older ones."""
    heading = {"provider": provider, "currency": currency, "source": source}
    said: dict[str, Any] = {
        "model": model,
        "valid_from": cards.instant(valid_from, "--valid-from"),
        "service_tier": tier,
        "context_above": count(context_above, "--context-above"),
        **_prices(prices, per_million),
        **({"valid_until": cards.instant(valid_until, "--valid-until")} if valid_until is not None else {}),
        **({"hours": hours} if hours is not None else {}),
    }
    line = _line(heading, said)
    with books() as engine:
        roll_up(engine)
        with reading(engine) as conn:
            change = ratechanges.loading(conn, [line])
            held = ratebook.same(conn, line)
        if held is None and not dry_run:
            insist(change.suspicious, yes)
            line = stamps.decide(engine, lambda conn: ratebook.add(conn, line, now(), whoami(), why or ""))
            change = _by_now(engine, change)
    if as_json:
        _put(change, None if dry_run or held else [line], dry_run)
        return
    if held:
        say(out(), printable(f"{held} is in the books already, with these prices, as line {held.id}. It is left so."))
        return
    say(out(), printable(f"Would add {line}. {DRY}" if dry_run else f"Added line {line.id}, {line}."))
    show(out(), price_sheet(line))
    _show_added(change, why or source, dry_run)


def withdraw(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The lines' numbers: accounting rates list")],
    why: Why,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have lines price no call from now on: all of them or none. They stay in the books, as calls name them."""
    wanted = [number(text, "ID") for text in ids]
    with books() as engine:
        roll_up(engine)
        with reading(engine) as conn:
            change = ratechanges.withdrawing(conn, wanted, now())
        if not dry_run:
            stamps.decide(engine, lambda conn: ratebook.withdraw(conn, wanted, now(), whoami(), why))
    if as_json:
        _put(change, None, dry_run)
        return
    verb = "Would withdraw" if dry_run else "Withdrew"
    say(
        out(), *(printable(f"{verb} line {rate.id}, {rate}.") for rate in change.withdrawn), *([DRY] if dry_run else [])
    )
    _show_gone(change, why, dry_run)


def end(
    id_: Id,
    at: Annotated[
        str, typer.Option(metavar="DAY|INSTANT", help="Of calls that begin before then: a day, in UTC, or an instant.")
    ],
    why: Why,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have a line hold until then only. It is withdrawn, and one with the end is added in its place."""
    wanted, until = number(id_, "ID"), cards.instant(at, "--at")
    with books() as engine:
        roll_up(engine)
        with reading(engine) as conn:
            change = ratechanges.ending(conn, wanted, until, now())
        line = None
        if not dry_run:
            line = stamps.decide(engine, lambda conn: ratebook.end(conn, wanted, until, now(), whoami(), why))
    if as_json:
        _put(change, [line] if line else None, dry_run)
        return
    place = f"ends at {moment(until)}; line {line.id} says so in its place." if line else ""
    told = place or f"would end at {moment(until)}. {DRY}"
    say(out(), printable(f"Line {wanted}, {change.withdrawn[0]}, {told}"))
    _show_gone(change, why, dry_run)


def _lines(file: Path) -> list[Rate]:
    if file.suffix.lower() == ".csv":
        return ratesheets.read_csv(text_of(file, RateCardError), file.name)
    return cards.read(file)


def _load(engine: Engine, change: Change, files: Sequence[Sequence[Rate]], yes: bool, why: str) -> list[Loaded]:
    insist(change.suspicious, yes)
    return stamps.decide(engine, lambda conn: [ratebook.load(conn, lines, now(), whoami(), why) for lines in files])


def _by_now(engine: Engine, change: Change) -> Change:
    """With the calls, too, that came in while a question stood."""
    roll_up(engine)
    with reading(engine) as conn:
        return replace(change, touched=touched(conn, change.added))


def _line(heading: Mapping[str, str], said: Mapping[str, Any]) -> Rate:
    for what, text in heading.items():
        if not text.strip():
            raise RateCardError(f"--{what} is empty; expected its name, as it is kept in the books.")
    cards.check_currency(heading["currency"], "--currency")
    return cards.line_of(heading, said, "rates add")


def _prices(words: Sequence[str], per_million: bool) -> dict[str, str | Decimal]:
    found: dict[str, str | Decimal] = {}
    for word in words:
        name, sign, said = word.partition("=")
        if not sign or name not in _NAMES:
            raise RateCardError(
                f"{word!r} is no price; expected one like input=0.011 or output=0.035. Prices are of "
                f"{', '.join(_NAMES)}."
            )
        if name in found:
            raise RateCardError(f"{name} has two prices, {found[name]} and {said}; keep one.")
        found[name] = _per_thousand(name, said) if per_million and name in _TOKENS else said
    return found


def _per_thousand(name: str, said: str) -> Decimal:
    try:
        number = exact(said)
    except ValueError as error:
        raise RateCardError(f"{name} per million: {error}") from error
    if number < 0:
        raise RateCardError(f"{name} is {said} per million; a price can't be negative.")
    return EXACT.scaleb(number, -3)


def _put(change: Change, added: Sequence[Rate] | None, dry_run: bool) -> None:
    put_json(change_fields(change, dry_run=dry_run, added=added))


def _show_added(change: Change, why: str, dry_run: bool) -> None:
    if dry_run:
        show_doubts(change)
    else:
        show_replaced(change)
    show_touched(change.touched, None if dry_run else why)


def _show_gone(change: Change, why: str, dry_run: bool) -> None:
    show_touched(change.touched, None if dry_run else why)
    show_ending(change)
