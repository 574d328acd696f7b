"""What a provider says, as bytes."""

import json

CHAT = "/v1/chat/completions"
MESSAGES = "/anthropic/v1/messages"

ASK = {"model": "gpt-x", "messages": [{"role": "user", "content": "hello"}]}
ASK_STREAM = {**ASK, "stream": True}

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
JSON = json.dumps({"id": "c-1", "model": "gpt-x-1", "choices": [{"finish_reason": "stop"}], "usage": USAGE}).encode()


def events(*data: object, end: str = "\n") -> list[bytes]:
    """Each as an event; text stands for itself."""
    texts = [item if isinstance(item, str) else json.dumps(item, separators=(",", ":")) for item in data]
    return [f"data: {text}{end}{end}".encode() for text in texts]


WORD = {"id": "c-1", "model": "gpt-x-1", "choices": [{"delta": {"content": "hé"}, "finish_reason": None}]}
STOP = {"id": "c-1", "choices": [{"delta": {}, "finish_reason": "stop"}]}
COUNT = {"id": "c-1", "choices": [], "usage": USAGE}


def openai_events(end: str = "\n", *, counted: bool = True) -> list[bytes]:
    """A whole answer, event by event; `counted`: with the extra one that states the usage, last but one."""
    return events(WORD, STOP, *([COUNT] if counted else []), "[DONE]", end=end)


OPENAI = b"".join(openai_events())
OPENAI_UNCOUNTED = b"".join(openai_events(counted=False))


def _named(*data: dict[str, object]) -> bytes:
    return b"".join(f"event: {item['type']}\ndata: {json.dumps(item)}\n\n".encode() for item in data)


ANTHROPIC = _named(
    {"type": "message_start", "message": {"id": "m-1", "model": "claude-x", "usage": {"input_tokens": 9}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hé"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
)
