"""What a change of calls in the books does to budgets: in words, and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from accounting import budgetperiods, budgets
from accounting.budgetperiods import Place
from accounting.money import EXACT, ZERO
from accounting.periods import EARLIEST
from accounting.restated import Restated
from accounting.sheets import amount, printable
from accounting.store import reading

_NAMED = 6
"""So many are named in a sentence; JSON has all."""


@dataclass(frozen=True, slots=True)
class Effect:
    """By how much it moves what a budget has spent in a period, and what remains there after it."""

    budget: str
    currency: str
    begins_on: date
    difference: Decimal
    remaining: Decimal


def effects(engine: Engine, moved: Restated, *, is_done: bool) -> list[Effect]:
    """Period by period; of a change that is not done yet, what would remain."""
    if not moved.budgets:
        return []
    with reading(engine) as conn:
        held = {budget.name: budget for budget in budgets.known(conn)}
        places = {one: Place(held[one.budget].id, one.begins_on) for one in moved.budgets if one.budget in held}
        periods = budgetperiods.read(conn, [*places.values()])
        found = []
        for one, place in places.items():
            period = periods.get(place) or budgetperiods.unused(held[one.budget], one.begins_on)
            by = moved.budgets[one]
            left = period.remaining if is_done else EXACT.subtract(period.remaining, by)
            found.append(Effect(one.budget, one.currency, one.begins_on, by, left))
    return found


def in_words(found: Sequence[Effect], verb: str = "moves") -> Iterator[str]:
    """A sentence on what the budgets have spent by it, where it touches any; what is left is so in the last period."""
    names = dict.fromkeys(one.budget for one in found)
    named = [_named([one for one in found if one.budget == name]) for name in names]
    if named:
        more = f" and of {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
        yield f"What is spent of budgets {verb} with it: {', '.join(named[:_NAMED])}{more}."


def effect_fields(found: Sequence[Effect]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]


def _named(periods: Sequence[Effect]) -> str:
    last, whole = periods[-1], ZERO
    for one in periods:
        whole = EXACT.add(whole, one.difference)
    signed = amount(whole) if whole < 0 else f"+{amount(whole)}"
    period = "" if last.begins_on == EARLIEST else f" in the period from {last.begins_on}"
    return printable(f"{last.budget} by {signed} {last.currency} ({amount(last.remaining)} left{period})")
