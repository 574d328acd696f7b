"""What a call that is about to be sent may cost a budget, at the rate that holds now."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from accounting.budgets import Budget
from accounting.decisions import Ask, BudgetState, Mode, Why
from accounting.money import EXACT, ZERO, Money, plain
from accounting.rates import ANY_TIER, CLASSES, STANDARD, Rate, is_unknown, price, tier_of
from accounting.resolution import RateBook
from accounting.usage import Quantities


@dataclass(frozen=True, slots=True)
class Priced:
    """What is to be set aside, in the budget's currency; or why nobody can say, with `detail` for people."""

    amount: Decimal = ZERO
    why: Why | None = None
    detail: str = ""


def priced(budget: Budget, ask: Ask, book: RateBook) -> Priced:
    """What the call likely costs; of a strict budget, the most that it can cost."""
    call, default = ask.call, budget.terms.max_output
    tier = tier_of(call.service_tier)
    whose = f"{call.provider}/{call.model}"
    rate = book.find(call.provider, call.model, call.started_at, ask.exposure.input_tokens, tier)
    if rate is None:
        return Priced(why=Why.UNPRICED, detail=whose)
    if budget.terms.mode is not Mode.STRICT:
        return _in_budget(budget, [_likely(ask.exposure.likely(default), rate)], whose)
    most = ask.exposure.most(default)
    if most is None:
        return Priced(why=Why.UNBOUNDED, detail=", ".join(ask.exposure.reasons(default)))
    rates = list(_candidates(ask, book, most))
    if most.images and any(each.image_per_1k is None for each in rates):
        return Priced(why=Why.UNBOUNDED, detail="images that have no price each")
    return _in_budget(budget, [dearest(most, each) for each in rates], whose)


def _likely(used: Quantities, rate: Rate) -> Money | None:
    return None if is_unknown(used, rate) else price(used, rate)


def _in_budget(budget: Budget, costs: Iterable[Money | None], whose: str) -> Priced:
    amounts = list[Decimal]()
    for cost in costs:
        if cost is None:
            return Priced(why=Why.UNPRICED, detail=whose)
        amount = budget.converted(cost)
        if amount is None:
            return Priced(why=Why.CURRENCY, detail=cost.currency)
        amounts.append(amount)
    return Priced(max(amounts))


def _candidates(ask: Ask, book: RateBook, most: Quantities) -> Iterator[Rate]:
    """Every rate that may hold once the call is done, by whatever tier serves it and however long its input is."""
    call = ask.call
    lines = [one.rate for one in book.considered(call.provider, call.model)]
    tiers = {STANDARD, tier_of(call.service_tier), *(line.service_tier for line in lines)} - {ANY_TIER}
    inputs = {0, most.input, *(line.context_above + 1 for line in lines if line.context_above < most.input)}
    found = {
        rate.id: rate
        for tier in sorted(tiers)
        for count in sorted(inputs)
        if (rate := book.find(call.provider, call.model, call.started_at, count, tier)) is not None
    }
    yield from found.values()


def dearest(most: Quantities, rate: Rate) -> Money:
    """What the quantities cost where each token is of the class that costs most: all of the input written to a cache,
    say, and all of the output thought."""
    costs = (_most(rate, "input", most.input), _most(rate, "output", most.output))
    units = Quantities(requests=most.requests, images=most.images)
    total = price(units, rate).amount
    for cost in costs:
        total = EXACT.add(total, cost)
    return Money(total, rate.currency)


def _most(rate: Rate, whole: str, count: int) -> Decimal:
    prices = (getattr(rate, each.column) for each in CLASSES if _root(each.name) == whole)
    highest: Decimal = max(each for each in prices if each is not None)
    return EXACT.scaleb(EXACT.multiply(highest, count), -3)


def _root(name: str) -> str:
    parents = {each.name: each.parent for each in CLASSES}
    while (parent := parents[name]) is not None:
        name = parent
    return name


def message(why: Why, state: BudgetState, amount: Decimal | None, detail: str) -> str:
    """What happened and what to do, for people."""
    head = f"Budget {state.budget} ({state.scope}) refused the call"
    match why:
        case Why.UNPRICED:
            return f"{head}: no rate holds for {detail}, so nobody knows what it costs. Add one: accounting rates add"
        case Why.CURRENCY:
            return (
                f"{head}: it costs {detail}, and the budget is in {state.currency}. Name what 1 {detail} is: "
                f"accounting budgets edit {state.budget!r} --fx {detail}=…"
            )
        case Why.UNBOUNDED:
            return f"{head}: it is strict, and nothing bounds what the call costs ({detail})."
        case _:
            return (
                f"{head}: of {plain(state.limit)} {state.currency} {plain(state.spent)} is spent, "
                f"{plain(state.reserved)} reserved and {plain(state.held)} held, and the call may cost "
                f"{plain(amount or ZERO)}."
            )
