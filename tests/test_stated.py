from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.money import Money, exact
from accounting.periods import Period
from accounting.rates import Rate
from accounting.stated import MEANINGS, Mark, StatedAs, Statement, hidden, marked, standing
from accounting.usage import COUNTED, UsageSource

RATE = Rate(
    provider="p",
    model="m",
    currency="USD",
    period=Period(None, None),
    input_per_1k=Decimal(1),
    output_per_1k=Decimal(2),
)
"""A token in costs a thousandth."""


def counts(**some: int) -> Sequence[int | None]:
    return [some.get(name) for name in COUNTED]


def said(
    cost: str,
    provider: str = "somebody",
    *,
    currency: str = "USD",
    source: UsageSource = UsageSource.PROVIDER,
    block: str | None = None,
    **used: int,
) -> Statement:
    """Of a call that costs one dollar by our rate, if nothing else is said."""
    return Statement(
        Money(exact(cost), currency), provider, counts(**used or {"input_tokens": 1000}), str(source), block
    )


def test_a_cost_that_is_ours_is_equal() -> None:
    assert standing(said("1.00"), RATE) == StatedAs.EQUAL
    assert standing(said("1.5", input_tokens=500, output_tokens=500), RATE) == StatedAs.EQUAL


def test_without_a_rate_nothing_is_ours() -> None:
    assert standing(said("0"), None) == StatedAs.UNPRICED


def test_amounts_of_two_currencies_are_not_compared() -> None:
    assert standing(said("1", currency="CNY"), RATE) == StatedAs.OTHER_CURRENCY


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("1.0000005", StatedAs.HIGHER),  # what has seven decimals hides half of the seventh
        ("1.000001", StatedAs.HIGHER),
        ("0.99", StatedAs.LOWER),  # two decimals are not taken for all that were known
        ("1.00000000000000002", StatedAs.ROUNDING),  # as binary floats add up
        ("0.99999999999999989", StatedAs.ROUNDING),
        ("1.0000000000001", StatedAs.HIGHER),
    ],
)
def test_the_last_digit_hides_half_of_its_unit_and_no_more(cost: str, expected: StatedAs) -> None:
    assert standing(said(cost), RATE) == expected


def test_of_few_tokens_a_rounded_cost_is_told_from_a_wrong_one() -> None:
    assert standing(said("0.003001", input_tokens=3), RATE) == StatedAs.HIGHER
    tiny = Rate(
        provider="p",
        model="m",
        currency="USD",
        period=Period(None, None),
        input_per_1k=Decimal("0.0001234"),
        output_per_1k=Decimal(0),
    )
    assert standing(said("0.000001", input_tokens=9), tiny) == StatedAs.ROUNDING  # 0.0000011106
    assert standing(said("0.000002", input_tokens=9), tiny) == StatedAs.HIGHER


def test_the_ticks_of_xai_are_exact_but_for_one() -> None:
    assert standing(said("1.0000000001", "xai"), RATE) == StatedAs.ROUNDING
    assert standing(said("1.0000000002", "xai"), RATE) == StatedAs.HIGHER
    assert standing(said("1.000000", "xai"), RATE) == StatedAs.EQUAL


def test_perplexity_adds_up_parts_of_five_decimals() -> None:
    assert standing(said("1.00002", "perplexity"), RATE) == StatedAs.ROUNDING
    assert standing(said("1.00003", "perplexity"), RATE) == StatedAs.HIGHER


BYOK = '{"prompt_tokens":1000,"cost":0.05,"is_byok":true,"cost_details":{"upstream_inference_cost":1}}'


def with_own_key(bill: str) -> str:
    return BYOK.replace('cost":1}', f'cost":{bill}}}')


def test_where_the_caller_brought_a_key_the_cost_is_a_fee() -> None:
    assert standing(said("0.05", block=BYOK), RATE) == StatedAs.BYOK
    assert standing(said("0", block=BYOK), RATE) == StatedAs.BYOK
    assert standing(said("0.05", block=BYOK.replace("true", "false")), RATE) == StatedAs.LOWER


@pytest.mark.parametrize(
    ("bill", "expected"),
    [
        ("1.0000", StatedAs.BYOK),
        ('"1"', StatedAs.BYOK),  # as a fraction is kept that was read to its last digit
        ("1.0000000000000002", StatedAs.BYOK),
        ("0.95", StatedAs.BYOK),  # our rate has the fee in it
        ("0.97", StatedAs.BYOK_LOWER),
        ("1.000001", StatedAs.BYOK_HIGHER),
        ("20", StatedAs.BYOK_HIGHER),
        ("0.0001", StatedAs.BYOK_LOWER),
        ('"1E-7"', StatedAs.BYOK_LOWER),
        ("1e-05", StatedAs.BYOK_LOWER),
        ("0", StatedAs.BYOK_LOWER),
        ("null", StatedAs.BYOK_UNCHECKED),
        ("-1", StatedAs.BYOK_UNCHECKED),
        ("1e99", StatedAs.BYOK_UNCHECKED),
        ("true", StatedAs.BYOK_UNCHECKED),
    ],
)
def test_of_a_key_of_one_s_own_it_is_the_other_bill_that_ours_is_held_against(bill: str, expected: StatedAs) -> None:
    assert standing(said("0.05", block=with_own_key(bill)), RATE) == expected


