"""Disagreements about what is billed beside the counts at the top, and about breakdowns that contradict their total."""

from .rules import (
    Disagreement,
    at,
    broken_down,
    constant,
    count,
    given,
    has_iterations,
    null,
    of_iterations,
    reasons,
    stated,
    total_of,
)
from .shapes import Case

_BOTH = ("genai", "litellm")
_GENAI, _LITELLM = ("genai",), ("litellm",)

_ANTHROPIC, _CONVERSE = ("anthropic messages",), ("bedrock converse",)
_WRITTEN = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount")
_TOP_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _more_broken_down(case: Case) -> bool:
    return bool(broken_down(case) > max(count(case, path) for path in _WRITTEN))


_BREAKDOWNS = [
    *reasons(
        *(_BOTH, "cache_write", _ANTHROPIC),
        why="a breakdown of cache writes above their total is right: it names what is billed",
        when=_more_broken_down,
        said=at("cache_creation_input_tokens"),
        example={
            **{"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 456},
            "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100},
        },
        ours=556,
    ),
    *reasons(
        *(_BOTH, "input", _ANTHROPIC),
        why="a breakdown of cache writes above their total is right, and the input includes it",
        when=_more_broken_down,
        said=total_of(*_TOP_INPUT),
        example={
            **{"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 456},
            "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100},
        },
        ours=557,
    ),
    *reasons(
        *(_BOTH, "cache_write", _CONVERSE),
        why="a breakdown of Bedrock's cache writes above their total is right",
        when=_more_broken_down,
        said=at("cacheWriteInputTokens"),
        example={
            **{"inputTokens": 3, "outputTokens": 4, "cacheWriteInputTokens": 2},
            "cacheDetails": [{"ttl": "5m", "inputTokens": 5}],
        },
        ours=5,
    ),
    *reasons(
        *(_BOTH, "input", _CONVERSE),
        why="a breakdown of Bedrock's cache writes above their total is right, and the input includes it",
        when=_more_broken_down,
        said=total_of("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        example={
            **{"inputTokens": 3, "outputTokens": 4, "cacheWriteInputTokens": 2},
            "cacheDetails": [{"ttl": "5m", "inputTokens": 5}],
        },
        ours=8,
    ),
    *(
        reason
        for field, name, ours in (("cache_read", "cacheRead", 127), ("cache_write", "cacheWrite", 40))
        for reason in reasons(
            *(_GENAI, field, _CONVERSE),
            why=f"it looks for Bedrock's {field} under one of its two names",
            when=null(f"{name}InputTokens"),
            said=constant(0),
            example={"inputTokens": 9, "outputTokens": 5, f"{name}InputTokenCount": ours},
            ours=ours,
        )
    ),
    *reasons(
        *(_GENAI, "input", _CONVERSE),
        why="it adds what Bedrock's cache took under one of two names alone",
        when=given("cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
        said=total_of("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        example={"inputTokens": 9, "outputTokens": 5, "cacheReadInputTokenCount": 127},
        ours=136,
    ),
]

_COMPACTED = {
    **{"input_tokens": 220, "output_tokens": 8, "cache_read_input_tokens": 0},
    "iterations": [
        {"type": "compaction", "input_tokens": 55196, "output_tokens": 125, "cache_read_input_tokens": 60000},
        {"type": "message", "input_tokens": 220, "output_tokens": 8, "cache_read_input_tokens": 0},
    ],
}
_ADVISED = {
    **{"input_tokens": 2414, "output_tokens": 3200},
    "iterations": [
        {"type": "message", "input_tokens": 2414, "output_tokens": 3200},
        {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 2728, "output_tokens": 874},
    ],
}


def _other_models(case: Case) -> bool:
    """Some iterations are another model's, or of a kind that nobody knows: they are no part of this call's sum."""
    listed = stated(case, "iterations") or []
    return any(part.get("type") not in ("message", "compaction") for part in listed)


_ITERATIONS = [
    *(
        reason
        for field, paths, ours in (
            ("input", _TOP_INPUT, 220 + 55196 + 60000),
            ("cache_read", ("cache_read_input_tokens",), 60000),
            ("output", ("output_tokens",), 133),
        )
        for reason in reasons(
            *(_GENAI, field, _ANTHROPIC),
            why=f"Anthropic's compaction is billed beside the counts at the top ({field})",
            when=has_iterations,
            said=total_of(*paths),
            example=_COMPACTED,
            ours=ours,
        )
    ),
    *(
        reason
        for field, paths, ours in (("input", _TOP_INPUT, 2414), ("output", ("output_tokens",), 3200))
        for reason in reasons(
            *(_LITELLM, field, _ANTHROPIC),
            why=f"an advisor is another model's call, and what declined is not billed; it adds all up ({field})",
            when=_other_models,
            said=of_iterations(*paths),
            example=_ADVISED,
            ours=ours,
        )
    ),
    *reasons(
        *(_GENAI, "error", _ANTHROPIC),
        why="it raises at an output of null",
        when=null("output_tokens"),
        said=constant("got None"),
        example={"input_tokens": 24, "output_tokens": None},
        ours=None,
    ),
]

_RESEARCH = {
    **{"prompt_tokens": 230, "completion_tokens": 13498, "total_tokens": 13728},
    **{"citation_tokens": 20470, "reasoning_tokens": 145885, "num_search_queries": 50},
}

_PERPLEXITY = [
    *reasons(
        *(_BOTH, "input", ("perplexity",)),
        why="the sources that Perplexity's research read are billed as input: at its price, as its list of costs shows",
        when=given("reasoning_tokens"),
        said=at("prompt_tokens"),
        example=_RESEARCH,
        ours=20700,
    ),
    *reasons(
        *(_GENAI, "output", ("perplexity",)),
        why="Perplexity's citations are no output: shown they are free, and in research they are read",
        when=given("citation_tokens"),
        said=total_of("completion_tokens", "citation_tokens", "reasoning_tokens"),
        example=_RESEARCH,
        ours=159383,
    ),
    *reasons(
        *(_LITELLM, "output", ("perplexity",)),
        why="the reasoning of Perplexity's research stands beside its completion, and is billed",
        when=given("reasoning_tokens"),
        said=at("completion_tokens"),
        example=_RESEARCH,
        ours=159383,
    ),
]

_BILLED = {
    "billed_units": {"input_tokens": 2406, "output_tokens": 19},
    "tokens": {"input_tokens": 2935, "output_tokens": 21},
    "cached_tokens": 2928,
}

_COHERE = [
    *(
        reason
        for field, ours in (("input", 2406), ("output", 19))
        for reason in reasons(
            *(_LITELLM, field, ("cohere",)),
            why=f"Cohere's billed units are what is paid for, not all tokens ({field})",
            when=given("billed_units.input_tokens", "billed_units.output_tokens"),
            said=at(f"tokens.{field}_tokens"),
            example=_BILLED,
            ours=ours,
        )
    ),
    *reasons(
        *(_GENAI, "error", ("cohere",)),
        why="it raises where Cohere says nothing of the bill: we take the tokens then",
        when=null("billed_units"),
        said=constant("Missing value at `usage.billed_units`"),
        example={"tokens": {"input_tokens": 215, "output_tokens": 12}},
        ours=None,
    ),
    *reasons(
        *(_BOTH, "cache_read", ("cohere",)),
        why="it looks for no cached tokens at Cohere, which states them",
        when=given("cached_tokens"),
        said=constant(0),
        example=_BILLED,
        ours=2406,
    ),
]

APART: list[Disagreement] = [*_BREAKDOWNS, *_ITERATIONS, *_PERPLEXITY, *_COHERE]
