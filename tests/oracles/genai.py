"""Asks genai-prices, in its environment: what does a body say was used, and what does that cost?

python -m tests.oracles.genai
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.oracles.serving import Question, Reply, serve

FIELDS = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
    "reasoning": "output_reasoning_tokens",
}


def oracle() -> Callable[[Question], Reply]:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()

    def read(question: Question) -> Reply:
        name, flavour = question["genai"]
        provider = next(provider for provider in snapshot.providers if provider.id == name)
        model, usage = provider.extract_usage(question["body"], api_flavor=flavour)
        reply: Reply = {ours: usage.__dict__.get(theirs) for ours, theirs in FIELDS.items()}
        at = datetime.fromisoformat(question["at"])
        return reply | (_priced(lambda: snapshot.calc(usage, model or "", name, None, at)) if question["price"] else {})

    return read


def _priced(calculated: Callable[[], Any]) -> Reply:
    """The cost and the prices of a million tokens, as text, or why it has none."""
    try:
        priced = calculated()
    except (ValueError, LookupError) as error:
        return {"unpriced": str(error)}
    prices = {name: _plain(value) for name, value in priced.model_price.__dict__.items() if value is not None}
    return {"cost": str(priced.total_price), "prices": prices}


def _plain(price: Any) -> Any:
    if not hasattr(price, "tiers"):
        return str(price)
    return {"base": str(price.base), "tiers": [[tier.start, str(tier.price)] for tier in price.tiers]}


if __name__ == "__main__":
    serve(oracle)
