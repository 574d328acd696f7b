"""Where an oracle reads a body otherwise than we do: each case with its reason, and an example.

A reason predicts the oracle's very figure, so it excuses nothing else. Sources: the providers' own statements, as the
wire formats in `accounting/formats/` name them.
"""

from typing import Any

from .apart import APART
from .rules import Disagreement, at, constant, count, exceeds, given, is_text, null, reasons, stated, total_of
from .shapes import SHAPES, Case

_BOTH = ("genai", "litellm")
_GENAI, _LITELLM = ("genai",), ("litellm",)

_NO_CHAT = (
    *("openai responses", "xai responses", "openai embeddings", "anthropic messages", "gemini", "cohere"),
    "bedrock converse",
)
_CHAT = tuple(name for name in SHAPES if name not in _NO_CHAT)
_INSIDE = tuple(name for name in _CHAT if name not in ("xai chat", "gemini compat"))
"""Where reasoning is part of the completion."""
_RESPONSES = ("openai responses", "xai responses")

_CACHED, _REASONED = "prompt_tokens_details.cached_tokens", "completion_tokens_details.reasoning_tokens"


def _chat(prompt: int, completion: object, total: int, **more: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


def _total_tells_otherwise(case: Case) -> bool:
    """xAI's total is at least the prompt and the completion, and is not the sum of all parts."""
    return not _total_tells_nothing(case) and count(case, "total_tokens") != total_of(*_SENT_AND_MADE, _REASONED)(case)


def _total_tells_nothing(case: Case) -> bool:
    """There is none, or it is short of the prompt and the completion alone."""
    return stated(case, "total_tokens") is None or count(case, "total_tokens") < total_of(*_SENT_AND_MADE)(case)


_SENT_AND_MADE = ("prompt_tokens", "completion_tokens")


def _odd_output(case: Case) -> bool:
    return bool(count(case, "completion_tokens") % 1)


def _negative_output(case: Case) -> bool:
    return bool(count(case, "completion_tokens") < 0)


def _clamped(field: str, shapes: tuple[str, ...], part: str, *whole: str, **example: Any) -> list[Disagreement]:
    return reasons(
        *(_BOTH, field, shapes),
        why=f"{shapes[0]}: a part ({field}) is held within its whole, and named",
        when=exceeds(part, *whole),
        said=at(part),
        **example,
    )


_PARTS = [
    *_clamped(
        "cache_read",
        _CHAT,
        _CACHED,
        "prompt_tokens",
        example=_chat(9, 5, 14, prompt_tokens_details={"cached_tokens": 12}),
        ours=9,
    ),
    *_clamped(
        "reasoning",
        _CHAT,
        _REASONED,
        "completion_tokens",
        example=_chat(15, 210, 225, completion_tokens_details={"reasoning_tokens": 229}),
        ours=210,
    ),
    *_clamped(
        *("cache_read", _RESPONSES, "input_tokens_details.cached_tokens", "input_tokens"),
        example={
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 12},
            "output_tokens": 5,
            "total_tokens": 14,
        },
        ours=9,
    ),
    *_clamped(
        *("cache_write", _RESPONSES, "input_tokens_details.cache_write_tokens", "input_tokens"),
        example={"input_tokens": 9, "input_tokens_details": {"cache_write_tokens": 12}, "output_tokens": 5},
        ours=9,
    ),
    *_clamped(
        *("reasoning", _RESPONSES, "output_tokens_details.reasoning_tokens", "output_tokens"),
        example={
            "input_tokens": 9,
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 7},
            "total_tokens": 14,
        },
        ours=5,
    ),
    *_clamped(
        *("cache_read", ("gemini",), "cachedContentTokenCount", "promptTokenCount", "toolUsePromptTokenCount"),
        example={
            "promptTokenCount": 9,
            "candidatesTokenCount": 5,
            "cachedContentTokenCount": 12,
            "totalTokenCount": 14,
        },
        ours=9,
    ),
    *reasons(
        *(_GENAI, "reasoning", ("anthropic messages",)),
        why="a part (reasoning) is held within its whole, and named; litellm does so here, too",
        when=exceeds("output_tokens_details.thinking_tokens", "output_tokens"),
        said=at("output_tokens_details.thinking_tokens"),
        example={"input_tokens": 3, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 7}},
        ours=5,
    ),
]

