"""Tells programs that a budget has reached one of its thresholds: once for each budget, period and threshold."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from accounting.coverage import Bound
from accounting.decisions import BudgetState
from accounting.usage import Call

OnBudget = Callable[[BudgetState, Decimal], object]
"""Called with a budget's state and the threshold that it has reached, in percent."""

MOST_WATCHED = 64
"""Sets of budgets that are asked about each time; beyond it those are forgotten whose calls came first."""


class Watch:
    """Who wants to be told of which budgets, and what was told already.

    Callers' threads add to it, and one other tells: each step that they share is one of the interpreter's own.
    """

    def __init__(self) -> None:
        self._calls: dict[tuple[OnBudget, tuple[int, ...]], Call] = {}
        self._told: set[tuple[OnBudget, str, date, Decimal]] = set()

    def see(self, on_budget: OnBudget, call: Call, covering: Sequence[Bound]) -> None:
        """A call is made that these budgets cover, by a client whose owner wants to be told."""
        if not covering:
            return
        self._calls[on_budget, tuple(bound.id for bound in covering)] = call
        if len(self._calls) > MOST_WATCHED:
            with suppress(StopIteration, RuntimeError, KeyError):  # other threads may do the same
                del self._calls[next(iter(self._calls))]

    def asking(self, now: datetime | None = None) -> Iterator[tuple[OnBudget, Call]]:
        """Calls as if they were made now, whose budgets' states somebody wants to know."""
        for (on_budget, _), call in list(self._calls.items()):
            yield on_budget, replace(call, started_at=now or datetime.now(UTC))

    def news(self, on_budget: OnBudget, states: Sequence[BudgetState]) -> Iterator[tuple[BudgetState, Decimal]]:
        """Thresholds that were reached and not told yet, the lowest first; they count as told from here on."""
        for state in states:
            for percent in sorted(filter(state.has_reached, state.thresholds)):
                told = (on_budget, state.budget, state.begins_on, percent)
                if told not in self._told:
                    self._told.add(told)
                    yield state, percent
