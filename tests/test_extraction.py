"""What `extract` takes in, and what it answers to what it can't read."""

import json
import tracemalloc
from decimal import Decimal

import pytest

import accounting
from accounting import formats
from accounting.extraction import examine, extract, read
from accounting.formats import shapes
from accounting.limits import MAX_BODY, MAX_EVENT
from accounting.money import Money
from accounting.usage import Usage, UsageSource
from tests.frames import frame

CHAT = {"choices": [], "usage": {"prompt_tokens": 15, "completion_tokens": 210, "total_tokens": 225}}
STREAM = b'data: {"choices": [], "usage": {"prompt_tokens": 15, "completion_tokens": 210}}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    "body",
    [
        CHAT,
        json.dumps(CHAT),
        json.dumps(CHAT).encode(),
        bytearray(json.dumps(CHAT).encode()),
        memoryview(json.dumps(CHAT).encode()),
        "\ufeff\n \n" + json.dumps(CHAT),
        json.dumps(CHAT).encode("utf-16"),
        b"\xfe\xff" + STREAM.decode().encode("utf-16-be"),
        STREAM,
        STREAM.decode(),
        STREAM.rstrip(),
        b": a comment first\n\n" + STREAM,
        b"\xef\xbb\xbf" + STREAM,
        b"\r\n\r\n" + STREAM,
    ],
)
def test_a_body_or_a_stream_may_come_parsed_as_text_or_as_bytes(body: object) -> None:
    usage = extract(body)
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (15, 210, UsageSource.PROVIDER)


@pytest.mark.parametrize("body", [None, 7, True, object(), {1, 2}])
def test_what_can_be_no_response_is_refused(body: object) -> None:
    with pytest.raises(TypeError, match="Expected a response's JSON, text or bytes, found"):
        extract(body)


@pytest.mark.parametrize(
    ("body", "anomalies"),
    [
        (b"", ("format_unknown",)),
        (b"{", ("body_unreadable",)),
        (b"\x1f\x8b\x08\x00", ("body_unreadable",)),
        ("\ud800", ("body_unreadable",)),
        (b"<html>502</html>", ("body_unreadable",)),
        (b" null\n", ("format_unknown",)),
        (b"data: " + b"x" * (MAX_EVENT + 1) + b"\n\n", ("event_too_large",)),
        ([], ("format_unknown",)),
        (b"[" * 400 + b"]" * 400, ("format_unknown",)),
        ({"hello": "world"}, ("format_unknown",)),
        (b"data: hello\n\n", ("format_unknown",)),
    ],
)
def test_what_cannot_be_read_is_missing_and_says_why(body: object, anomalies: tuple[str, ...]) -> None:
    assert extract(body) == Usage(anomalies=anomalies)


