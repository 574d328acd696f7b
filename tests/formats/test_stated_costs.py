"""What a call costs by the counts that are read is what its provider says that it cost."""

from decimal import Decimal
from typing import Any

import pytest

from accounting.formats.perplexity import usage as of_perplexity
from accounting.formats.xai import usage as of_xai
from accounting.periods import Period
from accounting.rates import Rate, price


def rate(**prices: str) -> Rate:
    per_1k: dict[str, Any] = {f"{each}_per_1k": Decimal(text) for each, text in prices.items()}
    return Rate(provider="p", model="m", currency="USD", period=Period(None, None), **per_1k)


@pytest.mark.parametrize(
    ("prompt", "completion", "total", "cached", "reasoning", "ticks"),
    [
        (31721, 761, 32929, 128, 447, 425_368_500),
        (73444, 728, 74761, 128, 589, 949_631_000),
        (27463, 678, 28901, 128, 760, 377_893_500),
        (38653, 606, 40044, 128, 785, 516_593_500),
        (1559, 201, 1760, 128, 0, 23_168_500),
    ],
)
@pytest.mark.parametrize("with_total", [True, False])
def test_xai_s_ticks_are_reproduced_to_the_last_digit(
    prompt: int, completion: int, total: int, cached: int, reasoning: int, ticks: int, with_total: bool
) -> None:
    found = of_xai(
        {
            **{"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total if with_total else None},
            "prompt_tokens_details": {"text_tokens": prompt, "cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
            "cost_in_usd_ticks": ticks,
        }
    )
    grok = rate(input="0.00125", cache_read="0.0002", output="0.0025")
    assert price(found.quantities, grok) == found.provider_cost


@pytest.mark.parametrize(
    ("prompt", "completion", "cited", "searches", "reasoning", "cost"),
    [
        (230, 13498, 20470, 50, 145885, "0.83704"),
        (1188, 4240, 8014, 54, 92431, "0.59962"),
    ],
)
def test_what_perplexity_s_research_costs_is_reproduced_but_for_its_rounding(
    prompt: int, completion: int, cited: int, searches: int, reasoning: int, cost: str
) -> None:
    found = of_perplexity(
        {
            **{"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
            **{"citation_tokens": cited, "num_search_queries": searches, "reasoning_tokens": reasoning},
        }
    )
    research = rate(input="0.002", output="0.008", reasoning="0.003", web_search="5")
    assert price(found.quantities, research).amount.quantize(Decimal("0.00001")) == Decimal(cost)
