"""What a call that is about to be sent may cost a budget, at the rate that holds now."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from accounting.budgets import Budget
from accounting.decisions import Ask, Mode, Why
from accounting.money import EXACT, ZERO, Money
from accounting.rates import ANY_TIER, CLASSES, PARENTS, STANDARD, Rate, is_unknown, price, tier_of
from accounting.resolution import RateBook
from accounting.usage import Quantities


@dataclass(frozen=True, slots=True)
class Priced:
    """What is to be set aside, in the budget's currency; or why nobody can say.

    `currency` is the one of the rate, `reasons` say why nothing bounds the cost; with `is_answer` it is the answer
    alone that nothing does.
    """

    amount: Decimal = ZERO
    why: Why | None = None
    currency: str = ""
    reasons: tuple[str, ...] = ()
    is_answer: bool = False


def priced(budget: Budget, ask: Ask, book: RateBook) -> Priced:
    """What the call likely costs; of a strict budget, the most that it can cost."""
    call, default = ask.call, budget.terms.max_output
    tier = tier_of(call.service_tier)
    rate = book.find(call.provider, call.model, call.started_at, ask.exposure.input_tokens, tier)
    if rate is None:
        return Priced(why=Why.UNPRICED)
    if budget.terms.mode is not Mode.STRICT:
        return _in_budget(budget, [_likely(ask.exposure.likely(default), rate)])
    most = ask.exposure.most(default)
    if most is None:
        is_answer = not ask.exposure.open_input()
        return Priced(why=Why.UNBOUNDED, reasons=ask.exposure.reasons(default), is_answer=is_answer)
    rates = list(_candidates(ask, book, most))
    if most.images and any(each.image_per_1k is None for each in rates):
        return Priced(why=Why.UNBOUNDED, reasons=("images have no price each",))
    return _in_budget(budget, [dearest(most, each) for each in rates])


def _likely(used: Quantities, rate: Rate) -> Money | None:
    return None if is_unknown(used, rate) else price(used, rate)


def _in_budget(budget: Budget, costs: Iterable[Money | None]) -> Priced:
    amounts = list[Decimal]()
    for cost in costs:
        if cost is None:
            return Priced(why=Why.UNPRICED)
        amount = budget.converted(cost)
        if amount is None:
            return Priced(why=Why.CURRENCY, currency=cost.currency)
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
    prices = (getattr(rate, column) for column in _COLUMNS[whole])
    highest: Decimal = max(each for each in prices if each is not None)
    return EXACT.scaleb(EXACT.multiply(highest, count), -3)


def _root(name: str) -> str:
    while (parent := PARENTS[name]) is not None:
        name = parent
    return name


_COLUMNS = {whole: [each.column for each in CLASSES if _root(each.name) == whole] for whole in ("input", "output")}
"""The prices of a whole and of all its parts."""
