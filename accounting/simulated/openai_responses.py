"""OpenAI's Responses: whole, streamed, and in the background, where they are polled."""

from collections.abc import Mapping
from typing import Any

from accounting.simulated.answers import Answer, Asked, Known, encoded, events, said, tokens, whole
from accounting.simulated.ledger import FINISHED, INTERRUPTED, Tokens
from accounting.simulated.script import Script

UNDER_WAY = Known(INTERRUPTED, None)


def answer(asked: Asked, script: Script) -> Answer:
    """What the create is answered with. A response in the background is queued, unless it is streamed."""
    used = tokens(asked, script)
    if asked.stream:
        return streamed(asked, script)
    if asked.body.get("background") is True:
        return Answer(pieces=whole(_body(asked, "queued", None), UNDER_WAY), charged=used)
    return finished(asked, script)


def under_way(asked: Asked) -> Answer:
    """What the first poll finds."""
    return Answer(pieces=whole(_body(asked, "in_progress", None), UNDER_WAY), charged=None)


def finished(asked: Asked, script: Script) -> Answer:
    """What the create is answered with at once, or a later poll."""
    used = tokens(asked, script)
    return Answer(pieces=whole(_body(asked, "completed", used, script), Known(FINISHED, used)), charged=used)


def streamed(asked: Asked, script: Script, after: int = -1) -> Answer:
    """All events, or those after a number, as when a stream is taken up again."""
    used = tokens(asked, script)
    told = [
        *(("response.created", {"response": _body(asked, "in_progress", None)}),),
        *(("response.output_text.delta", _delta(text)) for text in said(asked, script)),
        *(("response.completed", {"response": _body(asked, "completed", used, script)}),),
    ]
    parts = [
        (kind, encoded({"type": kind, "sequence_number": number, **event}), UNDER_WAY)
        for number, (kind, event) in enumerate(told)
    ]
    kind, data, _ = parts.pop()
    sent = [*parts, *([] if script.no_end else [(kind, data, Known(FINISHED, used))])]
    return Answer(pieces=events(sent[after + 1 :], script), charged=used, content_type="text/event-stream")


def id_of(asked: Asked) -> str:
    return f"resp_{asked.digest.hex()[:24]}"


def _delta(text: str) -> dict[str, Any]:
    return {"item_id": "msg_simulated", "output_index": 0, "content_index": 0, "delta": text, "logprobs": []}


def _body(asked: Asked, status: str, used: Tokens | None, script: Script | None = None) -> dict[str, Any]:
    text = "" if script is None else "".join(said(asked, script))
    return {
        "id": id_of(asked),
        "object": "response",
        "created_at": 1795420000,
        "status": status,
        "background": asked.body.get("background") is True,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": asked.model,
        "output": [_message(text)] if text else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None if used is None else _usage(used),
    }


def _message(said: str) -> dict[str, Any]:
    text = {"type": "output_text", "text": said, "annotations": []}
    return {"id": "msg_simulated", "type": "message", "role": "assistant", "status": "completed", "content": [text]}


def _usage(used: Tokens) -> Mapping[str, Any]:
    return {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cache_read, "cache_write_tokens": used.cache_write},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output,
    }
