"""Calls that wait for their budgets' decision, and what is decided where the store can't be asked."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from accounting import grounds
from accounting.coverage import Bound
from accounting.decisions import Ask, BudgetState, Decision, Refusal, WhenAway, Why
from accounting.errors import StoreAway, StoreError
from accounting.latch import Latch
from accounting.thresholds import OnBudget
from accounting.usage import Call


@dataclass(frozen=True, slots=True)
class Away:
    """The store could not be asked."""

    error: BaseException


LEFT = Away(StoreAway("The caller waits no longer: nothing was sent."))

Fate = Decision | Away
Steps = Generator[tuple[Latch, float], None, Decision | None]
"""What is waited for before a call is sent, and how many seconds at most; in the end what was decided."""


class Ticket:
    """A call that waits for its budgets' decision: it is decided or given up, whichever comes first.

    `passes` says whether it is sent where they can't be asked.
    """

    __slots__ = ("_fate", "ask", "latch", "on_budget", "passes")

    def __init__(self, ask: Ask, on_budget: OnBudget | None, passes: bool) -> None:
        self.ask = ask
        self.on_budget = on_budget
        self.passes = passes
        self.latch = Latch()
        self._fate: dict[str, Fate] = {}  # set by one step of the interpreter's own: no lock is to be taken here

    @property
    def is_open(self) -> bool:
        return not self._fate

    @property
    def is_sent_unasked(self) -> bool:
        """Whether the call is on its way without an answer: what is set aside for it all the same, it may cost."""
        fate = self._fate.get("")
        return self.passes and isinstance(fate, Away) and fate is not LEFT

    def decide(self, fate: Fate) -> bool:
        """Whether the caller still waited for it."""
        is_first = self._fate.setdefault("", fate) is fate
        self.latch.open()
        return is_first

    def taken(self, seconds: float) -> Fate:
        """What was decided; the caller waits no longer."""
        late = Away(StoreAway(f"Budgets did not answer within {seconds:g} s (ACCOUNTING_BUDGET_SECONDS)."))
        return self._fate.setdefault("", late)

    def left(self) -> Fate:
        """What was decided; the caller sends nothing."""
        return self._fate.setdefault("", LEFT)


class Question:
    """Somebody wants to know where the budgets stand that cover a call."""

    __slots__ = ("answer", "call", "latch")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.latch = Latch()
        self.answer: list[BudgetState] | Exception | None = None


def refusal_while_away(hard: Sequence[Bound], error: BaseException) -> Refusal | None:
    """What hard budgets say by themselves of a call; None where all of them let it pass."""
    refusing = [bound for bound in hard if bound.when_away is WhenAway.REFUSE]
    if not refusing:
        return None
    first, *others = refusing
    names = [bound.name for bound in others]
    # Our own errors say what is wrong; another's message may carry anything.
    reason = str(error).removesuffix(".") if isinstance(error, StoreError) else type(error).__name__
    message = grounds.message(Why.AWAY, budget=first.name, scope=first.told, reasons=[reason], others=names)
    return Refusal(why=Why.AWAY, budget=first.name, scope=first.told, message=message, others=names)