_TOTALS = [
    *reasons(
        *(_BOTH, "output", ("gemini compat", *_INSIDE)),
        why="output that shows in the total alone is output, such as Gemini's thoughts on its compatible surface",
        when=exceeds("total_tokens", "prompt_tokens", "completion_tokens"),
        said=at("completion_tokens"),
        example=_chat(35, 12, 109),
        ours=74,
    ),
    *reasons(
        *(_GENAI, "output", ("xai chat",)),
        why="xAI's total decides where it contradicts the sum of its parts; it adds up all the same",
        when=_total_tells_otherwise,
        said=total_of("completion_tokens", _REASONED),
        example=_chat(35, 12, 109),
        ours=74,
    ),
    *reasons(
        *(_LITELLM, "output", ("xai chat",)),
        why="xAI's total decides where it contradicts the sum of its parts; it leaves the completion as it is",
        when=_total_tells_otherwise,
        said=at("completion_tokens"),
        example=_chat(35, 12, 109),
        ours=74,
    ),
    *reasons(
        *(_LITELLM, "output", ("xai chat",)),
        why="xAI's reasoning stands beside the completion where no total can disprove it, too",
        when=_total_tells_nothing,
        said=at("completion_tokens"),
        example={"prompt_tokens": 279, "completion_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 89}},
        ours=95,
    ),
    *reasons(
        *(_BOTH, "output", _RESPONSES),
        why="output that shows in the total alone is output, in Responses, too",
        when=exceeds("total_tokens", "input_tokens", "output_tokens"),
        said=at("output_tokens"),
        example={
            "input_tokens": 951,
            "output_tokens": 6000,
            "output_tokens_details": {"reasoning_tokens": 1200},
            "total_tokens": 8151,
        },
        ours=7200,
    ),
    *reasons(
        *(_BOTH, "output", ("gemini",)),
        why="output that shows in Gemini's total alone is output",
        when=exceeds(
            "totalTokenCount",
            "promptTokenCount",
            "toolUsePromptTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
        ),
        said=total_of("candidatesTokenCount", "thoughtsTokenCount"),
        example={"promptTokenCount": 35, "candidatesTokenCount": 12, "totalTokenCount": 109},
        ours=74,
    ),
    *reasons(
        *(_GENAI, "output", ("gemini",)),
        why="thoughts are within the candidates where Gemini's total says so; litellm sees that, too",
        when=lambda case: count(case, "totalTokenCount") == total_of("promptTokenCount", "candidatesTokenCount")(case),
        said=total_of("candidatesTokenCount", "thoughtsTokenCount"),
        example={"promptTokenCount": 35, "candidatesTokenCount": 74, "thoughtsTokenCount": 62, "totalTokenCount": 109},
        ours=74,
    ),
    *reasons(
        *(_BOTH, "input", ("mistral",)),
        why="what was heard stands beside Mistral's prompt, as its total says",
        when=given("prompt_audio_seconds"),
        said=at("prompt_tokens"),
        example=_chat(3, 41, 419, prompt_audio_seconds=12, prompt_tokens_details={"audio_tokens": 375}),
        ours=378,
    ),
    *reasons(
        *(_LITELLM, "input", ("openai embeddings",)),
        why="of embeddings the total is the input, where it stands alone",
        when=null("prompt_tokens"),
        said=constant(0),
        example={"total_tokens": 10},
        ours=10,
    ),
]

_UNKNOWN = [
    *reasons(
        *(_BOTH, "cache_read", ("gemini",)),
        why="of an input that is not stated, no part is known",
        when=null("promptTokenCount"),
        said=at("cachedContentTokenCount"),
        example={"candidatesTokenCount": 2, "totalTokenCount": 216, "cachedContentTokenCount": 53},
        ours=0,
    ),
    *reasons(
        *(_BOTH, "input", ("gemini",)),
        why="tools' tokens alone are not the input",
        when=null("promptTokenCount"),
        said=at("toolUsePromptTokenCount"),
        example={"candidatesTokenCount": 2, "totalTokenCount": 216, "toolUsePromptTokenCount": 53},
        ours=0,
    ),
    *reasons(
        *(_LITELLM, "output", _CHAT),
        why="a count that is null is 0 to it, where the total still tells it",
        when=null("completion_tokens"),
        said=constant(0),
        example=_chat(10, None, 15),
        ours=5,
    ),
    *reasons(
        *(_LITELLM, "output", _CHAT),
        why="it takes a negative count, which to us is an unknown one",
        when=_negative_output,
        said=at("completion_tokens"),
        example=_chat(10, -5, 15),
        ours=5,
    ),
    *reasons(
        *(_GENAI, "output", _CHAT),
        why="a fraction of a token is rounded up, and named",
        when=_odd_output,
        said=at("completion_tokens"),
        example=_chat(10, 14417.92, 14428),
        ours=14418,
    ),
]

_ERRORS = [
    *reasons(
        *(_GENAI, "error", _CHAT),
        why="it raises at a count that is null, where the total still tells it",
        when=null("completion_tokens"),
        said=constant("got None"),
        example=_chat(10, None, 15),
        ours=None,
    ),
    *reasons(
        *(_GENAI, "error", (*_CHAT, "openai embeddings")),
        why="it raises at a count that came as text",
        when=is_text("prompt_tokens"),
        said=constant("got str"),
        example=_chat(10, 5, 15, prompt_tokens="10"),
        ours=None,
    ),
    *reasons(
        *(_GENAI, "error", ("gemini",)),
        why="it finds no usage where Gemini's counts came as text",
        when=is_text("promptTokenCount"),
        said=constant("No usage information found"),
        example={"promptTokenCount": "35", "candidatesTokenCount": "12", "totalTokenCount": "47"},
        ours=None,
    ),
    *reasons(
        *(_LITELLM, "error", ("gemini",)),
        why="it raises where Gemini's counts came as text",
        when=is_text("promptTokenCount"),
        said=constant("not supported between instances of 'str' and 'int'"),
        example={"promptTokenCount": "35", "candidatesTokenCount": "12", "totalTokenCount": "47"},
        ours=None,
    ),
    *reasons(
        *(_LITELLM, "input", ("openai embeddings",)),
        why="it hands on a count as the text that it came as",
        when=is_text("prompt_tokens"),
        said=lambda case: stated(case, "prompt_tokens"),
        example={"prompt_tokens": "10", "total_tokens": 10},
        ours=10,
    ),
    *reasons(
        *(_GENAI, "error", _CHAT),
        why="it raises at a negative count, which to us is an unknown one",
        when=_negative_output,
        said=constant("expected a finite non-negative"),
        example=_chat(10, -5, 15),
        ours=None,
    ),
    *reasons(
        *(_LITELLM, "error", tuple(name for name in _CHAT if name != "groq")),
        why="it raises at a fraction of a token, which we round up, and name",
        when=_odd_output,
        said=constant("Invalid response object"),
        example=_chat(10, 14417.92, 14428),
        ours=None,
    ),
    *reasons(
        *(_LITELLM, "error", ("groq",)),
        why="it raises at a fraction of a token, which we round up, and name: in other words for Groq",
        when=_odd_output,
        said=constant("fractional part"),
        example=_chat(10, 14417.92, 14428),
        ours=None,
    ),
    *reasons(
        *(_GENAI, "error", (*_RESPONSES, "openai embeddings", *_CHAT)),
        why="no usage is an error to it: to us it is unknown, as while an answer is made in the background",
        when=lambda case: not case.block,
        said=constant("got None"),
        example=None,
        ours=None,
    ),
    *reasons(
        *(_GENAI, "error", ("openai embeddings",)),
        why="of embeddings the total is the input, where it stands alone",
        when=null("prompt_tokens"),
        said=constant("Missing value at `usage.prompt_tokens`"),
        example={"total_tokens": 10},
        ours=None,
    ),
]

_OLDER = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "prompt_token_details.cached_tokens")

