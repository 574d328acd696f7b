"""Asking a stream for its usage on the caller's behalf, and taking the extra event out again."""

import gzip
import json
from typing import Any

import pytest

from accounting.formats.openai_chat import asking_for_usage
from accounting.outgoing import Sent, outgoing
from accounting.usage import Outcome, UsageSource
from tests.capture.answers import (
    ANTHROPIC,
    ASK,
    ASK_STREAM,
    CHAT,
    MESSAGES,
    OPENAI,
    OPENAI_UNCOUNTED,
    USAGE,
    WORD,
    events,
    openai_events,
)
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Answer, Asked, Server, chunked, head, plain, stream

ASKING = {**ASK_STREAM, "stream_options": {"include_usage": True}}
REFUSAL = b'{"error": {"message": "Unrecognized request argument supplied: stream_options"}}'


def counts_if_asked(asked: Asked) -> list[bytes]:
    """What OpenAI does."""
    wanted = (asked.json.get("stream_options") or {}).get("include_usage") is True
    return [stream(OPENAI if wanted else OPENAI_UNCOUNTED)]


def test_a_stream_is_asked_for_its_usage_and_the_caller_does_not_see_it(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.answer = counts_if_asked
    got = caller.post(server.url + CHAT, ASK_STREAM, accept_encoding="gzip, deflate")

    assert got.body == OPENAI_UNCOUNTED
    assert server.asked[0].json == ASKING
    assert server.asked[0].headers["accept-encoding"] == "identity"
    assert journaled.only().usage.source is UsageSource.PROVIDER


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_the_extra_event_is_taken_out_with_its_whole_line_end(end: str, server: Server, caller: Caller) -> None:
    body = b"".join(openai_events(end))
    server.says(head(200, "content-type: text/event-stream"), *(bytes([byte]) for byte in body))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == b"".join(openai_events(end, counted=False))


def test_a_caller_who_asks_keeps_the_event_and_the_bytes_he_sent(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.answer = counts_if_asked
    body = json.dumps(ASKING, indent=1).encode()
    got = caller.post(server.url + CHAT, body, accept_encoding="gzip")

    assert got.body == OPENAI
    assert server.asked[0].body == body
    assert server.asked[0].headers["accept-encoding"] == "gzip"
    assert journaled.only().usage.source is UsageSource.PROVIDER


def test_a_client_that_must_not_ask_does_not(server: Server, make_caller: MakeCaller, journaled: Journaled) -> None:
    server.answer = counts_if_asked
    got = make_caller().metered(ask_for_usage=False).post(server.url + CHAT, ASK_STREAM)

    assert got.body == OPENAI_UNCOUNTED
    assert server.asked[0].json == ASK_STREAM
    call = journaled.only()
    assert (call.outcome, call.usage.source) == (Outcome.FINISHED, UsageSource.MISSING)


def test_an_extra_event_that_came_unasked_is_left_in(server: Server, make_caller: MakeCaller) -> None:
    server.says(stream(OPENAI))
    assert make_caller().metered(ask_for_usage=False).post(server.url + CHAT, ASK_STREAM).body == OPENAI


@pytest.mark.parametrize(("path", "ask"), [(CHAT, ASK), (MESSAGES, ASK_STREAM)], ids=["plain", "anthropic"])
def test_what_states_its_usage_anyhow_is_not_asked(path: str, ask: Any, server: Server, caller: Caller) -> None:
    server.says(stream(ANTHROPIC))
    body = json.dumps(ask).encode()
    caller.post(server.url + path, body, accept_encoding="gzip")
    assert (server.asked[0].body, server.asked[0].headers["accept-encoding"]) == (body, "gzip")


def test_every_byte_of_the_callers_body_stays(server: Server, caller: Caller, journaled: Journaled) -> None:
    body = b' {"model":"gpt-x", "temperature": 0.30000000000000004441, "stream" : true,\n\t"x": "\\ud800 h\xc3\xa9"}\n'
    server.answer = lambda asked: [stream(OPENAI)]
    caller.post(server.url + CHAT, body)

    addition = b'"stream_options": {"include_usage": true},'
    assert server.asked[0].body == body.replace(b"{", b"{" + addition, 1)
    assert server.asked[0].headers["content-length"] == str(len(server.asked[0].body))
    assert journaled.only().bytes_in == len(body)


def test_what_is_not_asked_for_is_not_written_anew() -> None:
    picture = object()  # stands for megabytes: what could not be written as JSON was not looked at
    said = {"messages": [picture], "stream": True}
    sent = Sent("POST", "h", None, CHAT, {}, b'{"messages": ["\xff"], "stream": true}', {})
    found = outgoing(sent, said, asking_for_usage(said))
    assert found is not None
    assert found.body == b'{"stream_options": {"include_usage": true},"messages": ["\xff"], "stream": true}'


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"include_usage": False}, {"include_usage": True}),
        ({"continuous": "yes"}, {"continuous": "yes", "include_usage": True}),
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
    ],
)
def test_options_that_are_there_are_added_to(options: Any, sent: Any, server: Server, caller: Caller) -> None:
    server.says(stream(OPENAI))
    got = caller.post(server.url + CHAT, {**ASK_STREAM, "stream_options": options})
    assert got.body == OPENAI_UNCOUNTED
    assert server.asked[0].json == {**ASK_STREAM, "stream_options": sent}


