"""OpenAI's chat completions."""

from tests.formats.catalogue import Row, sse

_USAGE = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 0},
}
_READ = {
    **{"input_tokens": 2006, "cache_read_tokens": 1920, "output_tokens": 300, "reasoning_tokens": 192},
    **{"audio_input_tokens": 0, "audio_output_tokens": 0},
}


def _chunk(**fields: object) -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-5.4", "choices": [], **fields}


ROWS = [
    Row(
        name="OpenAI chat: cached and reasoning tokens are inside",
        provider="openai",
        path="/v1/chat/completions",
        sent={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-5.4",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
            "usage": _USAGE,
        },
        usage=_READ,
        model="gpt-5.4",
    ),
    Row(
        name="OpenAI chat: a stream that was asked for its usage",
        provider="openai",
        path="/v1/chat/completions",
        sent=sse(
            _chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}], usage=None),
            _chunk(choices=[{"index": 0, "delta": {"content": "Hi"}}], usage=None),
            _chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None),
            _chunk(usage=_USAGE),
            "[DONE]",
        ),
        usage=_READ,
        model="gpt-5.4",
    ),
]
