"""The shapes of OpenAI-style usage blocks, and their places in a stream, each as some provider has sent it.

A shape takes the tokens of a call and gives its block, and what is then charged: where a block says too little of
a class of tokens, or what can't be, the provider charges by what it says of the whole.
"""

from collections.abc import Callable
from typing import Any

from accounting.simulated.ledger import Tokens

Block = dict[str, Any]


def plain(used: Tokens) -> tuple[Block, Tokens]:
    details = {"cached_tokens": used.cache_read, "audio_tokens": 0}
    if used.cache_write:
        details["cache_write_tokens"] = used.cache_write
    block = {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": used.reasoning, "audio_tokens": 0},
    }
    return block, used


def no_details(used: Tokens) -> tuple[Block, Tokens]:
    block = {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
    }
    return block, Tokens(input=used.input, output=used.output)


def _null_details(used: Tokens) -> tuple[Block, Tokens]:
    block, charged = no_details(used)
    return block | {"prompt_tokens_details": None, "completion_tokens_details": None}, charged


def _reasoning_over_output(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used)
    block["completion_tokens_details"]["reasoning_tokens"] = used.output + 19
    return block, used._replace(reasoning=used.output)


def _reasoning_apart(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used)
    return block | {"completion_tokens": used.output - used.reasoning}, used


def _hidden_output(used: Tokens) -> tuple[Block, Tokens]:
    block, charged = no_details(used)
    return block | {"completion_tokens": used.output // 3}, charged


def _total_too_small(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used)
    return block | {"total_tokens": used.input}, used


def _cached_over_input(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used._replace(cache_write=0))
    block["prompt_tokens_details"]["cached_tokens"] = used.input + 7
    return block, used._replace(cache_read=used.input, cache_write=0)


def _text_counts(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used)
    return block | {name: str(count) for name, count in block.items() if isinstance(count, int)}, used


def _fractions(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used)
    return block | {"completion_tokens": used.output - 0.25}, used


def _hit_and_miss(used: Tokens) -> tuple[Block, Tokens]:
    block, charged = no_details(used)
    parts = {"prompt_cache_hit_tokens": used.cache_read, "prompt_cache_miss_tokens": used.input - used.cache_read}
    return block | parts, charged._replace(cache_read=used.cache_read)


def _cached_beside(used: Tokens) -> tuple[Block, Tokens]:
    block, charged = no_details(used)
    return block | {"cached_tokens": used.cache_read}, charged._replace(cache_read=used.cache_read)


def _with_cost(used: Tokens) -> tuple[Block, Tokens]:
    block, _ = plain(used)
    return block | {"cost": 0.00123456789, "is_byok": False}, used


def _null(used: Tokens) -> tuple[None, Tokens]:
    return None, used


BLOCKS: dict[str, Callable[[Tokens], tuple[Block | None, Tokens]]] = {
    "plain": plain,
    "no-details": no_details,
    "null-details": _null_details,
    "reasoning-over-output": _reasoning_over_output,  # GLM-5 at a reseller, MiniMax-M2
    "reasoning-apart": _reasoning_apart,  # xAI: the total is input + output + reasoning
    "hidden-output": _hidden_output,  # Gemini: only the total shows the thinking
    "total-too-small": _total_too_small,
    "cached-over-input": _cached_over_input,
    "text-counts": _text_counts,
    "fractions": _fractions,
    "hit-and-miss": _hit_and_miss,  # DeepSeek
    "cached-beside": _cached_beside,  # Moonshot
    "with-cost": _with_cost,  # OpenRouter
    "null": _null,
}

PLACES = {
    "extra": "in a last chunk without choices, if the request asked for it: OpenAI",
    "twice": "the same, and that chunk comes twice",
    "before-moderation": "the same, with another chunk between it and [DONE]",
    "finish": "on the chunk that has the finish reason, asked or not: DeepSeek, Z.ai, Mistral",
    "choice": "in that chunk's choice, asked or not: Moonshot",
    "x-groq": "in that chunk's x_groq, asked or not; in a last chunk too if asked: Groq",
    "every": "in every chunk, so far: Perplexity, vLLM",
    "never": "nowhere, asked or not; in a whole answer neither",
}
