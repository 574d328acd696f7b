"""What a request may use, told from itself and from what was learned of the model, before it is sent."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from accounting.bounds import Bounds, bounds, is_count, no_count, stated
from accounting.estimates import Snapshot, estimate, is_estimated, learned_sizes, most_input, priors
from accounting.exposure import Exposure
from accounting.openends import NONE, OpenEnds, open_ends
from accounting.usage import MAX_COUNT, Call

MOST_CHOICES = 10_000
"""Answers, pictures or prompts that one request asks for at most; a larger number is no reason to reckon with more."""

PICTURE = 50_000
"""Tokens that a picture in the request costs at most, beside one for each of its bytes: a tiny file may be a large
picture. The most that is documented is 48,169 (GPT-4o mini: 2,833 and 5,667 for each of 8 tiles); Qwen counts up to
16,384, Claude up to 4,784, Gemini 258 for each of 16 tiles."""


def exposure_of(snapshot: Snapshot, call: Call, fields: Mapping[str, Any], *, strict: bool) -> Exposure:
    """What a call that is about to be sent may use.

    `fields` are the request's parsed JSON, empty where it was not readable in memory. Without `strict` nobody will ask
    for the most that it can cost, and what only that depends on is not looked for.

    Where the answer is bounded, that bounds all that comes out: OpenAI's `max_completion_tokens` and
    `max_output_tokens` count what was thought, and its models that think refuse the older `max_tokens`; Anthropic's
    budget for thinking is within its `max_tokens`, Gemini's thoughts within `maxOutputTokens`. Where it is otherwise,
    `unbounded` says so.
    """
    model, effort = call.model, call.effort or ""
    likely = estimate(
        snapshot, provider=call.provider, model=model, endpoint=call.endpoint, script=call.script,
        bytes_in=call.bytes_in, stream=call.stream, max_tokens=call.max_tokens, key=call.key_fingerprint,
        effort=effort,
    )  # fmt: skip
    is_silent = priors().is_silent(call.endpoint)
    ends = open_ends(fields) if strict else NONE
    held = bounds(call.provider, call.endpoint, fields) if strict and not is_silent else Bounds()
    return Exposure(
        input_tokens=likely.input_tokens,
        output_tokens=likely.high_output_tokens,
        is_learned=learned_sizes(snapshot, call.provider, model, call.key_fingerprint, effort) is not None,
        most_input_tokens=_most_input(call, fields, ends, likely.input_tokens),
        max_tokens=0 if is_silent else _bounded(call.max_tokens),
        choices=1 if is_silent else _choices(call, fields),
        images=_images(call.endpoint, fields),
        unbounded=tuple(_unbounded(call, fields, ends)) if strict else (),
        longest=held.longest,
        loose=held.loose,
    )


def _bounded(max_tokens: int | None) -> int | None:
    return None if max_tokens is None else min(max_tokens, MAX_COUNT)


def _most_input(call: Call, fields: Mapping[str, Any], ends: OpenEnds, likely: int) -> int | None:
    """A token is a byte of text at least. What providers add to each request stands against the braces and quotes of
    its JSON; what they add where there are tools, or a form to answer in, doesn't. A model of which was learned that
    they add more has more.
    """
    if not fields or not call.bytes_in:
        return None
    is_added_to = any(fields.get(name) for name in _ADDED_TO)
    of_text = most_input(call.bytes_in) if is_added_to else call.bytes_in
    return max(of_text, likely) + PICTURE * ends.pictures


_ADDED_TO = (
    *("tools", "functions", "toolConfig", "tool_config"),
    *("response_format", "output_format", "output_config", "text"),
)


def _choices(call: Call, fields: Mapping[str, Any]) -> int:
    """Answers that are made; `best_of` are made to show the best `n` of them."""
    return _largest(fields, _CHOICES) * _prompts(call.endpoint, fields)


_CHOICES = (
    *("n", "best_of", "num_generations", "numResults"),
    *("generationConfig.candidateCount", "generationConfig.candidate_count"),
    *("generation_config.candidateCount", "generation_config.candidate_count"),
)


def _prompts(endpoint: str, fields: Mapping[str, Any]) -> int:
    """Each of the prompts of a completion is answered; one may itself be a list, of numbers of tokens."""
    prompt = fields.get("prompt")
    if endpoint != "completions" or not isinstance(prompt, list) or (prompt and isinstance(prompt[0], int)):
        return 1
    return min(max(len(prompt), 1), MOST_CHOICES)


def _images(endpoint: str, fields: Mapping[str, Any]) -> int:
    if endpoint not in _DRAWING:
        return 0
    return _largest(fields, _PICTURES) * (_pictured(fields) if endpoint == _PREDICT else 1)


def _pictured(fields: Mapping[str, Any]) -> int:
    """Of Vertex's predict, how many instances are drawn: what has no prompt is no picture."""
    instances = fields.get("instances")
    each = instances if isinstance(instances, list) else []
    return min(sum(isinstance(one, Mapping) and "prompt" in one for one in each), MOST_CHOICES)


