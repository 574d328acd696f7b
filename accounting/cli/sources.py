"""`accounting sources`: the journals that report here, and writing one off."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from accounting import sources
from accounting.cli.books import AsJson, Why, books, now, out, put_json
from accounting.errors import ConfigurationError
from accounting.sheets import Cell, Column, Sheet, counted, instant, say, show
from accounting.sources import Source
from accounting.store import reading, writing

app = typer.Typer(help="The journals that report to the store.", no_args_is_help=True)

_COLUMNS = (
    Column("journal"),
    Column("host", figure=False, spare=2),
    Column("state", figure=False),
    Column("calls begun", spare=4),
    Column("calls delivered", spare=5),
    Column("open calls"),
    Column("backlog", spare=1),
    Column("lost calls"),
    Column("oldest undelivered", figure=False, spare=6),
    Column("seen UTC", figure=False),
    Column("faults", figure=False, spare=3),
)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Each journal: how far it has been delivered, what is open or missing, and when it was last heard of."""
    with books() as engine, reading(engine) as conn:
        found = sources.sources(conn)
    if as_json:
        put_json({"sources": [{**asdict(source), "missing": source.missing} for source in found]})
    elif found:
        show(out(), Sheet(_COLUMNS, tuple(_cells(source) for source in found)))
    else:
        say(out(), "No journal has reported yet.")


@app.command()
def close(
    journal: Annotated[str, typer.Argument(help="Its id, or as much of it as names no other.")],
    why: Why,
) -> None:
    """Write a journal off: totals no longer wait for it. It opens again if it reports again."""
    with books() as engine, writing(engine) as conn:
        found = _named(journal, sources.sources(conn))
        sources.close(conn, found.journal, why, now())
    say(out(), f"Closed journal {found.journal} on {found.host}{_held(found)}.")


def _held(source: Source) -> str:
    if not (held := source.open + source.backlog):
        return ""
    return f"; {counted(held, 'call')} it still held {'is' if held == 1 else 'are'} in no total"


def _named(text: str, known: list[Source]) -> Source:
    if not text.strip():  # every id begins with nothing, so the only journal would be written off
        raise ConfigurationError("An empty id names no journal; expected one as in accounting sources list.")
    found = [source for source in known if str(source.journal).startswith(text.lower())]
    if len(found) != 1:
        what = "no journal" if not found else f"{len(found)} journals"
        raise ConfigurationError(f"{text!r} names {what}; expected an id as in accounting sources list.")
    return found[0]


def _cells(source: Source) -> tuple[Cell, ...]:
    return (
        str(source.journal),
        source.host,
        _state(source, now()),
        source.highest,
        source.contiguous + source.ahead,
        source.open,
        source.backlog,
        source.missing,
        instant(source.oldest_undelivered_at) if source.oldest_undelivered_at else None,
        f"{source.seen_at:%Y-%m-%d %H:%M}",
        ", ".join(f"{step} {count:,}" for step, count in source.faults.items()) or None,
    )


def _state(source: Source, at: datetime) -> str:
    if source.closed_at is not None:
        return "closed" if source.closed_why is None else f"written off: {source.closed_why}"
    return "silent" if source.is_silent(at) else "live"
