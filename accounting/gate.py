"""The process's way to the budgets of its store: it says before each call whether that may be sent.

Which budgets cover a call is known here, and refreshed every moment by a thread, so that a call which no hard budget
covers asks nobody. For others the thread asks the store: all that wait at the same time in one transaction. What was
set aside for a call that was not sent, or answered with an HTTP error, it gives back; all else is the books' to settle.

Where the store can't be asked, budgets that bind say by themselves what becomes of the call.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import RLock, Thread, current_thread
from uuid import UUID

from accounting import budgetfile, glance, grounds, places
from accounting.coverage import NOTHING, Bound, Coverage
from accounting.decisions import Ask, BudgetState, Grant, Mode, Refusal, WhenAway, Why
from accounting.delivery import Faults
from accounting.errors import AccountingError, StoreAway, StoreError, StoreMissing
from accounting.exposure import Exposure
from accounting.latch import Latch
from accounting.ports import Gate, open_gate
from accounting.thresholds import MOST_TO_TELL, OnBudget, Teller, Watch
from accounting.tickets import Away, Fate, Question, Steps, Ticket, refusal_while_away
from accounting.usage import Call

REFRESHED_EVERY = 2.0
"""Seconds after which a budget that was added or edited binds this process."""

START_SECONDS = 60.0
"""How long a call waits at most until what asks the store is loaded."""

MOST_AT_ONCE = 256
"""Calls that are decided about in one transaction."""

MOST_TO_FREE = 10_000
"""Calls whose reservations wait to be given back while the store is away; beyond it the books settle them."""

FREED_AT_ONCE = 500
"""Calls whose reservations are given back in one transaction: a statement holds only so many ids."""


REQUIRED = "ACCOUNTING_BUDGETS_REQUIRED"
"""The setting stands for the budget's name where a call is refused as nobody could say which budgets there are."""


