"""Thousands of bodies as providers send them, and as they might: made from a seed, so that each run asks the same."""

import random
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from .shapes import SHAPES, Case, Shape

Block = dict[str, Any]

SEED = 20261101
EACH = 150
"""Bodies of a shape without anything odd; each twist that fits it comes on top, `ODD` times."""
ODD = 12


def cases() -> Iterator[Case]:
    for shape in SHAPES.values():
        chance = random.Random(f"{SEED} {shape.name}")
        for number in range(EACH):
            yield _case(shape, chance, str(number))
        for twist in _TWISTS.get(shape.name, _CHAT_TWISTS):
            for number in range(ODD):
                yield _case(shape, chance, f"{twist} {number}", twist)


def _case(shape: Shape, chance: Random, label: str, twist: str = "") -> Case:
    block = _BLOCKS[shape.name](chance)
    if twist:
        TWISTS[twist](block, chance)
    model = chance.choice(shape.models) if shape.models else "a-model"
    return Case(f"{shape.name} {label}", shape, body_with(shape, block, model), twist)


def body_with(shape: Shape, block: Mapping[str, Any] | None, model: str = "a-model") -> Mapping[str, Any]:
    """An answer of the shape around its usage block."""
    frame = _FRAMES.get(shape.name, _chat_frame)
    return frame(model) | {"usageMetadata" if shape.name == "gemini" else "usage": block}


def _chat_frame(model: str) -> Block:
    message = {"role": "assistant", "content": "Hi"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": choices}


def _groq_frame(model: str) -> Block:
    return _chat_frame(model) | {"service_tier": "on_demand"}


def _responses_frame(model: str) -> Block:
    said = {"type": "output_text", "text": "Hi", "annotations": []}
    output = [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [said]}]
    settings: Block = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {}}
    told = {"id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": "completed"}
    return {**told, "error": None, "output": output, **settings}


def _embeddings_frame(model: str) -> Block:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    return {"object": "list", "model": model, "data": data}


def _anthropic_frame(model: str) -> Block:
    content = [{"type": "text", "text": "Hi"}]
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    return {**told, "content": content, "stop_reason": "end_turn", "stop_sequence": None}


def _gemini_frame(model: str) -> Block:
    content = {"role": "model", "parts": [{"text": "Hi"}]}
    return {
        "candidates": [{"index": 0, "content": content, "finishReason": "STOP"}],
        "modelVersion": model,
        "responseId": "r-1",
    }


def _cohere_frame(model: str) -> Block:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    return {"id": "c-1", "message": message, "finish_reason": "COMPLETE", "model": model}


def _converse_frame(_: str) -> Block:
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "metrics": {"latencyMs": 9}}


_FRAMES: Mapping[str, Callable[[str], Block]] = {
    "groq": _groq_frame,
    "openai responses": _responses_frame,
    "xai responses": _responses_frame,
    "openai embeddings": _embeddings_frame,
    "anthropic messages": _anthropic_frame,
    "gemini": _gemini_frame,
    "cohere": _cohere_frame,
    "bedrock converse": _converse_frame,
}


def _size(chance: Random) -> int:
    """Of all sizes alike, from 1 to a little over a million: past every step in a price."""
    return int(2 ** chance.uniform(0, 20.1))


def _share(chance: Random, whole: int) -> int:
    """None of it, some of it, or all."""
    return chance.choice((0, chance.randint(0, whole), chance.randint(0, whole), whole))


def _maybe(chance: Random, fields: Mapping[str, Any]) -> Block:
    """Each of the fields, or not."""
    return {name: value for name, value in fields.items() if chance.random() < 0.7}


def _chat(chance: Random) -> Block:
    prompt, completion = _size(chance), _size(chance)
    read = _share(chance, prompt)
    into = {"cached_tokens": read, "cache_write_tokens": _share(chance, prompt - read), "audio_tokens": 0}
    out = {"reasoning_tokens": _share(chance, completion), "audio_tokens": 0, "accepted_prediction_tokens": 0}
    details = {"prompt_tokens_details": _maybe(chance, into), "completion_tokens_details": _maybe(chance, out)}
    return _chat_sums(prompt, completion) | _maybe(chance, details)


