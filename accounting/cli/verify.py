"""`accounting verify`: the laws of the books, checked on the user's data."""

from dataclasses import asdict
from typing import Any

import typer
from rich.progress import Progress

from accounting import budgetbalance
from accounting import verify as laws
from accounting.cli.books import AsJson, books, err, out, put_json
from accounting.cli.spans import Month, Since, Until, books_zone, span
from accounting.contributions import SPEND_TABLES
from accounting.sheets import counted, printable, say
from accounting.spend_sheet import Span
from accounting.store import reading
from accounting.verify import Verification

_INTERRUPTED = 128 + 2
"""What a shell makes of a program that SIGINT ended."""

_SPEND = {table.name for table in SPEND_TABLES}
_BUDGETS = {budgetbalance.PERIODS, budgetbalance.ASIDES}


def verify(since: Since = None, until: Until = None, month: Month = None, as_json: AsJson = False) -> None:
    """Recompute every sum from the calls; name each figure that is not what it should be, and exit with 1.

    Others may go on writing meanwhile. With days chosen, only what is billed on these is recomputed.
    """
    found, ended = Verification(), True
    with books() as engine, Progress(console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("Reading calls", total=None)
        with reading(engine) as conn:
            days = span(since, until, month, books_zone(conn).key)
        try:
            for step in laws.steps(
                engine, days.first, days.end, lambda done, total: bar.update(task, completed=done, total=total)
            ):
                found += step
        except KeyboardInterrupt:
            ended = False
    _put_json(found, days, ended) if as_json else _say(found, days, ended)
    raise typer.Exit(_code(found, ended))


def _code(found: Verification, ended: bool) -> int:
    if not found.balanced:
        return 1
    return 0 if ended else _INTERRUPTED


def _say(found: Verification, days: Span, ended: bool) -> None:
    told = [*map(str, found.differences), _verdict(found, days), *_waiting(found), *found.remarks]
    say(out(), *map(printable, told))  # names come from outside
    if not ended:
        say(out(), "Interrupted: the rest was not looked at.")


def _verdict(found: Verification, days: Span) -> str:
    checked = f"{counted(found.calls, 'call')} checked{_chosen(days)}, {found.rolled:,} of them rolled up"
    if found.budgets:
        checked += f", and {counted(found.budgets, 'budget')}"
    if found.balanced:
        agreeing = "days, tags and budgets" if found.budgets else "days and tags"
        return f"{checked}: calls, quarter hours, {agreeing} agree to the last digit."
    return f"{checked}: {counted(len(found.differences), 'figure')} not as expected.{_advice(found)}"


def _advice(found: Verification) -> str:
    tables = {one.table for one in found.differences}
    anew = [what for what, its in (("spend", _SPEND), ("budgets", _BUDGETS)) if tables & its]
    return f" To make {' and '.join(anew)} anew from the calls: accounting rebuild" if anew else ""


def _waiting(found: Verification) -> list[str]:
    """What a reader of the sums doesn't see: it is no difference, and after an upgrade it may be all."""
    waiting = found.calls - found.rolled
    if waiting <= 0:
        return []
    return [f"{counted(waiting, 'call')} in no sum yet. To add what waits: accounting rollup (a report does it too)."]


def _chosen(days: Span) -> str:
    return f" ({days})" if _is_part(days) else ""


def _is_part(days: Span) -> bool:
    return days.first is not None or days.end is not None


def _put_json(found: Verification, days: Span, ended: bool) -> None:
    differences: list[dict[str, Any]] = [asdict(one) for one in found.differences]
    put_json(
        {
            "calls": found.calls,
            "rolled": found.rolled,
            "budgets": found.budgets,
            "first": days.first,
            "end": days.end,
            "complete": ended,
            "differences": differences,
            "remarks": found.remarks,
        }
    )
