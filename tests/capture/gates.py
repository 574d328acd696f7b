"""Budgets in memory, in the place of a store's."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from threading import Event
from uuid import UUID

from accounting.coverage import Bound, Coverage
from accounting.decisions import Ask, BudgetState, Decision, Grant, Mode, Refusal, WhenAway, Why
from accounting.errors import StoreAway
from accounting.scopes import Kind, Scope
from accounting.usage import Call

SECONDS = 10.0
"""The longest that anything here waits."""

TEAM = Bound(1, "team", Scope(Kind.ALL), "everything", Mode.HARD, WhenAway.REFUSE)
LENIENT = replace(TEAM, id=2, name="lenient", when_away=WhenAway.PASS)
SOFT = replace(TEAM, id=3, name="hint", mode=Mode.SOFT, when_away=WhenAway.PASS)


def covering(*bounds: Bound, edition: int = 1) -> Coverage:
    return Coverage(edition=(edition, 0), budgets=bounds)


@dataclass
class Budgets:
    """One budget of so many calls: each sets one aside, and nothing but a release gives it back.

    While `is_away` nothing answers; a step that `stalls` names waits until `go` is set.
    """

    known: Coverage = field(default_factory=lambda: covering(TEAM))
    limit: int = 1_000
    spent: int = 0
    thresholds: tuple[Decimal, ...] = ()
    is_away: bool = False
    stalls: str = ""
    go: Event = field(default_factory=Event)
    reached: Event = field(default_factory=Event)
    reserved: dict[UUID, Ask] = field(default_factory=dict)
    batches: list[list[Ask]] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)
    looked: int = 0
    is_closed: bool = False

    def coverage(self) -> Coverage:
        self._enter("coverage")
        self.looked += 1
        return self.known

    def reserve(self, asks: Sequence[Ask]) -> list[Decision]:
        self._enter("reserve")
        self.batches.append(list(asks))
        return [self._decide(ask) for ask in asks]

    def release(self, call_ids: Collection[UUID]) -> None:
        self._enter("release")
        for call_id in call_ids:
            self.reserved.pop(call_id, None)
            self.released.append(call_id)

    def states(self, call: Call) -> list[BudgetState]:
        self._enter("states")
        return [self._state(bound) for bound in sorted(self.known.covering(call), key=lambda bound: bound.name)]

    def close(self) -> None:
        self.is_closed = True

    def _decide(self, ask: Ask) -> Decision:
        (first, *_) = (bound for bound in self.known.covering(ask.call) if bound.is_hard)
        if self.spent + len(self.reserved) + 1 > self.limit:
            state = self._state(first)
            told = f"Budget {first.name!r} is used up."
            return Refusal(
                why=Why.OVER, budget=first.name, scope=first.told, message=told, asked=Decimal(1), state=state
            )
        self.reserved[ask.call.id] = ask
        return Grant((self._state(first),))

    def _state(self, bound: Bound) -> BudgetState:
        return BudgetState(
            budget=bound.name,
            scope=bound.told,
            mode=bound.mode,
            currency="CNY",
            limit=Decimal(self.limit),
            spent=Decimal(self.spent),
            reserved=Decimal(len(self.reserved)),
            held=Decimal(0),
            begins_on=date(2026, 11, 1),
            ends_on=date(2026, 12, 1),
            thresholds=self.thresholds,
        )

    def _enter(self, step: str) -> None:
        if step == self.stalls:
            self.reached.set()
            self.go.wait(SECONDS)
        if self.is_away:
            raise StoreAway("The store is away.")