def _chat_sums(prompt: int, completion: int) -> Block:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _without_writes(block: Block) -> Block:
    block.get("prompt_tokens_details", {}).pop("cache_write_tokens", None)
    return block


def _azure(chance: Random) -> Block:
    """Older serverless models state null details, and reasoning beside the counts."""
    if chance.random() < 0.7:
        return _chat(chance)
    old = _chat_sums(_size(chance), _size(chance)) | {"prompt_tokens_details": None, "audio_prompt_tokens": 0}
    return old | {"reasoning_tokens": _share(chance, old["completion_tokens"])}


def _responses(chance: Random) -> Block:
    tokens_in, tokens_out = _size(chance), _size(chance)
    read = _share(chance, tokens_in)
    into = {"cached_tokens": read} | _maybe(chance, {"cache_write_tokens": _share(chance, tokens_in - read)})
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": into,
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": _share(chance, tokens_out)},
        "total_tokens": tokens_in + tokens_out,
    }


def _xai_responses(chance: Random) -> Block:
    block = _responses(chance)
    block["input_tokens_details"].pop("cache_write_tokens", None)
    return block | {"num_sources_used": 0}


def _embeddings(chance: Random) -> Block:
    prompt = _size(chance)
    return {"prompt_tokens": prompt, "total_tokens": prompt}


def _anthropic(chance: Random) -> Block:
    short, long = _share(chance, _size(chance)), _share(chance, _size(chance))
    tokens_out = _size(chance)
    cache = {
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": _share(chance, _size(chance)),
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
    }
    rest = {
        "output_tokens_details": {"thinking_tokens": _share(chance, tokens_out)},
        "server_tool_use": {"web_search_requests": chance.randint(0, 3), "web_fetch_requests": 0},
        "service_tier": "standard",
    }
    if chance.random() < 0.3:
        cache.pop("cache_creation")
    return {"input_tokens": _size(chance), "output_tokens": tokens_out} | cache | _maybe(chance, rest)


def _gemini(chance: Random) -> Block:
    prompt, candidates = _size(chance), _size(chance)
    thoughts, tool = _share(chance, _size(chance)), chance.choice((0, 0, _size(chance)))
    block = {"promptTokenCount": prompt, "candidatesTokenCount": candidates}
    extra = {"thoughtsTokenCount": thoughts, "toolUsePromptTokenCount": tool}
    block |= {name: count for name, count in extra.items() if count}
    block["totalTokenCount"] = prompt + candidates + thoughts + tool
    details = {
        "cachedContentTokenCount": _share(chance, prompt),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": candidates}],
    }
    return block | _maybe(chance, details)


def _gemini_compat(chance: Random) -> Block:
    """No details; what was thought shows in the total alone."""
    block = _chat_sums(_size(chance), _size(chance))
    block["total_tokens"] += chance.choice((0, _size(chance)))
    return block


def _deepseek(chance: Random) -> Block:
    block = _without_writes(_chat(chance))
    hit = block.get("prompt_tokens_details", {}).get("cached_tokens") or _share(chance, block["prompt_tokens"])
    block |= {"prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": block["prompt_tokens"] - hit}
    if chance.random() < 0.7:
        block["prompt_tokens_details"] = {"cached_tokens": hit}
    else:
        block.pop("prompt_tokens_details", None)
    return block


