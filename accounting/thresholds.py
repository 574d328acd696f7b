"""Tells programs that a budget has reached one of its thresholds: once for each budget, period and threshold."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from queue import SimpleQueue
from threading import Thread, current_thread

from accounting.coverage import Bound
from accounting.decisions import BudgetState
from accounting.usage import Call

OnBudget = Callable[[BudgetState, Decimal], object]
"""Called with a budget's state and the threshold that it has reached, in percent."""

MOST_WATCHED = 64
"""Sets of budgets that are asked about each time; beyond it those are forgotten whose calls came first."""

MOST_TOLD = 10_000
"""Thresholds that are known to be told; beyond it those are forgotten that were not reached for longest."""

MOST_TO_TELL = 1_000
"""Callbacks that wait for those before them; what is reached meanwhile is told later, with the state of then."""


class Watch:
    """Who wants to be told of which budgets, and what was told already.

    Callers' threads add to it, and one other tells: each step that they share is one of the interpreter's own.
    """

    def __init__(self) -> None:
        self._calls: dict[tuple[OnBudget, tuple[int, ...]], Call] = {}
        self._told: OrderedDict[tuple[OnBudget, str, date, Decimal], None] = OrderedDict()

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
                is_new = told not in self._told
                self._told[told] = None
                self._told.move_to_end(told)
                if len(self._told) > MOST_TOLD:
                    self._told.popitem(last=False)
                if is_new:
                    yield state, percent


class Teller:
    """Calls programs' callbacks in their order, in a thread of its own that begins with the first.

    A slow one keeps those waiting that come after it, and no call. What one raises goes to `failed`.
    """

    def __init__(self, failed: Callable[[BaseException], object]) -> None:
        self._failed = failed
        self._inbox: SimpleQueue[tuple[OnBudget, BudgetState, Decimal] | None] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def is_full(self) -> bool:
        return self._inbox.qsize() >= MOST_TO_TELL

    def tell(self, on_budget: OnBudget, state: BudgetState, percent: Decimal) -> None:
        """Have it called soon; raises `RuntimeError` where no thread is to be had."""
        self._inbox.put((on_budget, state, percent))
        if self._thread is None:
            thread = Thread(target=self._run, name="accounting-on-budget", daemon=True)
            thread.start()
            self._thread = thread

    def end(self) -> None:
        """Have the thread end after what it was given."""
        self._inbox.put(None)

    def join(self, seconds: float) -> None:
        """Wait so long for the thread's end."""
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            on_budget, state, percent = item
            try:
                on_budget(state, percent)
            except BaseException as error:  # noqa: BLE001 - the program's, and this thread goes on
                self._failed(error)
