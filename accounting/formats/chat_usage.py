"""The `usage` block of chat completions: prompt, completion and total, whoever writes it.

Source: OpenAI API reference, chat completion object; what others make of it is named where it is read.
"""

from collections.abc import Mapping
from typing import Protocol

from accounting.counts import Counts
from accounting.formats.costs import stated_cost
from accounting.formats.wire import at, stated_usage
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
    `reasoning_beside`: it stands beside the completion where no total says otherwise.
    """
    counts = begun(unread)
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    prompt, completion = counts.read(block, "prompt_tokens"), counts.read(block, "completion_tokens")
    total = counts.read(block, "total_tokens")
    parts = _parts(block, counts)
    read, reasoning, audio = parts.get("cache_read"), parts.get("reasoning"), parts.get("audio_input")
    write, write_1h = _cache_write(block, parts.get("cache_write"), counts)
    seconds = _seconds(block, counts)
    _check_split(block, prompt, counts)
    gap = 0 if prompt is None or completion is None or total is None else total - prompt - completion
    cached_beside = _cached_beside(gap, prompt or 0, (read or 0) + (write or 0), reasoning or 0, counts)
    audio_beside = _audio_beside(gap - cached_beside, audio or 0, seconds or 0, reasoning or 0, counts)
    tokens_in = None if prompt is None else prompt + cached_beside + audio_beside
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=read,
        cache_write=write,
        cache_write_1h=write_1h,
        audio_input=audio_beside or audio,
        image_input=parts.get("image_input"),
        output_tokens=output_by_total(tokens_in, completion, reasoning, total, counts, reasoning_beside),
        reasoning=reasoning,
        audio_output=parts.get("audio_output"),
        image_output=parts.get("image_output"),
        web_searches=parts.get("web_searches"),
        audio_seconds=seconds,
        cost=stated_cost(block, counts),
        final=final,
    )


def _parts(block: object, counts: Counts) -> dict[str, int]:
    """What a block states beside its three sums, by `_PARTS` and `_NAMES`; only what stands there is looked up."""
    found: dict[str, int] = {}
    if not isinstance(block, Mapping):
        return found
    for name in block:
        quantities, value = _PARTS.get(name), block[name]
        if quantities and isinstance(value, Mapping):
            for part in value:
                if part in quantities:
                    _keep(found, quantities[part], counts.read(block, name, part), counts)
    for name in block:
        if name in _NAMES:
            _keep(found, _NAMES[name], counts.read(block, name), counts)
    return found


def _keep(found: dict[str, int], quantity: str, count: int | None, counts: Counts) -> None:
    """The first that is not 0: a zero at one place must not hide what another one says."""
    if count is None:
        return
    before = found.get(quantity)
    if before and count and count != before:
        counts.flag(f"{quantity}_counts_differ")
    found[quantity] = before or count


def _cache_write(block: object, written: int | None, counts: Counts) -> tuple[int | None, int | None]:
    """The tokens written, and those of them for an hour. Where the breakdown by lifetime says more (Qwen), it holds."""
    if at(block, *_LIVES) is None:
        return written, None
    lives = [counts.read(block, *_LIVES, f"ephemeral_{life}_input_tokens") for life in ("5m", "1h")]
    broken_down = sum(count or 0 for count in lives)
    if written is not None and broken_down > written:
        counts.flag("cache_write_mismatch")
    known = written is not None or lives != [None, None]
    return max(written or 0, broken_down) if known else None, lives[1]


_LIVES = ("prompt_tokens_details", "cache_creation")


def _seconds(block: object, counts: Counts) -> int | None:
    """Mistral's seconds of audio heard; it writes an empty object where there was none."""
    return None if isinstance(at(block, *_SECONDS), Mapping) else counts.read(block, *_SECONDS)


_SECONDS = ("prompt_audio_seconds",)


def _check_split(block: object, prompt: int | None, counts: Counts) -> None:
    """DeepSeek states what missed its cache as well as what hit it; the two are the prompt."""
    hit, missed = at(block, "prompt_cache_hit_tokens"), counts.read(block, "prompt_cache_miss_tokens")
    if type(hit) is int and missed is not None and prompt not in (None, hit + missed):
        counts.flag("cache_split_mismatch")


def _cached_beside(gap: int, prompt: int, cached: int, reasoning: int, counts: Counts) -> int:
    """The cached tokens, where the total proves that the prompt leaves them out."""
    if not cached or (gap == reasoning and cached <= prompt) or gap not in (cached, cached + reasoning):
        return 0
    counts.flag("cached_beside_input")
    return cached


def _audio_beside(gap: int, audio: int, seconds: int, reasoning: int, counts: Counts) -> int:
    """The audio tokens, where the total proves that the prompt leaves them out: Mistral's does, and of older answers
    the total alone tells them, beside the seconds heard."""
    if gap <= 0 or gap == reasoning or not (seconds or (audio and gap in (audio, audio + reasoning))):
        return 0
    counts.flag("audio_beside_input")
    return audio if audio and gap == audio + reasoning else gap


def output_by_total(
    tokens_in: int | None,
    completion: int | None,
    reasoning: int | None,
    total: int | None,
    counts: Counts,
    reasoning_beside: bool = False,
) -> int | None:
    """The provider's total decides: reasoning may stand beside the completion (xAI), or show in the total alone
    (Gemini). Where the total is short, the parts hold; `reasoning_beside` where there is none."""
    if total is None or tokens_in is None:
        return completion + (reasoning or 0) if reasoning_beside and completion is not None else completion
    beyond = total - tokens_in - (completion or 0)
    if beyond < 0:
        counts.flag("total_mismatch")
    if beyond <= 0:
        return completion
    if completion is None or beyond != reasoning:
        counts.flag("hidden_output")
    return total - tokens_in
