"""What every command needs: the books, the clock, the consoles."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from sqlalchemy import Engine

from accounting.errors import ConfigurationError
from accounting.rollup import Rolled, roll_all
from accounting.settings import Settings
from accounting.sheets import counted, json_text, say
from accounting.store import open_engine, reading, schema

AsJson = Annotated[bool, typer.Option("--json", "-j", help="JSON; amounts and prices as decimal strings.")]


def _not_blank(why: str | None) -> str | None:
    if why is not None and not why.strip():
        raise ConfigurationError("--why is empty; expected the reason, as it is kept in the books.")
    return why


Why = Annotated[str, typer.Option(help="The reason, kept with it in the books.", callback=_not_blank)]
MaybeWhy = Annotated[
    str | None, typer.Option("--why", help="The reason, kept with it in the books.", callback=_not_blank)
]


@contextmanager
def books() -> Iterator[Engine]:
    """The store that the settings name; raises where there is none, or one of another schema."""
    engine = open_engine(Settings().store_url)
    try:
        with reading(engine) as conn:
            schema.check(conn)
        yield engine
    finally:
        engine.dispose()


def now() -> datetime:
    return datetime.now(UTC)


def out() -> Console:
    """Where the answer goes."""
    return Console()


def err() -> Console:
    """Where progress and complaints go, so that a pipe holds the answer alone."""
    return Console(stderr=True)


def asks() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty() and err().is_terminal


def confirmed(question: str) -> bool:
    """What somebody answers who is there; no where they end the input instead (Ctrl-D)."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        typer.echo(err=True)
        return False


def put_json(value: object) -> None:
    typer.echo(json_text(value))


@contextmanager
def measuring() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that says what is done, and how much of how much, while the block runs on a terminal."""
    with Progress(console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("", total=None)

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield told


@contextmanager
def counting(what: str, beside: Console | None = None) -> Iterator[Callable[[int], None]]:
    """A count that runs while the block does, on a terminal; its total isn't known beforehand.

    None before there is something to count, and none where what it is `beside` is printed on a terminal too.
    """
    hidden = not err().is_terminal or (beside is not None and beside.is_terminal)
    columns = (TextColumn("{task.description}"), BarColumn(pulse_style="cyan"), TextColumn("{task.completed:,} calls"))
    bar = Progress(*columns, console=err(), transient=True, disable=hidden)
    task = bar.add_task(what, total=None)
    with ExitStack() as shown:

        def told(calls: int) -> None:
            if not bar.live.is_started:
                shown.enter_context(bar)
            bar.update(task, completed=calls)

        yield told


def roll_up(engine: Engine) -> Rolled:
    """Roll up whatever was delivered by now, telling how far it is."""
    with counting("Rolling up") as told:
        return roll_all(engine, now, lambda so_far: told(so_far.calls))


def sum_anew(engine: Engine) -> None:
    """Roll up what an upgrade took out of the sums: whoever reads them by SQL would take that for no spend."""
    try:
        rolled = roll_up(engine)
    except BaseException:
        say(err(), "The store is upgraded, but not all calls are in the sums. To add the others: accounting rollup")
        raise
    if rolled.calls:
        say(out(), f"Rolled up {counted(rolled.calls, 'call')}: the sums are whole.")
