"""Answers in the shape of Anthropic's Messages."""

from typing import Any

from accounting.simulated.answers import Answer, Asked, Known, encoded, events, finish, said, tokens, whole
from accounting.simulated.ledger import FAILED, FINISHED, INTERRUPTED, Tokens
from accounting.simulated.script import Script

Part = tuple[str, str, Known]
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def answer(asked: Asked, script: Script) -> Answer:
    """The answer that the script describes, whole or streamed as the request wants it."""
    used = tokens(asked, script)
    if asked.stream:
        return _streamed(asked, used, script)
    if script.error:
        return Answer(pieces=whole(ERROR, Known(FAILED, None)), charged=Tokens())
    text = {"type": "text", "text": "".join(said(asked, script))}
    body = _message(asked, [text], finish(asked, used, "end_turn", "max_tokens"), _usage(used))
    return Answer(pieces=whole(body, Known(FINISHED, used)), charged=used)


def _message(asked: Asked, content: list[Any], reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{asked.digest.hex()[:24]}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage(used: Tokens) -> dict[str, Any]:
    """The three kinds of input add up to the whole: none is part of another."""
    return _counts(used) | {
        "cache_creation": {"ephemeral_5m_input_tokens": used.cache_write, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }


def _counts(used: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": used.input - used.cache_read - used.cache_write,
        "cache_creation_input_tokens": used.cache_write,
        "cache_read_input_tokens": used.cache_read,
        "output_tokens": used.output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
    }


def _streamed(asked: Asked, used: Tokens, script: Script) -> Answer:
    """Usage comes twice: with the start, and whole near the end, where it takes the place of the first."""
    start = used._replace(output=1, reasoning=0)
    begun = Known(INTERRUPTED, start)
    parts = [*_begin(asked, start, begun), *_text(asked, script, begun)]
    if script.error:
        parts = [*parts[: len(parts) // 2], _part(ERROR, Known(FAILED, start))]
        return Answer(pieces=events(parts, script), charged=start, content_type="text/event-stream")
    parts += _end(finish(asked, used, "end_turn", "max_tokens"), used, script)
    return Answer(pieces=events(parts, script), charged=used, content_type="text/event-stream")


def _part(body: dict[str, Any], known: Known) -> Part:
    return body["type"], encoded(body), known


def _begin(asked: Asked, start: Tokens, known: Known) -> list[Part]:
    usage = _usage(start)
    del usage["output_tokens_details"]
    block = {"type": "text", "text": ""}
    return [
        _part({"type": "message_start", "message": _message(asked, [], None, usage)}, known),
        _part({"type": "content_block_start", "index": 0, "content_block": block}, known),
        _part({"type": "ping"}, known),
    ]


def _text(asked: Asked, script: Script, known: Known) -> list[Part]:
    deltas = [{"type": "text_delta", "text": text} for text in said(asked, script)]
    parts = [_part({"type": "content_block_delta", "index": 0, "delta": delta}, known) for delta in deltas]
    return [*parts, _part({"type": "content_block_stop", "index": 0}, known)]


def _end(reason: str, used: Tokens, script: Script) -> list[Part]:
    delta = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": _counts(used)}
    parts = [_part(delta, Known(INTERRUPTED, used))]
    return parts if script.no_end else [*parts, _part({"type": "message_stop"}, Known(FINISHED, used))]