@pytest.mark.parametrize("path", ["", "/v1/chat/completions", "/v1/messages"])
def test_a_body_past_the_limit_is_read_at_its_ends(path: str) -> None:
    large = json.dumps({"model": "m", **CHAT, "choices": ["x" * MAX_BODY]}).encode()
    tracemalloc.start()
    answer = read(large, path=path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (answer.model, answer.usage.input_tokens, answer.usage.output_tokens) == ("m", 15, 210)
    assert peak < 4 * 2**20


@pytest.mark.parametrize("path", ["", "/v1/chat/completions"])
def test_a_body_past_the_limit_whose_ends_tell_nothing_is_not_parsed(path: str) -> None:
    assert extract(json.dumps([CHAT]).encode().ljust(MAX_BODY + 1), path=path).anomalies == ("body_too_large",)


def test_the_path_tells_the_format_even_of_a_body_that_says_nothing() -> None:
    assert extract(b"", path="v1/messages") == Usage(anomalies=("usage_absent",))
    assert extract({"usage": {"input_tokens": 3, "output_tokens": 4}}, path="/v1/messages?beta=true").output_tokens == 4
    assert extract(CHAT, path="https://api.openai.com/v1/chat/completions").output_tokens == 210


def test_the_content_type_tells_a_stream_from_a_body() -> None:
    late = b"x-note\n\n" + STREAM
    assert extract(late).anomalies == ("body_unreadable",)
    assert extract(late, content_type="Text/Event-Stream; charset=utf-8").output_tokens == 210


def test_a_cost_that_was_parsed_as_a_float_is_the_one_that_was_written() -> None:
    body = json.loads('{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.00014}}')
    assert extract(body).provider_cost == Money(Decimal("0.00014"), "USD")


def test_it_is_one_of_the_public_names() -> None:
    assert accounting.extract(CHAT).output_tokens == 210


def test_how_it_was_read_can_be_asked() -> None:
    found = examine(STREAM, path="/v1/chat/completions")
    assert (found.format, found.told_by, found.is_stream) == ("openai_chat", "path", True)
    assert examine(b"").told_by == ""
    for other in (STREAM, CHAT):
        found = examine(other, path="/v1/messages")
        assert (found.format, found.told_by) == ("openai_chat", "shape")


def test_all_else_that_it_says_of_itself_is_read_too() -> None:
    answer = read({**CHAT, "id": "c1", "model": "m", "error": {"code": 500}})
    assert (answer.id, answer.model, answer.failed) == ("c1", "m", True)


def test_a_body_in_another_shape_than_its_endpoint_s_is_read_by_its_shape_and_says_so() -> None:
    usage = extract(CHAT, path="/v1/messages")
    assert (usage.input_tokens, usage.output_tokens) == (15, 210)
    assert usage.anomalies == ("shape_of_openai_chat",)


def test_a_stream_in_another_shape_than_its_endpoint_s_is_read_by_its_shape_and_says_so() -> None:
    usage = extract(b": hello\n\n" + STREAM, path="/v1/messages")
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (15, 210, UsageSource.PROVIDER)
    assert usage.anomalies == ("shape_of_openai_chat",)


BESIDE = {"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 20}}


@pytest.mark.parametrize("form", [b"%b", b"data: %b\n\ndata: [DONE]\n\n"])
def test_another_shape_is_read_in_the_provider_s_dialect(form: bytes) -> None:
    body = form % json.dumps({"choices": [{"finish_reason": "stop"}], "usage": BESIDE}).encode()
    found = {provider: extract(body, provider=provider, path="/v1/messages") for provider in ("xai", "ours")}
    assert {provider: usage.output_tokens for provider, usage in found.items()} == {"xai": 24, "ours": 4}
    assert found["xai"].anomalies == ("shape_of_xai_chat",)


@pytest.mark.parametrize("first", [b'event: ping\ndata: {"type": "ping"}\n\n', b"data: {}\n\n", b"data: hm\n\n"])
def test_the_first_event_that_tells_a_shape_does_whatever_came_before(first: bytes) -> None:
    found = examine(19 * first + STREAM, path="/v1/messages")
    assert (found.format, found.answer.usage.output_tokens) == ("openai_chat", 210)
    assert examine(20 * first + STREAM, path="/v1/messages").answer.usage.source is UsageSource.MISSING


def test_once_the_endpoint_s_own_shape_was_seen_no_other_is_looked_for() -> None:
    own = b'data: {"type": "message_start", "message": {}}\n\n'
    assert examine(own + STREAM, path="/v1/messages").answer.usage.source is UsageSource.MISSING


def test_an_answer_of_which_no_shape_tells_more_stays_as_its_format_reads_it() -> None:
    empty = {"type": "message", "usage": None}
    absent = Usage(anomalies=("usage_absent",))
    assert extract(empty, path="/v1/chat/completions") == extract(empty, path="/v1/messages") == absent


def test_every_format_has_a_shape_but_dialects_and_what_cannot_be_read() -> None:
    general = [each.name for each in formats.every() if not each.providers and each.name != "unread"]
    assert {name for name, _ in shapes._SIGNS} == {*general, "ollama"}  # no dialect, though at one provider alone


def test_a_provider_s_dialect_is_read_whatever_the_case_of_its_name() -> None:
    block = {"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 900, "total_tokens": 15}
    assert extract({"choices": [], "usage": block}, provider=" Perplexity").output_tokens == 905


def test_what_another_model_used_inside_is_a_sub_call_and_no_request_more() -> None:
    advice = {"type": "advisor_message", "model": "opus", "input_tokens": 823, "output_tokens": 1612}
    own = {"type": "message", "input_tokens": 220, "output_tokens": 8}
    body = {"type": "message", "usage": {**own, "iterations": [advice, own]}}
    answer = accounting.read(body)
    assert (answer.usage, answer.usage.requests, answer.usage.output_tokens) == (accounting.extract(body), 1, 8)
    assert [(sub.model, sub.usage.output_tokens, sub.usage.requests) for sub in answer.sub_calls] == [
        ("opus", 1612, None)
    ]


CLAUDE = {"type": "message", "usage": {"input_tokens": 3, "output_tokens": 4}}


@pytest.mark.parametrize(
    ("body", "anomaly"),
    [
        ({"usage": None, "choices": []}, "usage_absent"),
        (b'data: {"choices": []}\n\n', "usage_absent"),
        ({"error": {"message": "overloaded"}, "choices": []}, "usage_absent"),
        ({"object": "response", "status": "queued", "usage": None}, "usage_absent"),
        (frame("messageStart", {}) + frame("contentBlockDelta", {"contentBlockIndex": 0}), "usage_absent"),
        ([{"candidates": []}], "usage_absent"),
        ([CLAUDE], "list_unread"),
        ([{"choices": [], "usage": None}, CHAT], "list_unread"),
    ],
)
def test_where_usage_is_missing_something_says_why(body: object, anomaly: str) -> None:
    assert extract(body) == Usage(anomalies=(anomaly,))


@pytest.mark.parametrize("body", [b"[]", b'[{"choices": []}]', b"null", b"{}"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/models/g:generateContent"])
def test_so_it_does_where_the_path_tells_the_format(body: bytes, path: str) -> None:
    assert len(extract(body, path=path).anomalies) == 1
