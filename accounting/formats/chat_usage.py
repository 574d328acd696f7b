"""The `usage` block of chat completions: prompt, completion and total, whoever writes it.

Source: OpenAI API reference, chat completion object; what others make of it is named where it is read.
"""

from collections.abc import Mapping
from typing import Protocol

from accounting.counts import Counts
from accounting.formats.costs import stated_cost
from accounting.formats.wire import at, stated_usage
from accounting.usage import Usage

_Paths = tuple[tuple[str, ...], ...]

_CACHE_READ: _Paths = (
    ("prompt_tokens_details", "cached_tokens"),
    ("prompt_token_details", "cached_tokens"),  # Mistral, sic
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
    ("num_cached_tokens",),  # Mistral, older
    ("cache_read_input_tokens",),  # gateways that pass Anthropic's names on
)
_CACHE_WRITE: _Paths = (
    ("prompt_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_creation_input_tokens"),  # Qwen
    ("prompt_tokens_details", "cache_creation_tokens"),  # gateways, as above
    ("cache_creation_input_tokens",),
)
_CACHE_LIVES: _Paths = (
    ("prompt_tokens_details", "cache_creation", "ephemeral_5m_input_tokens"),  # Qwen
    ("prompt_tokens_details", "cache_creation", "ephemeral_1h_input_tokens"),
)
_REASONING: _Paths = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),  # Azure's older serverless models
)
_AUDIO_INPUT: _Paths = (
    ("prompt_tokens_details", "audio_tokens"),
    ("audio_prompt_tokens",),  # Azure's older serverless models
)
_IMAGE_INPUT: _Paths = (("prompt_tokens_details", "image_tokens"),)
_AUDIO_OUTPUT: _Paths = (("completion_tokens_details", "audio_tokens"),)
_IMAGE_OUTPUT: _Paths = (("completion_tokens_details", "image_tokens"),)
_WEB_SEARCHES: _Paths = (
    ("num_search_queries",),  # Perplexity
    ("server_tool_use_details", "web_search_requests"),  # OpenRouter
    ("server_tool_use", "web_search_requests"),
)


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
    read = first(block, _CACHE_READ, counts, "cached_counts_differ")
    write, write_1h = _cache_write(block, counts)
    reasoning = first(block, _REASONING, counts, "reasoning_counts_differ")
    audio, seconds = first(block, _AUDIO_INPUT, counts, "audio_counts_differ"), _seconds(block, counts)
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
        image_input=first(block, _IMAGE_INPUT, counts),
        output_tokens=_output(tokens_in, completion, reasoning, total, reasoning_beside, counts),
        reasoning=reasoning,
        audio_output=first(block, _AUDIO_OUTPUT, counts),
        image_output=first(block, _IMAGE_OUTPUT, counts),
        web_searches=first(block, _WEB_SEARCHES, counts),
        audio_seconds=seconds,
        cost=stated_cost(block, counts),
        final=final,
    )


def first(block: object, paths: _Paths, counts: Counts, differing: str = "") -> int | None:
    """The first count that is not 0: a zero at one path must not hide what another one says.

    Two that are neither 0 nor equal are flagged as `differing`.
    """
    found = [counts.read(block, *path) for path in paths if _is_there(block, path)]
    some = [count for count in found if count]
    if len(some) > 1 and len(set(some)) > 1:
        counts.flag(differing)
    return some[0] if some else 0 if 0 in found else None


def _is_there(block: object, path: tuple[str, ...]) -> bool:
    """Whether anything stands where the path begins: most paths are some other provider's."""
    return isinstance(block, Mapping) and block.get(path[0]) is not None


def _cache_write(block: object, counts: Counts) -> tuple[int | None, int | None]:
    """The tokens written, and those of them for an hour. Where the breakdown by lifetime says more, it holds."""
    written = first(block, _CACHE_WRITE, counts, "cache_write_counts_differ")
    if at(block, *_CACHE_LIVES[0][:-1]) is None:
        return written, None
    lives = [counts.read(block, *path) for path in _CACHE_LIVES]
    broken_down = sum(count or 0 for count in lives)
    if written is not None and broken_down > written:
        counts.flag("cache_write_mismatch")
    known = written is not None or lives != [None, None]
    return max(written or 0, broken_down) if known else None, lives[1]


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


def _output(
    tokens_in: int | None,
    completion: int | None,
    reasoning: int | None,
    total: int | None,
    reasoning_beside: bool,
    counts: Counts,
) -> int | None:
    """The provider's total decides: reasoning may stand beside the completion (xAI), or show in the total alone
    (Gemini). Where the total is short, the parts hold."""
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
