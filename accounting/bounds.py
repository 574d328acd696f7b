"""Bounds: how long an answer may be at most, whichever of the names that the request gives its server reads.

Clients bound an answer by several names at once, for servers that each know another one. Which of them holds where
more than one is given differs, so the largest counts; and what a server does not know it passes over in silence, so
only a name that is known to be kept to bounds anything.

Source: the API references of those whose endpoints are named below. `max_completion_tokens`, which OpenAI put in the
place of `max_tokens`, is documented by those in `_KNOWING` alone; DeepSeek's reference, Fireworks' and Ollama's know
only `max_tokens`, which all take or refuse.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from accounting.usage import MAX_COUNT


@dataclass(frozen=True, slots=True)
class Bounds:
    """`longest` is the largest number of tokens that any name gives one answer, 0 where none does.

    `loose` says, for people, why an answer may be longer all the same; empty where it may not, or nothing was given.
    """

    longest: int = 0
    loose: str = ""


def bounds(provider: str, endpoint: str, fields: Mapping[str, Any]) -> Bounds:
    """Of a request's parsed JSON."""
    given = dict(stated(fields, _EVERY))
    least = 0 if (provider, endpoint) in _TAKE_ZERO else 1
    counts = [min(value, MAX_COUNT) for value in given.values() if is_count(value, least)]
    return Bounds(max(counts, default=0), _loose(provider, endpoint, given, least))


def stated(fields: Mapping[str, Any], paths: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """What stands at these of the paths, which are names, or an object's and one in it. Null is as good as nothing."""
    for path in paths:
        place, _, name = path.rpartition(".")
        inside = fields.get(place) if place else fields
        if isinstance(inside, Mapping) and (value := inside.get(name)) is not None:
            yield path, value


def is_count(value: object, least: int = 1) -> bool:
    """Whether all servers read it as the same number. Some take "8", 8.0 or true as well, or 0 and -1 for no bound."""
    return type(value) is int and value >= least


def no_count(path: str) -> str:
    return f"its {path} is no whole number above 0"


def _loose(provider: str, endpoint: str, given: Mapping[str, object], least: int) -> str:
    if odd := [path for path, value in given.items() if not is_count(value, least)]:
        return no_count(odd[0])
    kept = _kept(provider, endpoint)
    if not given or not given.keys().isdisjoint(kept):
        return ""
    but = f", but to {kept[0]}" if kept else ""
    return f"{provider} is not known to keep to {' or '.join(given)}{but}"


def _kept(provider: str, endpoint: str) -> tuple[str, ...]:
    known = _AT.get(endpoint, _AT.get(endpoint.rpartition("/")[2], _USUAL))
    return (*known, _NEWER) if endpoint in _CHATS and provider in _KNOWING else known


_NEWER = "max_completion_tokens"
_CHATS = ("chat/completions", "text/chatcompletion_v2")
_KNOWING = frozenset(
    {
        *("openai", "azure", "xai", "groq", "cerebras", "openrouter"),
        *("moonshot", "minimax", "volcengine", "byteplus"),
    }
)
_TAKE_ZERO = frozenset({("anthropic", "messages")})
"""Where 0 stands for an answer of nothing: Claude's, to warm a cache."""

_USUAL = ("max_tokens",)
_AT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("*:generateContent", "*:streamGenerateContent"),
        tuple(
            f"{config}.{name}"
            for config in ("generationConfig", "generation_config")
            for name in ("maxOutputTokens", "max_output_tokens")
        ),
    ),
    "interactions": ("generation_config.max_output_tokens",),
    "*:predict": ("parameters.maxOutputTokens",),
    "responses": ("max_output_tokens",),
    "responses/compact": (),  # has no bound at all
    **dict.fromkeys(("converse", "converse-stream"), ("inferenceConfig.maxTokens",)),
    **dict.fromkeys(
        ("invoke", "invoke-with-response-stream"),  # Bedrock refuses what the model has no name for
        (
            *("max_tokens", "max_gen_len", "max_tokens_to_sample", "maxTokens"),
            *("inferenceConfig.maxTokens", "inferenceConfig.max_new_tokens", "textGenerationConfig.maxTokenCount"),
        ),
    ),
    **dict.fromkeys(("api/chat", "api/generate"), ("options.num_predict",)),
    **dict.fromkeys(("async/chat/completions", "async/sonar"), ("request.max_tokens",)),
    "v1/complete": ("max_tokens_to_sample",),
    "v1/summarize": (),
}
"""What the reference of an endpoint, or of the last part of its path, calls the bound, where that is not the usual."""

_EVERY = tuple(
    dict.fromkeys(
        [
            *(*_USUAL, _NEWER, "max_new_tokens", "num_predict", "n_predict"),
            *(f"request.{_NEWER}", "additionalModelRequestFields.max_tokens"),
            *(path for paths in _AT.values() for path in paths),
        ]
    )
)
