"""`accounting budgets release`: what a budget holds for calls that nobody knows the cost of is given back."""

import shlex
from collections.abc import Sequence
from typing import Annotated

import typer
from sqlalchemy import Connection, Engine

from accounting import budgets, reservations
from accounting.budgets import Budget
from accounting.cli.books import AsJson, MaybeWhy, books, now, out, put_json
from accounting.cli.budget_changes import Name, Yes, agreed, in_currency
from accounting.cli.budget_sheets import show_held
from accounting.errors import ConfigurationError
from accounting.money import EXACT, ZERO
from accounting.reservations import Aside
from accounting.settings import whoami
from accounting.settling import HELD
from accounting.sheets import counted, printable, say
from accounting.store import reading, transact


def release(
    name: Name,
    calls: Annotated[
        list[str] | None, typer.Argument(metavar="[CALL]...", help="Their ids, or as much as names no other.")
    ] = None,
    all_held: Annotated[bool, typer.Option("--all-held", help="All that it holds.")] = False,
    why: MaybeWhy = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give back what a budget holds for calls of which nobody said what they cost.

    The provider may have charged for them; what is learned of them later counts all the same.
    """
    with books() as engine:
        lapse(engine)
        with reading(engine) as conn:
            budget = budgets.find(conn, name)
            aside = reservations.aside(conn, budget)
        chosen = _chosen(budget, aside, calls or [], all_held)
        if chosen and not as_json:
            show_held(out(), chosen)
        if chosen and not agreed(f"Release {_sum(budget, chosen)}?", yes):
            say(out(), "Nothing was released.")
            return
        released = transact(engine, lambda conn: _released(conn, budget, chosen, why or "")) if chosen else []
    if as_json:
        done = [{"call": one.call_id, "since": one.reserved_at, "released": one.amount} for one in released]
        put_json({"budget": budget.name, "currency": budget.currency, "released": done})
    elif chosen:
        say(out(), f"Released {_sum(budget, released)}.")
    else:
        say(out(), printable(f"{budget.name} holds nothing."))


def lapse(engine: Engine) -> None:
    """Hold what has lapsed by now: where no scheduler runs, nobody else does."""
    while transact(engine, reservations.lapse):
        pass


def _released(conn: Connection, budget: Budget, chosen: Sequence[Aside], why: str) -> list[Aside]:
    done = reservations.release_held(conn, budget, {one.call_id for one in chosen})
    if done:
        budgets.note(conn, budget, "released", _sum(budget, done), now(), whoami(), why)
    return done


def _chosen(budget: Budget, aside: Sequence[Aside], texts: Sequence[str], all_held: bool) -> list[Aside]:
    held = [one for one in aside if one.state == HELD]
    if all_held == bool(texts):
        raise ConfigurationError(
            f"{budget.name} holds {_sum(budget, held)}. Name calls, as in accounting budgets show, or --all-held."
        )
    return held if all_held else [_named(budget, aside, text) for text in dict.fromkeys(texts)]


def _named(budget: Budget, aside: Sequence[Aside], text: str) -> Aside:
    wanted = text.strip().lower()
    found = [one for one in aside if wanted and str(one.call_id).startswith(wanted)]
    if len({one.call_id for one in found}) > 1:
        raise ConfigurationError(f"{text!r} names {len(found)} calls; expected more of an id.")
    if not found:
        see = f"accounting budgets show {shlex.quote(budget.name)}"
        raise ConfigurationError(f"{budget.name} holds nothing for a call {text!r}; expected one that it names: {see}")
    if found[0].state != HELD:
        raise ConfigurationError(
            f"Call {found[0].call_id} may be running still: what is reserved for it is held from "
            f"{found[0].leased_until:%Y-%m-%d %H:%M}Z on, unless its cost is known by then."
        )
    return found[0]


def _sum(budget: Budget, held: Sequence[Aside]) -> str:
    whole = ZERO
    for one in held:
        whole = EXACT.add(whole, one.amount)
    return f"{in_currency(whole, budget)} for {counted(len({one.call_id for one in held}), 'call')}"