def test_a_fee_that_happens_to_be_ours_tells_nothing_of_the_other_bill() -> None:
    assert standing(said("1", block=with_own_key("20")), RATE) == StatedAs.BYOK_HIGHER
    assert standing(said("1", block=with_own_key("null")), RATE) == StatedAs.BYOK_UNCHECKED


def test_another_bill_for_more_than_we_price_checks_nothing() -> None:
    searched = with_own_key("1.01")[:-1] + ',"num_sources_used":14}'
    assert standing(said("0.05", block=searched), RATE) == StatedAs.BYOK_UNCHECKED
    assert standing(said("0.05", block=searched.replace("1.01", "0.9")), RATE) == StatedAs.BYOK_LOWER
    assert standing(said("0.05", block=with_own_key("2"), source=UsageSource.PARTIAL), RATE) == StatedAs.BYOK_UNCHECKED
    assert standing(said("0.05", block=with_own_key("1"), source=UsageSource.PARTIAL), RATE) == StatedAs.BYOK


def test_a_block_that_was_cut_or_says_so_in_a_text_is_read_as_far_as_it_is_one() -> None:
    long = with_own_key("1.25")
    for end in range(long.index("true") + len("true"), long.index("1.25") + len("1.25") + 1):
        assert standing(said("0.05", block=long[:end]), RATE) == StatedAs.BYOK_UNCHECKED
    assert standing(said("0.05", block='{"note":"\\"is_byok\\":true"}'), RATE) == StatedAs.LOWER


@pytest.mark.parametrize(
    ("used", "block"),
    [
        ({"web_searches": 2}, None),
        ({"images": 1}, None),
        ({}, '{"num_sources_used":14}'),
        ({}, '{"server_tool_use":{"web_fetch_requests":1}}'),
        ({}, '{"cost":{"total_cost":1.006,"request_cost":0.006}}'),
    ],
)
def test_what_was_used_beside_tokens_explains_a_higher_cost_alone(used: dict[str, Any], block: str | None) -> None:
    assert standing(said("1.01", block=block, input_tokens=1000, **used), RATE) == StatedAs.TOOLS
    assert standing(said("0.9", block=block, input_tokens=1000, **used), RATE) == StatedAs.LOWER


@pytest.mark.parametrize(
    "block",
    [
        '{"num_sources_used":0}',
        '{"server_tool_use":{"web_search_requests":3}}',  # in `web_searches`, if it is read
        '{"cost":{"request_cost":0.0}}',
    ],
)
def test_tools_that_were_not_used_explain_nothing(block: str) -> None:
    assert standing(said("1.01", block=block), RATE) == StatedAs.HIGHER


def test_what_our_rate_has_a_price_for_explains_nothing() -> None:
    prices: dict[str, Any] = {"web_search_per_1k": Decimal(10), "request_per_1k": Decimal(6)}
    full = Rate(
        provider="p",
        model="m",
        currency="USD",
        period=Period(None, None),
        input_per_1k=Decimal(1),
        output_per_1k=Decimal(2),
        **prices,
    )
    block = '{"request_cost":0.006}'
    assert standing(said("1.5", block=block, input_tokens=1000, web_searches=1), full) == StatedAs.HIGHER
    assert standing(said("1.016", input_tokens=1000, web_searches=1, requests=1), full) == StatedAs.EQUAL


def test_of_usage_that_is_known_in_part_ours_is_a_part() -> None:
    assert standing(said("1.5", source=UsageSource.PARTIAL), RATE) == StatedAs.PARTIAL_USAGE
    assert standing(said("1.5", source=UsageSource.MISSING, requests=1), RATE) == StatedAs.PARTIAL_USAGE
    assert standing(said("1", source=UsageSource.PARTIAL), RATE) == StatedAs.EQUAL


def test_every_reason_is_explained() -> None:
    assert {StatedAs.EQUAL, *MEANINGS} == set(StatedAs)


AMOUNTS = st.decimals(0, 10**9, places=30)


@given(stated=AMOUNTS, zeros=st.integers(0, 5))
def test_zeros_at_the_end_hide_nothing(stated: Decimal, zeros: int) -> None:
    longer = Decimal(f"{stated:f}" + "0" * zeros)
    assert hidden(longer, "anybody") == hidden(stated, "anybody") > 0


WORDS = st.text(alphabet=st.sampled_from("ab% 2025/é\t\n"))


@given(provider=WORDS, model=WORDS)
def test_a_mark_is_read_back_as_it_was(provider: str, model: str) -> None:
    mark = Mark("byok", "USD", provider, model)
    assert marked(str(mark)) == mark


def test_a_mark_that_a_careless_hand_wrote_is_no_fault_of_the_report() -> None:
    assert marked("what is this") == Mark("what", "is", "this", "")
    assert marked("") == Mark("", "", "", "")