class Keeper:
    """What the process knows of its budgets, and the thread that asks about them.

    Its methods may be called from any thread, from signal handlers too, and `release` from anywhere at all.
    """

    def __init__(self, url: str, faults: Faults) -> None:
        self.busy = RLock()  # held while the store is worked on
        self._url = url
        self._faults = faults
        self._seconds = places.budget_seconds()
        self._is_required = places.budgets_required()
        self._file = budgetfile.file_of(url)
        self._coverage: Coverage | None = None
        self._last: Coverage | None = None  # what this host knew when the process began
        self._loaded = Latch()  # what asks the store, or it can't be
        self._loaded_by = 0.0
        self._first = Latch()  # it was tried to learn which budgets there are
        self._first_by = 0.0
        self._inbox: SimpleQueue[Ticket | Question | UUID | None] = SimpleQueue()
        self._watch = Watch()
        self._teller = Teller(partial(faults.count, "on_budget"))
        self._gate: Gate | None = None
        self._to_free: dict[UUID, None] = {}  # in the order in which they came
        self._is_failing = False  # it could not be learned which budgets there are
        self._is_away = False  # what was asked last could not be
        self._is_unkept = False  # the host's file could not be written last
        self._is_ending = False
        self._beginning = RLock()
        self._has_begun = False
        self._to_begin = [Thread(target=self._run, name="accounting-gate", daemon=True)]
        self._thread: Thread | None = None

    def covering(self, call: Call) -> list[Bound]:
        """The budgets that cover the call, soft ones too, as far as is known; asks nobody."""
        coverage = self._known()
        return coverage.covering(call) if coverage is not None and coverage.budgets else []

    def admission(
        self, call: Call, exposure: Callable[[bool], Exposure], on_budget: OnBudget | None = None
    ) -> Steps | None:
        """The steps until it is decided whether the call may be sent; None where there is nothing to decide.

        `exposure` is asked only where a hard budget covers the call, and told whether one of those is strict. The steps
        come to None where the call may be sent and nothing was set aside for it. Closed before their end, they leave
        nothing set aside.
        """
        coverage = self._coverage
        if coverage is not None and not coverage.budgets:
            return None
        return self._steps(call, exposure, on_budget)

    def unasked(self, error: BaseException, call: Call | None = None) -> Refusal | None:
        """What is said of a call of which a fault of ours kept its budgets from being asked; None lets it pass.

        Without the call, or where it can't be told which budgets cover it, any may. Waits for nobody.
        """
        with suppress(Exception):  # what this host knows binds from the first call on
            self._begin()
        hard = [bound for bound in self._perhaps_covering(call) if bound.is_hard]
        if not hard and self._coverage is None:
            return self._refusal_unknown()
        return refusal_while_away(hard, error)

    def release(self, call_id: UUID) -> None:
        """Have given back soon what was set aside for the call; waits for nothing and takes no lock."""
        if not self._is_ending:
            self._inbox.put(call_id)

    def states(self, call: Call) -> list[BudgetState]:
        """Where the budgets stand that cover the call; raises `StoreError` where nobody can say, in bounded time."""
        self._begin()
        if current_thread() is self._thread:  # as where a program's log handler asks
            return self._opened().states(call)
        question = Question(call)
        if self._is_ending:
            raise StoreAway("The program is ending: budgets are not asked any more.")
        self._inbox.put(question)
        question.latch.wait(self._seconds)
        if isinstance(question.answer, Exception):
            raise question.answer
        if question.answer is None:
            raise StoreAway(f"Budgets did not answer within {self._seconds:g} s (ACCOUNTING_BUDGET_SECONDS).")
        return question.answer

    def knows_key(self, fingerprint: str) -> bool:
        """Whether the key is one that matters to budgets; waits as a first call does."""
        self._begin()
        for latch, seconds in self._learned():
            latch.wait(seconds)
        known = self._known() or NOTHING
        return fingerprint in known.keys or fingerprint in known.payers

    def end(self) -> None:
        """Have the thread end after what it has in hand. Calls that come now meet budgets that can't be asked."""
        self._is_ending = True
        self._inbox.put(None)

    def join(self, seconds: float) -> None:
        """Wait so long for the end of the thread, and of the callbacks."""
        ends_at = time.monotonic() + seconds
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join(seconds)
        self._teller.join(max(ends_at - time.monotonic(), 0.0))

    def disown(self) -> None:
        """In a forked child: the thread is gone, and its connections are the parent's."""
        self._is_ending = True
        self.busy = self._beginning = RLock()

    def _steps(self, call: Call, exposure: Callable[[bool], Exposure], on_budget: OnBudget | None) -> Steps:
        if self._coverage is None:
            self._begin()
        if self._coverage is None:
            yield from self._learned()
        covering = self.covering(call)
        if on_budget is not None:
            self._watch.see(on_budget, call, covering)
        hard = [bound for bound in covering if bound.is_hard]
        if not hard:
            return None if self._coverage is not None else self._refusal_unknown()
        fate = yield from self._asked(hard, call, exposure, on_budget)
        if isinstance(fate, Away):
            self._faults.count("budgets.away", fate.error)
            return refusal_while_away(hard, fate.error)
        return fate

    def _refusal_unknown(self) -> Refusal | None:
        """What becomes of a call as long as nobody could say which budgets there are; those that this host knew once
        do not cover it."""
        self._faults.count("budgets.unknown", StoreAway("Nobody could say which budgets there are."))
        if not self._is_required:
            return None
        message = grounds.unknown(REQUIRED)
        return Refusal(why=Why.AWAY, budget=REQUIRED, scope="whichever budgets there are", message=message)

    def _perhaps_covering(self, call: Call | None) -> Sequence[Bound]:
        known = self._known()
        if known is None:
            return []
        with suppress(Exception):
            return known.budgets if call is None else known.covering(call)
        return known.budgets

    def _asked(
        self, hard: Sequence[Bound], call: Call, exposure: Callable[[bool], Exposure], on_budget: OnBudget | None
    ) -> Generator[tuple[Latch, float], None, Fate]:
        try:
            ask = Ask(call, exposure(any(bound.mode is Mode.STRICT for bound in hard)))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not let a call past a budget that binds
            return Away(error)
        if self._is_ending or current_thread() is self._thread:
            return Away(StoreAway("The program is ending, or the call was made where budgets are asked."))
        yield from self._until_loaded()
        ticket = Ticket(ask, on_budget, passes=all(bound.when_away is WhenAway.PASS for bound in hard))
        self._inbox.put(ticket)
        try:
            yield ticket.latch, self._seconds
        except BaseException:
            if isinstance(ticket.left(), Grant) or ticket.is_sent_unasked:
                self.release(call.id)  # the thread takes it to be sent
            raise
        return ticket.taken(self._seconds)

    def _begin(self) -> None:
        """Start the thread, once, and take what this host knows."""
        if self._has_begun:
            return
        with self._beginning:
            self._last = self._last or budgetfile.known(self._file)
            self._coverage = self._coverage or self._at_first()
            self._first_by = self._loaded_by = time.monotonic() + START_SECONDS
            with suppress(IndexError):  # a signal handler may have begun it meanwhile
                self._start(self._to_begin.pop())
            self._has_begun = True

    def _start(self, thread: Thread) -> None:
        try:
            if not self._is_ending:
                thread.start()
                self._thread = thread
        except RuntimeError as error:  # no thread to be had: what this host knows binds, and can't be asked
            self._faults.count("budgets.start", error)
            self._is_ending = True
        if self._is_ending:
            self._loaded.open()
            self._first.open()

    def _at_first(self) -> Coverage | None:
        """What is known without asking the store; None where that must be asked first."""
        if self._last is not None and budgetfile.is_fresh(self._file):
            return self._last
        seen = glance.look(self._url)
        if seen is None:
            is_new = self._last is None or not self._last.budgets
            return NOTHING if is_new and places.is_absent(self._url) else None
        if self._last is not None and self._last.edition == seen.edition:
            return self._last
        return None if seen.binds else NOTHING  # soft ones are learned by and by

    def _learned(self) -> Generator[tuple[Latch, float], None, None]:
        """Until it is known which budgets there are, or nobody could say in time.

        To load what asks may take many seconds on a busy host: that must let no call past a budget.
        """
        yield from self._until_loaded()
        if not self._first.is_open:
            yield self._first, self._first_by - time.monotonic()

    def _until_loaded(self) -> Generator[tuple[Latch, float], None, None]:
        if not self._loaded.is_open:
            yield self._loaded, self._loaded_by - time.monotonic()

    def _run(self) -> None:
        due_at = 0.0
        while not self._is_ending:
            items = self._taken(due_at - time.monotonic())
            with self.busy:
                self._serve(items)
                if time.monotonic() >= due_at:
                    self._refresh()
                    due_at = time.monotonic() + REFRESHED_EVERY
        with self.busy:
            while items := self._taken(0.0):
                self._serve(items)
            self._is_away = False  # there is no later try
            self._give_back()
            self._close()
        self._teller.end()

    def _close(self) -> None:
        if self._gate is not None:
            with suppress(Exception):  # the process ends, and its connections with it
                self._gate.close()

    def _taken(self, seconds: float) -> list[Ticket | Question | UUID | None]:
        """What has come in; waits so long for the first."""
        taken: list[Ticket | Question | UUID | None] = []
        try:
            taken.append(self._inbox.get(timeout=max(seconds, 0.0)))
            while len(taken) < MOST_AT_ONCE:
                taken.append(self._inbox.get_nowait())
        except Empty:
            pass
        return taken

    def _serve(self, items: Sequence[Ticket | Question | UUID | None]) -> None:
        try:
            self._serve_in_turn(items)
        except Exception as error:  # noqa: BLE001 - who waits is told nothing, and goes on in time; others are served
            self._faults.count("budgets.serve", error)

    def _serve_in_turn(self, items: Sequence[Ticket | Question | UUID | None]) -> None:
        """Who waits comes first, but for what was given back just now: it may leave room for one who asks again."""
        for item in items:
            if isinstance(item, UUID):
                self._free(item)
        self._give_back_some()
        self._decide([item for item in items if isinstance(item, Ticket) and item.is_open])
        for item in items:
            if isinstance(item, Question):
                self._answer(item)
        self._give_back()

    def _decide(self, tickets: Sequence[Ticket]) -> None:
        if not tickets:
            return
        fates = self._fates([ticket.ask for ticket in tickets])
        for ticket, fate in zip(tickets, fates, strict=True):
            is_waiting = ticket.decide(fate)
            # The caller has gone, or is refused; and what failed may have been done before.
            if not ticket.is_sent_unasked and isinstance(fate, Away if is_waiting else Away | Grant):
                self._free(ticket.ask.call.id)
        for ticket, fate in zip(tickets, fates, strict=True):
            if ticket.on_budget is not None:
                self._tell(ticket.on_budget, _states(fate))

    def _fates(self, asks: Sequence[Ask]) -> Sequence[Fate]:
        try:
            decisions = self._opened().reserve(asks)
            if len(decisions) != len(asks):
                raise ValueError(f"{len(decisions)} decisions about {len(asks)} calls.")
        except Exception as error:  # noqa: BLE001 - whatever it is, it could not be asked
            if len(asks) > 1 and not isinstance(error, StoreError):  # one of them may be to blame
                return [fate for ask in asks for fate in self._fates([ask])]
            self._is_away = True
            return [Away(error)] * len(asks)
        return decisions

    def _answer(self, question: Question) -> None:
        try:
            question.answer = self._opened().states(question.call)
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            question.answer = error
        question.latch.open()

    def _free(self, call_id: UUID) -> None:
        """Have given back what was set aside for the call; where too many wait for that, the first is let go of."""
        self._to_free[call_id] = None
        if len(self._to_free) > MOST_TO_FREE:
            self._to_free.pop(next(iter(self._to_free)))
            self._faults.count("budgets.release", StoreAway("Too many calls wait for the store to be back."))

    def _give_back(self) -> None:
        """What can't be given back now is tried again once the store can be asked."""
        while self._give_back_some():
            pass

    def _give_back_some(self) -> bool:
        """The newest, as somebody may wait for that; whether any were."""
        some = list(self._to_free)[-FREED_AT_ONCE:]
        if not some or self._is_away or self._gate is None:
            return False
        try:
            self._gate.release(some)
        except Exception:  # noqa: BLE001 - it is tried again
            self._is_away = True
            return False
        for call_id in some:
            del self._to_free[call_id]
        return True

    def _refresh(self) -> None:
        """Learn which budgets there are. What was known holds on while the store can't be asked."""
        try:
            self._coverage = self._coverage_now()
            self._is_failing = self._is_away = False
        except Exception as error:  # noqa: BLE001 - calls are decided upon by what was known
            if not self._is_failing:
                self._faults.count("budgets.refresh", error)
            self._is_failing = self._is_away = True
        self._loaded.open()  # a store that was not made yet needs nothing
        self._first.open()
        if self._gate is not None and not self._is_failing:
            self._keep()
            self._give_back()
            self._tell_watchers()

    def _keep(self) -> None:
        """For processes that begin later; where no file can be written they ask for themselves."""
        try:
            budgetfile.keep(self._file, self._known() or NOTHING)
        except Exception as error:  # noqa: BLE001 - it is tried again
            if not self._is_unkept:
                self._faults.count("budgets.keep", error)
            self._is_unkept = True
        else:
            self._is_unkept = False

    def _coverage_now(self) -> Coverage:
        """Raises where nobody can say; a store that had budgets and is gone may come back."""
        known = self._known()
        had_budgets = known is not None and bool(known.budgets)
        if places.is_absent(self._url):
            if had_budgets:
                raise StoreMissing("The store's file is gone; its budgets hold on until it is back.")
            return NOTHING
        try:
            return self._opened().coverage()
        except StoreMissing:
            if had_budgets:
                raise
            return NOTHING

    def _known(self) -> Coverage | None:
        return self._last if self._coverage is None else self._coverage

    def _opened(self) -> Gate:
        if self._gate is None:
            try:
                self._gate = open_gate(self._url)
            finally:
                if not self._loaded.is_open:
                    self._first_by = time.monotonic() + self._seconds
                    self._loaded.open()
        return self._gate

    def _tell_watchers(self) -> None:
        """One call that can't be asked about keeps nobody from being told of another."""
        for on_budget, call in self._watch.asking():
            try:
                self._tell(on_budget, self._opened().states(call))
            except Exception as error:  # noqa: BLE001 - it is tried again
                self._faults.count("budgets.states", error)
                if isinstance(error, StoreError):
                    return

    def _tell(self, on_budget: OnBudget, states: Sequence[BudgetState]) -> None:
        if self._teller.is_full:
            slow = f"{MOST_TO_TELL:,} callbacks wait for on_budget, which takes too long; others are told later."
            self._faults.count("on_budget", AccountingError(slow))
            return
        for state, percent in self._watch.news(on_budget, states):
            try:
                self._teller.tell(on_budget, state, percent)
            except RuntimeError as error:
                self._faults.count("on_budget", error)


def _states(fate: Fate) -> Sequence[BudgetState]:
    if isinstance(fate, Grant):
        return fate.states
    return [fate.state] if isinstance(fate, Refusal) and fate.state is not None else []
