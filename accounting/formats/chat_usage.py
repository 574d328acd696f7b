"""The `usage` block of chat completions: prompt, completion and total, whoever writes it.

Source: OpenAI API reference, chat completion object; what others make of it is named where it is read.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from accounting.counts import Counts
from accounting.formats.costs import stated_cost
from accounting.formats.wire import at, fields, stated_usage
from accounting.usage import Usage

_PARTS: dict[str, dict[str, str]] = {
    "prompt_tokens_details": {
        "cached_tokens": "cache_read",
        "cache_write_tokens": "cache_write",
        "cache_creation_input_tokens": "cache_write",  # Qwen
        "cache_creation_tokens": "cache_write",  # gateways
        "audio_tokens": "audio_input",
        "image_tokens": "image_input",
    },
    "prompt_token_details": {"cached_tokens": "cache_read"},  # Mistral, sic
    "completion_tokens_details": {
        "reasoning_tokens": "reasoning",
        "audio_tokens": "audio_output",
        "image_tokens": "image_output",
    },
    "server_tool_use_details": {"web_search_requests": "web_searches"},  # OpenRouter
    "server_tool_use": {"web_search_requests": "web_searches"},
}
_NAMES = {
    "prompt_cache_hit_tokens": "cache_read",  # DeepSeek
    "cached_tokens": "cache_read",  # Moonshot
    "num_cached_tokens": "cache_read",  # Mistral, older
    "cache_read_input_tokens": "cache_read",  # gateways that pass Anthropic's names on
    "cache_creation_input_tokens": "cache_write",
    "reasoning_tokens": "reasoning",  # Azure's older serverless models, as is the next
    "audio_prompt_tokens": "audio_input",
    "num_search_queries": "web_searches",  # Perplexity
    "prompt_audio_seconds": "audio_seconds",  # Mistral
}
"""Where a quantity is stated, and which, as named in `stated_usage`; after the parts of its own object."""


class ReadsUsage(Protocol):
    """How one provider's block is read. `final` False: its counts are those of an answer that was still going on.
    `unread`: an event was too large to be read, and may have stated more."""

    def __call__(self, block: object, final: bool = True, unread: bool = False) -> Usage: ...


def begun(unread: bool) -> Counts:
    counts = Counts()
    if unread:
        counts.flag("event_too_large")
    return counts


def usage(block: object, final: bool = True, unread: bool = False, *, reasoning_beside: bool = False) -> Usage:
    """Token counts of a `usage` block.

    `prompt_tokens` already includes cached tokens and `completion_tokens` reasoning ones, so nothing is added,
    unless the provider's own total shows that they stand beside. A count that contradicts its whole is clamped.
    `reasoning_beside`: it stands beside the completion unless the total proves otherwise.
    """
    counts = begun(unread)
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    stated = fields(block)
    prompt, completion = counts.read(block, "prompt_tokens"), counts.read(block, "completion_tokens")
    total, parts = counts.read(block, "total_tokens"), _parts(stated, counts)
    if "prompt_cache_miss_tokens" in stated:
        _check_split(stated, prompt, counts)
    tokens_in = _input(prompt, completion, total, parts, counts)
    tokens_out = output_by_total(tokens_in, completion, parts.get("reasoning"), total, counts, reasoning_beside)
    cost = stated_cost(block, counts)
    return stated_usage(
        block, counts, input_tokens=tokens_in, output_tokens=tokens_out, cost=cost, final=final, **parts
    )


_Parts = dict[str, Any]
"""What a block states beside its three sums, by its name in `stated_usage`."""


def _parts(block: Mapping[str, object], counts: Counts) -> _Parts:
    """By `_PARTS` and `_NAMES`; only what stands there is looked up."""
    found: _Parts = {}
    by_name = []
    for name, value in block.items():
        if name in _PARTS and (type(value) is dict or isinstance(value, Mapping)):
            _keep_parts(found, name, value, counts)
        elif name in _NAMES and value is not None and value != {}:  # Mistral's empty object, where it heard nothing
            by_name.append((name, value))
    for name, value in by_name:
        _keep(found, _NAMES[name], counts.take(value, name), counts)
    if "cache_creation" in fields(block.get("prompt_tokens_details")):
        _keep_lives(found, block, counts)
    return found


def _keep_parts(found: _Parts, name: str, parts: Mapping[str, object], counts: Counts) -> None:
    quantities = _PARTS[name]
    for part, value in parts.items():
        if part in quantities and value is not None:
            _keep(found, quantities[part], counts.take(value, name, part), counts)


def _keep(found: _Parts, quantity: str, count: int | None, counts: Counts) -> None:
    """The first that is not 0: a zero at one place must not hide what another one says."""
    if not found.get(quantity):
        if count is not None:
            found[quantity] = count
    elif count and count != found[quantity]:
        counts.flag(f"{quantity}_counts_differ")


def _keep_lives(found: _Parts, block: object, counts: Counts) -> None:
    """What was written to a cache, by how long it lasts (Qwen). Where that adds up to more than the sum, it holds."""
    place = ("prompt_tokens_details", "cache_creation")
    lives = [counts.read(block, *place, f"ephemeral_{life}_input_tokens") for life in ("5m", "1h")]
    if lives == [None, None]:
        return
    written, broken_down = found.get("cache_write"), sum(count or 0 for count in lives)
    if written is not None and broken_down > written:
        counts.flag("cache_write_mismatch")
    found |= {"cache_write": max(written or 0, broken_down), "cache_write_1h": lives[1]}


def _check_split(block: object, prompt: int | None, counts: Counts) -> None:
    """DeepSeek states what missed its cache as well as what hit it; the two are the prompt."""
    missed = counts.read(block, "prompt_cache_miss_tokens")
    hit = at(block, "prompt_cache_hit_tokens") if missed is not None else None
    if type(hit) is int and missed is not None and prompt not in (None, hit + missed):
        counts.flag("cache_split_mismatch")


def _input(prompt: int | None, completion: int | None, total: int | None, parts: _Parts, counts: Counts) -> int | None:
    """The prompt, and what the total proves to stand beside it: cached tokens, or what was heard (Mistral's, and of its
    older answers the total alone tells how much, beside the seconds)."""
    if prompt is None or completion is None or total is None:
        return prompt
    beyond = total - prompt - completion
    if beyond <= 0:
        return prompt
    reasoning, heard = parts.get("reasoning", 0), parts.get("audio_input", 0)
    cached: int = parts.get("cache_read", 0) + parts.get("cache_write", 0)
    if beyond == reasoning and cached <= prompt:
        return prompt
    if beyond in (cached, cached + reasoning):
        counts.flag("cached_beside_input")
        return prompt + cached
    if parts.get("audio_seconds") or (heard and beyond in (heard, heard + reasoning)):
        counts.flag("audio_beside_input")
        parts["audio_input"] = heard if heard and beyond == heard + reasoning else beyond
        return prompt + int(parts["audio_input"])
    return prompt


def output_by_total(
    tokens_in: int | None,
    completion: int | None,
    reasoning: int | None,
    total: int | None,
    counts: Counts,
    reasoning_beside: bool = False,
) -> int | None:
    """The provider's total decides: reasoning may stand beside the completion (xAI), or show in the total alone
    (Gemini). With no completion it proves that there was none, if it is the input (embeddings behind an endpoint of
    chat's). Where the total is too short for any reading, or there is none, the parts hold, and `reasoning_beside`
    tells how."""
    beside = reasoning or 0 if reasoning_beside else 0
    if total is None or tokens_in is None:
        return None if completion is None else completion + beside
    beyond = total - tokens_in - (completion or 0)
    if beyond < 0:
        counts.flag("total_mismatch")
        return None if completion is None else completion + beside
    if beyond == 0:
        return completion or 0
    if completion is None or beyond != reasoning:
        counts.flag("hidden_output")
    return total - tokens_in
