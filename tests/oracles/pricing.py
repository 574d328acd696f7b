"""An oracle's own prices as a rate of ours, so that both price by the same figures."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from accounting.money import EXACT
from accounting.periods import Period
from accounting.rates import CLASSES, Rate

_GENAI = {
    **{f"{name}_mtok": name for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h")},
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
    "requests_kcount": "request",
    "web_searches_kcount": "web_search",
}
"""Its prices by ours: of a million tokens, and of a thousand of anything else."""

_LITELLM = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
}
"""Its prices by ours: of one token. Above a size of the input, a price has a suffix."""

_STEP = re.compile(r"(.+)_above_(\d+)k_tokens")


def rate_of(oracle: str, prices: Mapping[str, Any], tokens_in: int) -> Rate:
    """The rate that holds for an input of that size: both charge all tokens at the price of the step they reach."""
    found = _genai(prices, tokens_in) if oracle == "genai" else _litellm(prices, tokens_in)
    priced = {each.column: found[each.name] for each in CLASSES if each.name in found}
    required = {"input_per_1k": Decimal(0), "output_per_1k": Decimal(0)}
    period = Period(datetime(2020, 1, 1, tzinfo=UTC), None)
    return Rate(provider=oracle, model="m", currency="USD", period=period, **{**required, **priced})  # type: ignore[arg-type]


def _genai(prices: Mapping[str, Any], tokens_in: int) -> dict[str, Decimal]:
    at_step = {name: _stepped(price, tokens_in) for name, price in prices.items() if name in _GENAI}
    per = {name: Decimal(1000) if name.endswith("_mtok") else Decimal(1) for name in at_step}
    return {_GENAI[name]: EXACT.divide(price, per[name]) for name, price in at_step.items()}


def _stepped(price: Any, tokens_in: int) -> Decimal:
    if isinstance(price, str):
        return Decimal(price)
    reached = [amount for start, amount in price["tiers"] if tokens_in > start]
    return Decimal(reached[-1] if reached else price["base"])


def _litellm(prices: Mapping[str, Any], tokens_in: int) -> dict[str, Decimal]:
    base = {name: price for name, price in prices.items() if name in _LITELLM}
    steps = [
        (int(found[2]) * 1000, found[1], price) for name, price in prices.items() if (found := _STEP.fullmatch(name))
    ]
    reached = {name: price for start, name, price in sorted(steps) if tokens_in > start and name in _LITELLM}
    # A float's shortest text is what somebody wrote.
    return {
        _LITELLM[name]: EXACT.multiply(Decimal(price), Decimal(1000)) for name, price in {**base, **reached}.items()
    }