def _xai_chat(chance: Random) -> Block:
    """Reasoning stands beside the completion, and the total counts both."""
    prompt, completion, reasoning = _size(chance), _size(chance), _share(chance, _size(chance))
    read = _share(chance, prompt)
    return {
        **_chat_sums(prompt, completion),
        "total_tokens": prompt + completion + reasoning,
        "prompt_tokens_details": {"text_tokens": prompt, "cached_tokens": read, "audio_tokens": 0, "image_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
        "num_sources_used": 0,
    }


def _mistral(chance: Random) -> Block:
    block = _chat_sums(_size(chance), _size(chance))
    read = _share(chance, block["prompt_tokens"])
    return block | chance.choice(
        [
            {},
            {"num_cached_tokens": read},
            {"prompt_tokens_details": {"cached_tokens": read}},
            {"prompt_token_details": {"cached_tokens": read}},
        ]
    )


def _groq(chance: Random) -> Block:
    times = {"queue_time": 0.0416, "prompt_time": 0.0013, "completion_time": 0.0325, "total_time": 0.0338}
    return _without_writes(_chat(chance)) | times


def _openrouter(chance: Random) -> Block:
    paid = {"upstream_inference_cost": None, "upstream_inference_prompt_cost": 0.0021}
    return _chat(chance) | {"cost": chance.randint(0, 10**6) / 10**8, "is_byok": False, "cost_details": paid}


def _moonshot(chance: Random) -> Block:
    block = _without_writes(_chat(chance))
    read = block.get("prompt_tokens_details", {}).get("cached_tokens") or _share(chance, block["prompt_tokens"])
    details = {"prompt_tokens_details": {"cached_tokens": read}}
    block.pop("prompt_tokens_details", None)
    return block | chance.choice([{}, {"cached_tokens": read}, details, {"cached_tokens": read, **details}])


def _qwen(chance: Random) -> Block:
    block = _chat(chance)
    details = block.get("prompt_tokens_details", {})
    if (written := details.pop("cache_write_tokens", None)) is not None:
        details |= {"cache_creation_input_tokens": written, "cache_type": "ephemeral"}
    return block


def _perplexity(chance: Random) -> Block:
    block = _chat_sums(_size(chance), _size(chance))
    cost = {"input_tokens_cost": 0.0, "output_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}
    return block | {"search_context_size": "low", "cost": cost} | _maybe(chance, {"num_search_queries": 2})


def _nulls(chance: Random) -> Block:
    return _chat_sums(_size(chance), _size(chance)) | {
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


def _cohere(chance: Random) -> Block:
    tokens_in, tokens_out = _size(chance), _size(chance)
    billed = {"input_tokens": chance.randint(0, tokens_in), "output_tokens": tokens_out}
    tokens = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    return {"billed_units": billed, "tokens": tokens} | _maybe(chance, {"cached_tokens": _share(chance, tokens_in)})


def _converse(chance: Random) -> Block:
    fresh, read, tokens_out = _size(chance), _share(chance, _size(chance)), _size(chance)
    short, long = _share(chance, _size(chance)), _share(chance, _size(chance))
    details = [{"ttl": "1h", "inputTokens": long}, {"ttl": "5m", "inputTokens": short}]
    block: Block = {"inputTokens": fresh, "outputTokens": tokens_out}
    if chance.random() < 0.3:
        return block | {"totalTokens": fresh + tokens_out}
    block |= {"cacheReadInputTokens": read, "cacheReadInputTokenCount": read}
    block |= {"cacheWriteInputTokens": short + long, "cacheWriteInputTokenCount": short + long}
    block |= {"totalTokens": fresh + read + short + long + tokens_out}
    return block | _maybe(chance, {"cacheDetails": details})


_BLOCKS: Mapping[str, Callable[[Random], Block]] = {
    "openai chat": _chat,
    "azure chat": _azure,
    "openai responses": _responses,
    "openai embeddings": _embeddings,
    "anthropic messages": _anthropic,
    "gemini": _gemini,
    "gemini compat": _gemini_compat,
    "deepseek": _deepseek,
    "xai chat": _xai_chat,
    "xai responses": _xai_responses,
    "mistral": _mistral,
    "groq": _groq,
    "openrouter": _openrouter,
    "moonshot": _moonshot,
    "zai": lambda chance: _without_writes(_chat(chance)),
    "qwen": _qwen,
    "perplexity": _perplexity,
    "cerebras": lambda chance: _without_writes(_chat(chance)),
    "huggingface": _nulls,
    "cohere": _cohere,
    "bedrock converse": _converse,
}


def _set(path: str, value: Callable[[Any, Random], Any]) -> Callable[[Block, Random], None]:
    """A twist of what lies at the dotted path; of nothing, where nothing lies there."""

    def twist(block: Block, chance: Random) -> None:
        *outer, last = path.split(".")
        place: Any = block
        for step in outer:
            place[step] = place.get(step) or {}
            place = place[step]
        place[last] = value(place.get(last), chance)

    return twist


def _longer_total(block: Block, chance: Random) -> None:
    """Output that shows in the total alone, with reasoning that doesn't explain it."""
    block["total_tokens"] += 1 + _size(chance)


def _reasoning_past_output(block: Block, chance: Random) -> None:
    block["completion_tokens_details"] = details = block.get("completion_tokens_details") or {}
    details["reasoning_tokens"] = block["completion_tokens"] + 1 + _size(chance)


def _cached_past_input(block: Block, chance: Random) -> None:
    block["prompt_tokens_details"] = {"cached_tokens": block["prompt_tokens"] + 1 + _size(chance)}


def _no_details(block: Block, _: Random) -> None:
    block |= {"prompt_tokens_details": None, "completion_tokens_details": None}


def _no_total(block: Block, _: Random) -> None:
    block.pop("total_tokens", None)


TWISTS: Mapping[str, Callable[[Block, Random], None]] = {
    "no details": _no_details,
    "no total": _no_total,
    "longer total": _longer_total,
    "shorter total": _set("total_tokens", lambda total, _: total // 2),
    "reasoning past output": _reasoning_past_output,
    "cached past input": _cached_past_input,
    "null output": _set("completion_tokens", lambda *_: None),
    "text": _set("prompt_tokens", lambda count, _: str(count)),
    "fraction": _set("completion_tokens", lambda count, _: count + 0.25),
    "negative": _set("completion_tokens", lambda count, _: -count),
    "null cached": _set("prompt_tokens_details.cached_tokens", lambda *_: None),
    "responses without details": lambda block, _: block.update(input_tokens_details=None, output_tokens_details=None),
    "responses reasoning past output": _set(
        "output_tokens_details.reasoning_tokens", lambda _, chance: 2**21 + _size(chance)
    ),
    "anthropic nulls": lambda block, _: block.update(
        cache_creation_input_tokens=None, cache_read_input_tokens=None, cache_creation=None, server_tool_use=None
    ),
    "anthropic null output": _set("output_tokens", lambda *_: None),
    "anthropic breakdown past its total": _set("cache_creation_input_tokens", lambda *_: 0),
    "anthropic thinking past output": _set(
        "output_tokens_details.thinking_tokens", lambda _, chance: 2**21 + _size(chance)
    ),
    "gemini without candidates": lambda block, _: block.pop("candidatesTokenCount"),
    "gemini without prompt": lambda block, _: block.pop("promptTokenCount"),
    "gemini nulls": lambda block, _: block.update(cachedContentTokenCount=None, thoughtsTokenCount=None),
    "gemini cached past input": _set("cachedContentTokenCount", lambda _, chance: 2**22 + _size(chance)),
    "bedrock nulls": lambda block, _: block.update(cacheReadInputTokens=None, cacheWriteInputTokens=None),
    "zero": lambda block, _: block.update({name: 0 for name, count in block.items() if type(count) is int}),
}

_CHAT_TWISTS = (
    *("no details", "no total", "longer total", "shorter total", "reasoning past output", "cached past input"),
    *("null output", "text", "fraction", "negative", "null cached"),
)
_TWISTS: Mapping[str, tuple[str, ...]] = {
    "openai responses": ("responses without details", "responses reasoning past output", "zero"),
    "xai responses": ("responses without details", "responses reasoning past output"),
    "openai embeddings": ("text", "zero", "no total"),
    "anthropic messages": (
        *("anthropic nulls", "anthropic null output", "anthropic breakdown past its total"),
        *("anthropic thinking past output", "zero"),
    ),
    "gemini": ("gemini without candidates", "gemini without prompt", "gemini nulls", "gemini cached past input"),
    "cohere": (),
    "bedrock converse": ("bedrock nulls",),
}
