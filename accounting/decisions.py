"""What is asked of budgets before a call is sent, and what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from accounting.exposure import Exposure
from accounting.money import EXACT
from accounting.usage import Call


class Mode(StrEnum):
    """Whether a budget stops calls: `SOFT` never does. `STRICT` sets aside the most that a call can cost."""

    SOFT = "soft"
    HARD = "hard"
    STRICT = "strict"


class WhenAway(StrEnum):
    """What becomes of a call when the store can't be asked."""

    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """Where a budget stands in one of its periods: amounts in its currency, exact.

    `spent` is the cost of its calls in the books, `reserved` is set aside for those that run, `held` for those of which
    nobody said yet what they cost. The period's days are from `begins_on` to `ends_on`, left out; it ends at the
    instant `ends_at` (UTC). The last two are None for a budget that never begins anew. `scope` is for people.
    """

    budget: str
    scope: str
    mode: Mode
    currency: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    held: Decimal
    begins_on: date
    ends_on: date | None = None
    ends_at: datetime | None = None
    thresholds: tuple[Decimal, ...] = ()

    @property
    def used(self) -> Decimal:
        """Spent, reserved and held together."""
        return EXACT.add(EXACT.add(self.spent, self.reserved), self.held)

    @property
    def remaining(self) -> Decimal:
        """What another call may cost; below 0 where more was spent than the limit."""
        return EXACT.subtract(self.limit, self.used)

    def has_reached(self, percent: Decimal) -> bool:
        """Whether so much of the limit, in percent, is used."""
        return EXACT.multiply(self.used, Decimal(100)) >= EXACT.multiply(self.limit, percent)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that is about to be sent, and what it may use."""

    call: Call
    exposure: Exposure


@dataclass(frozen=True, slots=True)
class Grant:
    """The call may be sent. `states` are those of all hard budgets that cover it, its reservation included."""

    states: tuple[BudgetState, ...] = ()


class Why(StrEnum):
    """Why a call was refused."""

    OVER = "over"  # what it asks for is more than what remains
    UNPRICED = "unpriced"  # no rate holds for its model
    CURRENCY = "currency"  # its rate is in another currency, and the budget names no rate for that
    UNBOUNDED = "unbounded"  # a strict budget, and nothing bounds what the call costs
    AWAY = "away"  # the store can't be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The call must not be sent.

    `state` is that of the budget that refused, None where the store could not be asked; `asked` is what the call may
    cost in the budget's currency, None where nobody can say. `message` says all of it in a sentence or two, with what
    to do. `others` are the names of further budgets that refused as well.
    """

    why: Why
    budget: str
    scope: str
    message: str
    asked: Decimal | None = None
    state: BudgetState | None = None
    others: Sequence[str] = field(default=())


Decision = Grant | Refusal
