"""What budgets leave for another call, for programs that want to slow down before they are stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cmp_to_key

from accounting import attribution, credentials
from accounting.decisions import BudgetState
from accounting.money import EXACT, ZERO
from accounting.providers import known_hosts, provider_name
from accounting.recorder import recorder
from accounting.usage import Call, clean, id_time, new_id

_EIGHT_DIGITS = Context(prec=8, traps=[])


@dataclass(frozen=True, slots=True)
class Headroom:
    """The budget that is used up most, and beside it the `states` of all that cover the call, by name."""

    states: tuple[BudgetState, ...]

    @property
    def state(self) -> BudgetState:
        return max(self.states, key=cmp_to_key(_by_share))

    @property
    def budget(self) -> str:
        return self.state.budget

    @property
    def remaining(self) -> Decimal:
        """Exact, in the budget's currency; below 0 where more was spent than its limit."""
        return self.state.remaining

    @property
    def currency(self) -> str:
        return self.state.currency

    @property
    def share(self) -> Decimal:
        """How much of the limit is spent, reserved and held, from 0 up, to eight digits; 1 of a limit of 0."""
        state = self.state
        return _EIGHT_DIGITS.divide(state.used, state.limit) if state.limit else Decimal(1)


def remaining(
    *,
    project: str | None = None,
    key: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    user: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Headroom | None:
    """What the budgets leave that cover such a call, soft ones too; None where none does.

    What isn't given of project, user and tags is what `attribute()` says here. `key` is the API key itself, which
    leaves no trace, or its fingerprint as the books know it. The store is asked, in this thread, for at most
    `ACCOUNTING_BUDGET_SECONDS`: raises `StoreMissing` where there is none, `StoreAway` where it does not answer.
    """
    states = recorder().gate.states(_like(project, key, model, provider, user, tags))
    return Headroom(tuple(states)) if states else None


def _like(
    project: str | None,
    key: str | None,
    model: str | None,
    provider: str | None,
    user: str | None,
    tags: Mapping[str, str] | None,
) -> Call:
    here = attribution.current()
    id_ = new_id()
    return Call(
        id=id_,
        started_at=id_time(id_),
        provider=clean(provider_name(provider, known_hosts())) or "",
        endpoint="",
        request_model=clean(model),
        key_fingerprint=_fingerprint(key or ""),
        key_last4="",
        project=attribution.project_name(project) or here.project,
        user=clean(user) or here.user,
        tags={**here.tags, **attribution.clean_tags(tags)},
    )


def _fingerprint(key: str) -> str:
    """Some providers' keys look like fingerprints: what no budget knows as one is taken for a key."""
    may_be_one = len(key) == 64 and not key.strip("0123456789abcdef")
    is_one = may_be_one and recorder().gate.knows_key(key)
    return key if is_one else credentials.known_as(key).fingerprint


def _by_share(one: BudgetState, other: BudgetState) -> int:
    """Which of two is used up more, told without a division; what has no limit but 0 is."""
    left, right = EXACT.multiply(one.used, other.limit), EXACT.multiply(other.used, one.limit)
    if one.limit == ZERO or other.limit == ZERO:
        left, right = other.limit, one.limit
    return (left > right) - (left < right)
