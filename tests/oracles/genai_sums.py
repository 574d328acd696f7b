"""Asks genai-prices, in its environment, what a call costs by its own prices; and what lines these come to here.

python -m tests.oracles.genai_sums
"""

from collections.abc import Callable
from datetime import datetime

from tests.oracles.serving import Question, Reply, serve

USED = {
    "input": ("input_tokens",),
    "cache_read": ("cache_read_tokens",),
    "cache_write": ("cache_write_tokens",),
    "cache_write_1h": ("cache_write_1h_tokens",),
    "audio_input": ("input_audio_tokens",),
    "image_input": ("input_image_tokens",),
    "output": ("output_tokens",),
    "reasoning": ("output_reasoning_tokens",),
    "audio_output": ("output_audio_tokens",),
    "image_output": ("output_image_tokens",),
    "web_searches": ("web_searches",),
    # Which of them a model is charged by is its own affair: both say how long the audio was.
    "audio_seconds": ("audio_seconds", "input_audio_seconds"),
}
"""Our quantities by its names. Requests it counts itself: one."""

CONTEXTS = {"batch": {"processing": "batch"}, "fast": {"service_tier": "fast", "speed": "fast"}}
"""How it is told of a service tier that it doesn't call so."""


def oracle() -> Callable[[Question], Reply]:
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import Usage

    snapshot = get_snapshot()

    def answer(question: Question) -> Reply:
        if "list" in question:
            return _imported()
        at = datetime.fromisoformat(question["at"])
        used = {theirs: count for ours, count in question["used"].items() for theirs in USED.get(ours, ()) if count}
        context = CONTEXTS.get(question["tier"]) or ({"service_tier": question["tier"]} if question["tier"] else None)
        found = snapshot.calc(Usage(**used), question["model"], question["provider"], None, at, context)
        return {"cost": str(found.total_price), "model": found.model.id, "provider": found.provider.id}

    return answer


def _imported() -> Reply:
    """What the importer makes of it, here where the library is: as cards."""
    from accounting.cards import by_heading, write
    from accounting.ratesources import genai_prices

    listing = genai_prices.read()
    return {"cards": [write(lines) for lines in by_heading(listing.lines)]}


if __name__ == "__main__":
    serve(oracle)
