"""What a change of calls in the books does to budgets: in words, and for programs."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from accounting.restated import Restated
from accounting.sheets import amount, printable

_NAMED = 6
"""So many are named in a sentence; JSON has all."""


def moved(done: Restated, verb: str = "moves") -> Iterator[str]:
    """A sentence on what the budgets have spent by it, where it touches any."""
    named = [f"{printable(name)} by {_signed(by)} {code}" for (name, code), by in done.budgets.items()]
    if named:
        more = f" and of {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
        yield f"What is spent of budgets {verb} with it: {', '.join(named[:_NAMED])}{more}."


def budget_fields(done: Restated) -> list[dict[str, Any]]:
    return [{"budget": name, "currency": code, "difference": by} for (name, code), by in done.budgets.items()]


def _signed(by: Decimal) -> str:
    return amount(by) if by < 0 else f"+{amount(by)}"
