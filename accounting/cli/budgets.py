"""`accounting budgets`: limits in money, what is left of them, and where it leads."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from accounting import budget_figures, budgetperiods, budgets
from accounting.budgetperiods import Period
from accounting.budgets import Budget, Change
from accounting.cli import budget_changes, budget_releases
from accounting.cli.books import AsJson, books, now, out, put_json, roll_up
from accounting.cli.budget_changes import Name
from accounting.cli.budget_releases import lapse
from accounting.cli.budget_sheets import (
    budget_fields,
    figure_fields,
    history_fields,
    list_sheet,
    period_fields,
    show_figures,
    show_history,
    standing_fields,
)
from accounting.errors import ConfigurationError
from accounting.sheets import counted, instant, printable, say, show
from accounting.store import reading
from accounting.usage import clean

app = typer.Typer(help="Limits in money, what is left of them, and where it leads.", no_args_is_help=True)

app.command()(budget_changes.add)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Each budget in its running period: what is spent, set aside and left."""
    with books() as engine:
        lapse(engine)
        with reading(engine) as conn:
            found = budget_figures.standings(conn, budgets.known(conn), now())
    if as_json:
        put_json({"budgets": [standing_fields(each) for each in found]})
    elif found:
        show(out(), list_sheet(found))
    else:
        say(out(), "No budget yet. Make one: accounting budgets add NAME --amount 100 --currency CNY --every month …")


@app.command("show")
def show_(name: Name, as_json: AsJson = False) -> None:
    """One budget: what is spent, reserved, held and left, its pace, its forecast, and when it runs out."""
    with books() as engine:
        roll_up(engine)  # reading what waits takes longer than what is summed
        lapse(engine)
        with reading(engine) as conn:
            found = budget_figures.figures(conn, budgets.find(conn, name), now())
    if as_json:
        put_json(figure_fields(found))
    else:
        show_figures(out(), found)


for _command in (
    budget_changes.edit,
    budget_changes.pause,
    budget_changes.resume,
    budget_changes.remove,
    budget_releases.release,
):
    app.command()(_command)


@app.command()
def history(
    name: Name,
    removed: Annotated[bool, typer.Option("--removed", help="Of all that had the name and were removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """A budget's periods, then what was changed about it: when, by whom and why.

    Where no budget has the name any more, of the last one that had it.
    """
    with books() as engine, reading(engine) as conn:
        gone = _gone(conn, name)
        if removed:
            found = [_history(conn, budget) for budget in _some(gone, name)]
        else:
            found = [_history(conn, _with_removed(conn, name, gone))]
    if as_json:
        told = [_told(each) for each in found]
        put_json({"budgets": told} if removed else told[0])
    elif removed:
        _show_each(found)
    else:
        show_history(out(), found[0].periods, found[0].changes)
        say(out(), *_others(gone, found[0].budget))


@dataclass(frozen=True, slots=True)
class _History:
    budget: Budget
    periods: Sequence[Period]
    changes: Sequence[Change]


def _history(conn: Connection, budget: Budget) -> _History:
    return _History(budget, budgetperiods.all_of(conn, budget), budgets.changes(conn, budget))


def _told(found: _History) -> dict[str, Any]:
    return budget_fields(found.budget) | {
        "periods": [period_fields(each) for each in found.periods],
        "changes": [history_fields(each) for each in found.changes],
    }


def _show_each(found: Sequence[_History]) -> None:
    for place, each in enumerate(found):
        budget = each.budget
        title = f"{budget.name}, on {budget.told}, {instant(budget.created_at)} to {instant(budget.removed_at)}"
        say(out(), *([""] if place else []), printable(title))
        show_history(out(), each.periods, each.changes)


def _gone(conn: Connection, name: str) -> list[Budget]:
    """Those that were removed while that was their name, in order of time."""
    wanted = clean(name.strip())
    return [each for each in budgets.known(conn, removed=True) if each.removed_at is not None and each.name == wanted]


def _some(gone: list[Budget], name: str) -> list[Budget]:
    if not gone:
        raise ConfigurationError(f"No budget {name.strip()!r} was removed. Those in force: accounting budgets list")
    return gone


def _with_removed(conn: Connection, name: str, gone: Sequence[Budget]) -> Budget:
    """The budget of that name; else the last one that had it."""
    try:
        return budgets.find(conn, name)
    except ConfigurationError:
        if not gone:
            raise
        return gone[-1]


def _others(gone: Sequence[Budget], told: Budget) -> list[str]:
    others = sum(budget.id != told.id for budget in gone)
    if not others:
        return []
    command = shlex.join(["accounting", "budgets", "history", told.name, "--removed"])
    return [printable(f"{counted(others, 'budget')} of this name removed before: {command}")]