_PICTURES = ("n", "parameters.sampleCount")
_PREDICT = "*:predict"
_DRAWING = frozenset({"images/generations", "images/edits", "images/variations", "image_generation", _PREDICT})


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def _largest(fields: Mapping[str, Any], paths: Iterable[str]) -> int:
    """Of what is asked for by any of the paths; one where it is no number of anything."""
    asked = (min(value, MOST_CHOICES) for _, value in stated(fields, paths) if is_count(value))
    return max(asked, default=1)


def _unbounded(call: Call, fields: Mapping[str, Any], ends: OpenEnds) -> Iterator[str]:
    """A sentence on what can cost any amount, and one on each number that servers read in different ways."""
    if names := dict.fromkeys((*ends.names, *_beside(call, fields))):
        yield f"{' and '.join(names)} can cost any amount"
    if not priors().is_silent(call.endpoint):
        numbers = stated(fields, dict.fromkeys((*_CHOICES, *_PICTURES)))
        yield from (no_count(path) for path, value in numbers if not is_count(value))


def _beside(call: Call, fields: Mapping[str, Any]) -> Iterator[str]:
    """What costs any amount by the endpoint, the provider or the model, though no field says so."""
    model = call.model.lower()
    if not is_estimated(call.endpoint) and call.endpoint not in _DRAWING:
        yield "an endpoint that is not billed by its text"
    if priors().is_silent(call.endpoint):
        return
    if call.provider == "perplexity" and fields.get("disable_search") is not True:
        yield "web search"
    if model.endswith(":online") or "-search-" in model:  # OpenRouter's; OpenAI's of chat completions
        yield "web search"
    if "compound" in model and call.provider == "groq":
        yield "tools that the model itself runs"
    if "deep-research" in model:
        yield "deep research"
    if ":prompt/" in model or model.startswith("@preset/"):  # Bedrock's, OpenRouter's
        yield "a prompt that the provider keeps"
    if _thinks_beside(call.provider, fields):
        yield "thinking that max_tokens does not bound"


def _thinks_beside(provider: str, fields: Mapping[str, Any]) -> bool:
    """Whether what is thought may come on top of the longest answer.

    Source: Alibaba Cloud's and SiliconFlow's pages on deep thinking, where it has a budget of its own, which not all
    models keep; Volcengine's of chat, whose `max_completion_tokens` includes it and whose `max_tokens` does not.
    """
    is_off = fields.get("enable_thinking") is False or _object(fields, "thinking").get("type") == "disabled"
    if is_off or provider not in _THINKING_BESIDE:
        return False
    return provider in _THINKING_APART or not any(type(fields.get(name)) is int for name in _WHOLE_LIMITS)


_THINKING_APART = ("dashscope", "siliconflow")
_THINKING_BESIDE = (*_THINKING_APART, "volcengine", "byteplus")
_WHOLE_LIMITS = ("max_completion_tokens", "max_output_tokens")
