"""What a `usage` block of Anthropic's says.

Source: Anthropic API reference, the Usage and BetaUsage objects. The counts at its top are those of the model that
answered. `iterations`, where there are any, tell of each sampling in turn:

- `message`: one of those that the top adds up. Before a fallback also an attempt that was declined, which the top
  leaves out and nobody pays for.
- `fallback_message`: what answered in the place of the model that declined; the top has its counts.
- `compaction`: a summary that the same model made beforehand. The top leaves it out, and it is billed.
- `advisor_message`: another model that was asked for advice. The top leaves it out, and it is billed.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from accounting.counts import Counts
from accounting.formats.wire import SubCall, at, fields, stated_usage, sub_call, text
from accounting.usage import MAX_COUNT, Usage

MAX_ITERATIONS = 256
"""More of them than any answer has; the rest is left unread, and flagged."""

_TYPES = ("message", "fallback_message", "compaction", "advisor_message")


class _Tokens(NamedTuple):
    """The counts of one sampling, or of several together; `input` is inclusive."""

    input: int | None
    read: int | None
    write: int | None
    write_1h: int | None
    output: int | None
    reasoning: int | None


def usage(block: object, final: bool = True, unread: bool = False) -> Usage:
    """What the call used of the model that answered, summaries that it made on the way included.

    `unread`: an event was too large to be read, and may have stated more.
    """
    counts = Counts()
    if unread:
        counts.flag("event_too_large")
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies))
    tokens, stated = _tokens(block, counts), fields(block)
    if stated.get("iterations") is not None:
        tokens = _with_iterations(tokens, block, final, counts)
    if "fallback_credit" in stated and at(block, "fallback_credit", "status", "type") == "redeemed":
        counts.flag("fallback_credit_redeemed")  # billed otherwise than counted, and by how much nobody says
    searches = counts.read(block, "server_tool_use", "web_search_requests")
    return _stated(block, tokens, searches, final, counts)


def sub_calls(block: object, final: bool = True) -> tuple[SubCall, ...]:
    """What each advisor used, of its own model."""
    if at(block, "iterations") is None:
        return ()
    named = _named(_iterations(block))
    advisors = [(place, each) for place, each in named if at(each, "type") == "advisor_message" and _is_known(each)]
    return tuple(sub_call(text(at(each, "model")) or "", _alone(place, each, final)) for place, each in advisors)


def fallback_model(block: object) -> object:
    """The model that answered where the one that was asked declined; a stream begins with the latter's name."""
    if at(block, "iterations") is None:
        return None
    last_first = reversed(_iterations(block))
    return next((at(each, "model") for each in last_first if at(each, "type") == "fallback_message"), None)


def service_tier(block: object) -> str | None:
    """The tier that served; fast mode has prices of its own."""
    stated = fields(block)
    served = "fast" if stated.get("speed") == "fast" else text(stated.get("service_tier"))
    return served.lower() if served else None


def _tokens(block: object, counts: Counts) -> _Tokens:
    """`input_tokens` leaves out what was read from and written to the cache, so the three are added."""
    fresh, output = counts.read(block, "input_tokens"), counts.read(block, "output_tokens")
    read = counts.read(block, "cache_read_input_tokens")
    write, write_1h = _cache_writes(block, counts)
    tokens_in = None if fresh is None else fresh + (read or 0) + (write or 0)
    reasoning = counts.read(block, "output_tokens_details", "thinking_tokens")
    return _Tokens(tokens_in, read, write, write_1h, output, reasoning)


def _cache_writes(block: object, counts: Counts) -> tuple[int | None, int | None]:
    """The total, or its breakdown by lifetime where that adds up to more; and the share that lives for an hour."""
    total = counts.read(block, "cache_creation_input_tokens")
    short = counts.read(block, "cache_creation", "ephemeral_5m_input_tokens")
    long = counts.read(block, "cache_creation", "ephemeral_1h_input_tokens")
    if short is None and long is None:
        return total, None
    broken_down = (short or 0) + (long or 0)
    if total is not None and broken_down > total:
        counts.flag("cache_write_mismatch")
    return max(total or 0, broken_down), long


def _stated(block: object, tokens: _Tokens, searches: int | None, final: bool, counts: Counts) -> Usage:
    return stated_usage(
        block,
        counts,
        input_tokens=tokens.input,
        cache_read=tokens.read,
        cache_write=tokens.write,
        cache_write_1h=tokens.write_1h,
        output_tokens=tokens.output,
        reasoning=tokens.reasoning,
        web_searches=searches,
        final=final,
    )


def _alone(place: str, iteration: object, final: bool) -> Usage:
    counts = Counts()
    return _stated(iteration, _tokens(iteration, counts.below(place)), None, final, counts)


def _with_iterations(top: _Tokens, block: object, final: bool, counts: Counts) -> _Tokens:
    """The counts at the top, and beside them those of each summary; flagged where the iterations say otherwise."""
    named, answered = _named(_iterations(block)), fallback_model(block)
    if len(named) != _count(at(block, "iterations")) or any(not _is_known(each) for _, each in named):
        counts.flag("iterations_unread")
    above = [_tokens(each, counts.below(place)) for place, each in named if _is_above(each, answered)]
    if final and above and _compared(_sum(above)) != _compared(top):
        counts.flag("iterations_mismatch")
    beside = [_tokens(each, counts.below(place)) for place, each in named if at(each, "type") == "compaction"]
    return _together(top, beside, counts) if beside else top


def _iterations(block: object) -> Sequence[object]:
    stated = at(block, "iterations")
    return stated[:MAX_ITERATIONS] if isinstance(stated, list) else ()


def _count(stated: object) -> int:
    return len(stated) if isinstance(stated, list) else -1


def _named(iterations: Sequence[object]) -> list[tuple[str, object]]:
    """Each with its place, by which people find it in the block."""
    return [(f"iterations[{index}]", each) for index, each in enumerate(iterations)]


def _is_known(iteration: object) -> bool:
    kind = at(iteration, "type")
    return kind in _TYPES and (kind != "advisor_message" or text(at(iteration, "model")) is not None)


def _is_above(iteration: object, answered: object) -> bool:
    """Whether the counts at the top have it in them: where a fallback answered, that model's alone."""
    is_message = at(iteration, "type") in ("message", "fallback_message")
    return is_message and (answered is None or at(iteration, "model") == answered)


def _together(top: _Tokens, beside: Iterable[_Tokens], counts: Counts) -> _Tokens:
    """All of them, if each says what went in and came out: a sum with a part unknown is unknown."""
    parts = [top, *beside]
    total = _sum(parts)
    if any(None in (each.input, each.output) for each in parts) or max(total.input or 0, total.output or 0) > MAX_COUNT:
        counts.flag("iterations_unread")
        return top
    return total


def _sum(parts: Iterable[_Tokens]) -> _Tokens:
    """A count that none of them states is unknown."""
    columns = ([count for count in column if count is not None] for column in zip(*parts, strict=True))
    return _Tokens(*(sum(known) if known else None for known in columns))


def _compared(tokens: _Tokens) -> tuple[int, ...]:
    return tuple(count or 0 for count in (tokens.input, tokens.read, tokens.write, tokens.output))
