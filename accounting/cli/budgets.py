"""`accounting budgets`: limits in money, what is left of them, and where it leads."""

import typer
from sqlalchemy import Connection

from accounting import budget_figures, budgetperiods, budgets
from accounting.budgets import Budget
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
from accounting.sheets import say, show
from accounting.store import reading

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
def history(name: Name, as_json: AsJson = False) -> None:
    """A budget's periods, then what was changed about it: when, by whom and why. Also of one that was removed."""
    with books() as engine, reading(engine) as conn:
        budget = _with_removed(conn, name)
        periods, changes = budgetperiods.all_of(conn, budget), budgets.changes(conn, budget)
    if as_json:
        told = {
            "periods": [period_fields(each) for each in periods],
            "changes": [history_fields(each) for each in changes],
        }
        put_json(budget_fields(budget) | told)
    else:
        show_history(out(), periods, changes)


def _with_removed(conn: Connection, name: str) -> Budget:
    """The budget of that name; else the last one that had it."""
    try:
        return budgets.find(conn, name)
    except ConfigurationError:
        gone = [budget for budget in budgets.known(conn, removed=True) if budget.name == name.strip()]
        if not gone:
            raise
        return gone[-1]
