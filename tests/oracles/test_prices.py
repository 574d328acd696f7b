"""What a call costs, held against the sums of two other libraries by their own prices."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest

from accounting.rates import price
from accounting.usage import Usage

from .asking import ORACLES, Reading, read_by_us
from .conftest import Answers
from .pricing import rate_of
from .rules import given, stated
from .shapes import Case
from .test_readings import differences

FLOATS = Decimal("1e-12")
"""How far binary floats may be off, as a share of the sum: litellm adds up in them."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """Where an oracle's sum is not ours, though it counts the same."""

    oracle: str
    shape: str
    why: str
    when: Callable[[Case], bool]


OTHERWISE = [
    Otherwise(
        *("litellm", "gemini"),
        why="Where the prompt's tokens are told by kind, it leaves out those that tools put beside them",
        when=lambda case: (
            bool(given("toolUsePromptTokenCount")(case)) and stated(case, "promptTokensDetails") is not None
        ),
    ),
    Otherwise(
        *("genai", "gemini"),
        why="Cached audio has a price of its own to it; to us what is cached has one",
        when=lambda case: bool(stated(case, "cacheTokensDetails")),
    ),
    Otherwise(
        *("genai", "gemini"),
        why="It counts no searches, which Gemini states beside its answer",
        when=lambda case: bool(read_by_us(case).web_searches),
    ),
    Otherwise(
        *("litellm", "perplexity"),
        why="It takes the sum that the provider states; we keep that beside our own",
        when=given("cost.total_cost"),
    ),
]


def our_sum(oracle: str, usage: Usage, theirs: Reading) -> Decimal:
    return price(usage.quantities, rate_of(oracle, theirs.prices or {}, usage.quantities.input)).amount


def same(oracle: str, ours: Decimal, theirs: Decimal) -> bool:
    return ours == theirs if oracle == "genai" else abs(ours - theirs) <= ours * FLOATS


def reasons(oracle: str, case: Case) -> list[Otherwise]:
    return [each for each in OTHERWISE if (each.oracle, each.shape) == (oracle, case.shape.name) and each.when(case)]


def priced(oracle: str, answers: Answers) -> list[tuple[Case, Decimal, Decimal]]:
    """The cases that the oracle prices and counts as we do, as far as all is stated; with our sum and its."""
    compared = []
    for case, theirs in answers.of(oracle):
        usage = read_by_us(case)
        if theirs.cost is not None and usage.source == "provider" and not list(differences(case, usage, theirs)):
            compared.append((case, our_sum(oracle, usage, theirs), Decimal(theirs.cost)))
    return compared


@pytest.mark.parametrize("oracle", ORACLES)
def test_the_same_counts_at_the_same_prices_cost_the_same(oracle: str, answers: Answers) -> None:
    compared = priced(oracle, answers)
    other = [(case, ours, theirs) for case, ours, theirs in compared if not same(oracle, ours, theirs)]
    unexplained = [each for each in other if not reasons(oracle, each[0])]
    assert not unexplained, unexplained[0]
    assert len(compared) - len(other) > 2_500


@pytest.mark.parametrize("otherwise", OTHERWISE, ids=lambda each: each.why)
def test_each_reason_for_another_sum_still_holds(otherwise: Otherwise, answers: Answers) -> None:
    sums = priced(otherwise.oracle, answers)
    assert any(
        otherwise in reasons(otherwise.oracle, case) and not same(otherwise.oracle, ours, theirs)
        for case, ours, theirs in sums
    )


def test_the_ticks_that_xai_states_are_our_tokens_at_its_prices(answers: Answers) -> None:
    """To the last digit; the prices are genai-prices'."""
    stated_too = [
        (our_sum("genai", usage, theirs), usage.provider_cost)
        for case, theirs in answers.of("genai")
        if theirs.cost is not None and stated(case, "cost_in_usd_ticks")
        for usage in [read_by_us(case)]
    ]
    assert stated_too
    assert all(cost is not None and ours == cost.amount for ours, cost in stated_too), stated_too