@pytest.mark.parametrize(
    "ask",
    [
        b' {"n" : 0.30000000000000004441,"stream_options" : %b , "stream":true, "x": "\\ud800 h\xc3\xa9 \xff"}\n',
        b'{"a": {"stream_options": {}}, "b": "\\"stream_options\\": ", "stream_options":%b,"stream": true}',
        b'{"stream\\u005foptions": {"a": 1}, "stream_options":%b, "stream":true, "big": 1e999, "nan": NaN}',
    ],
)
def test_every_byte_around_the_options_stays(ask: bytes, server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(stream(OPENAI))
    caller.post(server.url + CHAT, ask % b'{"pace": 0.5,  "include_usage":false}')
    assert server.asked[0].body == ask % b'{"pace": 0.5, "include_usage": true}'
    assert journaled.outcomes() == [Outcome.FINISHED]


def test_an_encoded_stream_in_spite_of_identity_passes_whole_and_its_host_is_not_asked_again(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    packed = gzip.compress(OPENAI, mtime=0)
    server.says(stream(packed, "content-encoding: gzip"))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == packed
    assert caller.post(server.url + CHAT, ASK_STREAM).body == packed

    assert [asked.json for asked in server.asked] == [ASKING, ASK_STREAM]
    assert [call.usage.source for call in journaled.calls()] == [UsageSource.PROVIDER] * 2


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_that_names_stream_options_is_sent_once_more_as_the_callers_own(
    status: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.answer = refusing(plain(REFUSAL, status))
    body = json.dumps(ASK_STREAM, indent=2).encode()
    got = caller.post(server.url + CHAT, body, accept_encoding="gzip")
    assert (got.status, got.body) == (200, OPENAI_UNCOUNTED)

    refused, answered = journaled.calls()
    assert (refused.outcome, refused.http_status) == (Outcome.FAILED, status)
    assert (answered.outcome, answered.http_status) == (Outcome.FINISHED, 200)
    assert refused.link_id == answered.link_id == refused.id
    assert (server.asked[1].body, server.asked[1].headers["accept-encoding"]) == (body, "gzip")

    caller.post(server.url + CHAT, body)  # the host is remembered
    assert [asked.body for asked in server.asked[2:]] == [body]


@pytest.mark.parametrize("form", ["chunked", "gzip"])
def test_a_refusal_is_read_in_any_form(form: str, server: Server, caller: Caller) -> None:
    packed = gzip.compress(REFUSAL)
    forms = {
        "chunked": head(400, "transfer-encoding: chunked") + chunked(REFUSAL, 9),
        "gzip": plain(packed, 400, "content-encoding: gzip"),
    }
    server.answer = refusing(forms[form])
    assert caller.post(server.url + CHAT, ASK_STREAM).body == OPENAI_UNCOUNTED


def refusing(refusal: bytes) -> Answer:
    return lambda asked: [refusal if "stream_options" in asked.json else stream(OPENAI_UNCOUNTED)]


@pytest.mark.parametrize("body", [b'{"error": {"message": "context too long"}}', b"", b"<html>", b"x" * 2**21])
@pytest.mark.parametrize("status", [400, 422])
def test_another_refusal_passes_unchanged(
    status: int, body: bytes, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(body, status))
    got = caller.post(server.url + CHAT, ASK_STREAM)
    assert (got.status, got.body, got.error) == (status, body, None)
    assert journaled.outcomes() == [Outcome.FAILED]


def test_an_error_of_another_status_is_not_asked_about(server: Server, caller: Caller) -> None:
    server.says(plain(REFUSAL, 500))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == REFUSAL
    assert len(server.asked) == 1


def test_a_refusal_of_options_that_the_caller_gave_is_his(server: Server, caller: Caller) -> None:
    server.says(plain(REFUSAL, 400))
    assert caller.post(server.url + CHAT, ASKING).body == REFUSAL
    assert len(server.asked) == 1


def test_a_body_that_is_no_json_is_sent_as_it_is(server: Server, caller: Caller, journaled: Journaled) -> None:
    for body in (
        b"",
        b"{",
        b"[1]",
        b'"stream"',
        b"\xff\xfe{}",
        b'{"stream": "yes"}',
        b'{"stream":true,"stream_options":1}',
    ):
        server.says(plain(b"{}", 400))
        caller.post(server.url + CHAT, body)
        assert server.asked[-1].body == body
    assert set(journaled.outcomes()) == {Outcome.FAILED}


def test_usage_that_comes_with_the_last_words_is_left_where_it_is(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    body = b"".join(events(WORD, {**WORD, "usage": USAGE}, "[DONE]"))
    server.says(stream(body))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == body
    assert journaled.only().usage.input_tokens == 9


@pytest.mark.parametrize(
    "header",
    [
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/r/s/aws4_request, Signature=00"),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("content-digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
    ],
)
def test_a_body_that_a_header_vouches_for_is_sent_as_it_is(
    header: tuple[str, str], server: Server, caller: Caller
) -> None:
    server.answer = counts_if_asked
    caller.post(server.url + CHAT, ASK_STREAM, **{header[0].replace("-", "_"): header[1]})
    assert server.asked[0].json == ASK_STREAM
