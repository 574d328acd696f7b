"""Anthropic's Messages."""

from tests.formats.catalogue import Row, named

_START: dict[str, object] = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 1000,
    "output_tokens": 1,
}

ROWS = [
    Row(
        name="Anthropic Messages: the three kinds of input are added",
        provider="anthropic",
        path="/v1/messages",
        sent={
            "id": "msg_1",
            "type": "message",
            "model": "claude-opus-5",
            "content": [{"type": "text", "text": "Hi"}],
            "stop_reason": "end_turn",
            "usage": _START | {"output_tokens": 7},
        },
        usage={"input_tokens": 1120, "cache_read_tokens": 1000, "cache_write_tokens": 20, "output_tokens": 7},
        model="claude-opus-5",
    ),
    Row(
        name="Anthropic Messages: a stream's last counts overwrite",
        provider="anthropic",
        path="/v1/messages",
        sent=named(
            {"type": "message_start", "message": {"id": "msg_1", "model": "claude-opus-5", "usage": _START}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ),
        usage={"input_tokens": 1120, "cache_read_tokens": 1000, "cache_write_tokens": 20, "output_tokens": 7},
        model="claude-opus-5",
    ),
]
