"""Answers in the shape of OpenAI's chat completions, and of those who mean to be compatible with it."""

import json
from importlib.resources import files
from typing import Any, NamedTuple

from accounting.simulated.answers import Answer, Asked, Known, Piece, encoded, events, finish, said, tokens, whole
from accounting.simulated.blocks import BLOCKS, Block, no_details
from accounting.simulated.ledger import FAILED, FINISHED, INTERRUPTED, Tokens
from accounting.simulated.script import Script


class _Chunk(NamedTuple):
    body: dict[str, Any]
    told: Tokens | None = None


def answer(asked: Asked, script: Script) -> Answer:
    """The answer that the script describes, whole or streamed as the request wants it."""
    if script.recorded:
        return _recorded(asked, script)
    block, used = BLOCKS[script.usage](tokens(asked, script))
    if asked.stream:
        chunks = _with_usage(_chunks(asked, used, script), block, used, asked, script)
        return _streamed(_failing(chunks, block, used, script), used, script)
    return _failed(block, used, script) if script.error else _whole(block, used, asked, script)


def _whole(block: Block | None, used: Tokens, asked: Asked, script: Script) -> Answer:
    message = {"role": "assistant", "content": "".join(said(asked, script)), "refusal": None}
    reason = finish(asked, used, "stop", "length")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    body = _head(asked, "chat.completion") | {"choices": [choice]}
    told = used if block and script.place != "never" else None
    if script.place != "never":
        body["usage"] = block
    return Answer(pieces=whole(body, Known(FINISHED, told)), charged=used)


def _recorded(asked: Asked, script: Script) -> Answer:
    """The real answer byte for byte; streamed, what it says in chunks."""
    text = files("accounting.simulated").joinpath("glm-5-response.json").read_text("utf-8")
    used = Tokens(15, 0, 0, 210, 210)  # it says 229 tokens of reasoning, in an output of 210
    if not asked.stream:
        return Answer(pieces=(Piece(text.encode(), Known(FINISHED, used)),), charged=used)
    document = json.loads(text)
    head = {name: document[name] for name in ("id", "model", "created")} | {"object": "chat.completion.chunk"}
    choice = document["choices"][0]
    told = [{name: choice["message"][name]} for name in ("role", "reasoning", "content")]
    chunks = [head | {"choices": [_choice(delta)]} for delta in told]
    chunks.append(head | {"choices": [_choice({}, choice["finish_reason"])]})
    return _streamed(_with_usage(chunks, document["usage"], used, asked, script), used, script)


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{asked.digest.hex()[:24]}",
        "object": kind,
        "created": 1770879785,
        "model": asked.model,
    }


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _chunks(asked: Asked, used: Tokens, script: Script) -> list[dict[str, Any]]:
    head = _head(asked, "chat.completion.chunk")
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in said(asked, script))]
    chunks = [head | {"choices": [_choice(delta)]} for delta in deltas]
    return [*chunks, head | {"choices": [_choice({}, finish(asked, used, "stop", "length"))]}]


def _with_usage(
    chunks: list[dict[str, Any]], block: Block | None, used: Tokens, asked: Asked, script: Script
) -> list[_Chunk]:
    """The chunks, with usage at the place where the script wants it."""
    asked_for = (asked.body.get("stream_options") or {}).get("include_usage") is True
    if script.place == "every":
        return [_so_far(chunk, number / len(chunks), block, used) for number, chunk in enumerate(chunks, 1)]
    nulled = asked_for and not script.no_null
    bodies = [chunk | {"usage": None} if nulled else chunk for chunk in chunks]
    told = used if block else None
    ready = [_Chunk(body) for body in bodies[:-1]] + [_last(bodies[-1], block, told, script)]
    return [*ready, *_extras(chunks[0], block, told, script)] if asked_for else ready


def _so_far(chunk: dict[str, Any], share: float, block: Block | None, used: Tokens) -> _Chunk:
    """The whole input at once, the output by and by."""
    if share == 1:
        return _Chunk(chunk | {"usage": block}, used)
    so_far, told = no_details(used._replace(output=int(used.output * share)))
    return _Chunk(chunk | {"usage": so_far}, told)


def _last(chunk: dict[str, Any], block: Block | None, told: Tokens | None, script: Script) -> _Chunk:
    """The chunk that has the finish reason, with usage where the provider puts it there."""
    match script.place:
        case "finish":
            return _Chunk(chunk | {"usage": block}, told)
        case "choice":
            return _Chunk(chunk | {"choices": [chunk["choices"][0] | {"usage": block}]}, told)
        case "x-groq":
            return _Chunk(chunk | {"x_groq": {"id": "req_simulated", "usage": block}}, told)
    return _Chunk(chunk)


def _extras(chunk: dict[str, Any], block: Block | None, told: Tokens | None, script: Script) -> list[_Chunk]:
    """What comes after the finish reason, to one who asked for usage."""
    bare = chunk | {"choices": []}
    usage = _Chunk(bare | {"usage": block}, told)
    match script.place:
        case "extra" | "x-groq":
            return [usage]
        case "twice":
            return [usage, usage]
        case "before-moderation":
            return [usage, _Chunk(bare | {"moderation": {"flagged": False}})]
    return []


def _failing(chunks: list[_Chunk], block: Block | None, used: Tokens, script: Script) -> list[_Chunk]:
    """Where the script wants an error: half of the chunks, then the error."""
    if not script.error:
        return chunks
    return [*chunks[: len(chunks) // 2], _error(block, used, script)]


def _error(block: Block | None, used: Tokens, script: Script) -> _Chunk:
    body: dict[str, Any] = {"error": {"message": "The upstream is overloaded.", "type": "server_error", "code": 502}}
    return _Chunk(body | {"usage": block}, used) if script.error == "usage" else _Chunk(body)


def _failed(block: Block | None, used: Tokens, script: Script) -> Answer:
    body, told = _error(block, used, script)
    return Answer(pieces=whole(body, Known(FAILED, told)), charged=told or Tokens())


def _streamed(chunks: list[_Chunk], used: Tokens, script: Script) -> Answer:
    known = Known(INTERRUPTED, None)
    parts = []
    for body, told in chunks:
        known = Known(FAILED if "error" in body else known.outcome, told or known.told)
        parts.append(("", encoded(body), known))
    if not script.no_end:
        parts.append(("", "[DONE]", known if script.error else Known(FINISHED, known.told)))
    charged = known.told or Tokens() if script.error else used
    return Answer(pieces=events(parts, script), charged=charged, content_type="text/event-stream")