_PLACES = [
    *reasons(
        *(_GENAI, "cache_read", ("deepseek", "moonshot", "mistral", "huggingface")),
        why="it looks for cached tokens in the newer of the places alone",
        when=given(*_OLDER),
        said=at(_CACHED),
        example=_chat(10, 5, 15, prompt_cache_hit_tokens=8, prompt_cache_miss_tokens=2),
        ours=8,
    ),
    *reasons(
        *(_LITELLM, "cache_read", ("moonshot", "mistral", "huggingface")),
        why="it looks for cached tokens in the newer of the places, and in DeepSeek's",
        when=given(*_OLDER),
        said=at(_CACHED),
        example=_chat(10, 5, 15, cached_tokens=8),
        ours=8,
    ),
    *reasons(
        *(_LITELLM, "cache_read", ("deepseek",)),
        why="of two differing counts of cached tokens it takes the older place's; we take the first, and name it",
        when=exceeds(_CACHED, "prompt_tokens"),
        said=at("prompt_cache_hit_tokens"),
        example=_chat(10, 5, 15, prompt_tokens_details={"cached_tokens": 12}, prompt_cache_hit_tokens=8),
        ours=10,
    ),
    *reasons(
        *(_GENAI, "cache_read", ("cerebras",)),
        why="it looks for no cached tokens at Cerebras, which states them",
        when=given(_CACHED),
        said=constant(0),
        example=_chat(10, 5, 15, prompt_tokens_details={"cached_tokens": 8}),
        ours=8,
    ),
    *reasons(
        *(_GENAI, "reasoning", ("azure chat",)),
        why="it looks for no reasoning beside the counts, where Azure's older serverless models state it",
        when=given("reasoning_tokens"),
        said=at(_REASONED),
        example=_chat(10, 5, 15, reasoning_tokens=3),
        ours=3,
    ),
]

DISAGREEMENTS: list[Disagreement] = [*_PARTS, *_TOTALS, *_UNKNOWN, *_ERRORS, *_PLACES, *APART]
