"""`accounting rebuild`: the spend tables and budgets made anew from the calls."""

from dataclasses import asdict
from typing import Any

import typer
from rich.progress import Progress

from accounting import rebuild as spend
from accounting.cli.books import AsJson, books, err, out, put_json
from accounting.cli.spans import Month, Since, Until, books_zone, span
from accounting.differences import Repaired
from accounting.rebuild import Rebuilt
from accounting.sheets import counted, say
from accounting.spend_sheet import Span
from accounting.store import reading

_INTERRUPTED = 128 + 2
"""What a shell makes of a program that SIGINT ended."""


def rebuild(since: Since = None, until: Until = None, month: Month = None, as_json: AsJson = False) -> None:
    """Make spend and budgets anew from the calls, of some days or of all, and say which rows were not right.

    Others may go on writing meanwhile. Interrupted, it is simply run again.
    """
    done, ended = Rebuilt(), True
    with books() as engine, Progress(console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("Rebuilding", total=None)
        with reading(engine) as conn:
            days = span(since, until, month, books_zone(conn).key)
        try:
            for step in spend.steps(
                engine, days.first, days.end, lambda part, total: bar.update(task, completed=part, total=total)
            ):
                done += step
        except KeyboardInterrupt:
            ended = False
    _put_json(done, days, ended) if as_json else _say(done, ended)
    raise typer.Exit(0 if ended else _INTERRUPTED)


def _say(done: Rebuilt, ended: bool) -> None:
    wrong = {name: repaired for name, repaired in done.tables.items() if repaired != Repaired()}
    looked_at = f"{_parts(done)} looked at"
    say(out(), f"{looked_at}: {'these rows were made right.' if wrong else 'every row was right.'}")
    say(out(), *(f"    {name}: {_spelt(repaired)}" for name, repaired in wrong.items()))
    if not ended:
        say(out(), "Interrupted: what was done is whole. Run it again for the rest.")


def _parts(done: Rebuilt) -> str:
    quarters, days = counted(done.quarters, "quarter hour"), counted(done.days, "day")
    return f"{quarters}, {days} and {counted(done.budgets, 'budget')}" if done.budgets else f"{quarters} and {days}"


def _spelt(repaired: Repaired) -> str:
    parts = {"wrong": repaired.wrong, "missing": repaired.missing, "too many": repaired.stray}
    return ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)


def _put_json(done: Rebuilt, days: Span, ended: bool) -> None:
    tables: dict[str, Any] = {name: asdict(repaired) for name, repaired in done.tables.items()}
    counts = {"quarters": done.quarters, "days": done.days, "budgets": done.budgets, "tables": tables}
    put_json({"first": days.first, "end": days.end, "complete": ended, **counts})
