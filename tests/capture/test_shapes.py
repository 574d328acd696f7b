"""An answer in another format than its endpoint's is read by its shape, and says so."""

import json

import pytest

from accounting.usage import Outcome
from tests.capture.answers import ANTHROPIC, ASK, ASK_STREAM, CHAT, JSON, MESSAGES, OPENAI
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, plain, stream


def test_a_whole_body_in_another_shape(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(JSON))
    assert caller.post(server.url + MESSAGES, ASK).body == JSON

    call = journaled.only()
    assert (call.outcome, call.response_model, call.finish_reason) == (Outcome.FINISHED, "gpt-x-1", "stop")
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 4)
    assert call.usage.anomalies == ("shape_of_openai_chat",)


@pytest.mark.parametrize(("path", "body", "shape"), [(MESSAGES, OPENAI, "openai_chat"), (CHAT, ANTHROPIC, "anthropic")])
def test_a_stream_in_another_shape(
    path: str, body: bytes, shape: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    body = b": hello\n\nevent: ping\ndata: {}\n\n" + body
    server.says(stream(body))
    assert caller.post(server.url + path, ASK_STREAM).body == body

    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens, call.usage.output_tokens) == (Outcome.FINISHED, 9, 4)
    assert call.first_token_at is not None
    assert call.usage.anomalies == (f"shape_of_{shape}",)


@pytest.mark.parametrize("streamed", [False, True])
def test_another_shape_is_read_in_the_provider_s_dialect(
    streamed: bool, server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    counts = {"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 20}}
    body = json.dumps({"choices": [{"finish_reason": "stop"}], "usage": counts}).encode()
    server.says(stream(b"data: " + body + b"\n\ndata: [DONE]\n\n") if streamed else plain(body))
    make_caller().metered(provider="xai").post(server.url + MESSAGES, ASK_STREAM if streamed else ASK)
    call = journaled.only()
    assert (call.usage.output_tokens, call.usage.anomalies) == (24, ("shape_of_xai_chat",))
