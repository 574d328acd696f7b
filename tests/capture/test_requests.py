"""Requests of every kind, and what is written down of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from accounting import attribute
from accounting.usage import Outcome, UsageSource
from tests.capture.answers import ASK, ASK_STREAM, CHAT, JSON, MESSAGES, OPENAI, OPENAI_UNCOUNTED
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, plain, stream


def in_pieces(caller: Caller, body: bytes) -> Any:
    """The body as a generator of the caller's colour: it can be read once."""

    def pieces() -> Iterator[bytes]:
        yield body[:5]
        yield body[5:]

    async def async_pieces() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    return async_pieces() if caller.is_async else pieces()


def test_a_body_that_is_not_in_memory_is_sent_as_it_comes_and_not_asked(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(OPENAI))
    body = b'{"model": "gpt-x", "stream": true}'
    request = caller.client.build_request("POST", server.url + CHAT, content=in_pieces(caller, body))
    assert caller.receive(request).body == OPENAI

    assert server.asked[0].body == body
    assert server.asked[0].headers["transfer-encoding"] == "chunked"
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens) == (Outcome.FINISHED, 9)
    assert (call.request_model, call.response_model) == (None, "gpt-x-1")


def test_the_rough_script_of_the_text_is_written_down(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(stream(OPENAI))
    body = '{"model": "gpt-x", "stream": true, "messages": [{"role": "user", "content": "请概括客户关于送货的来信"}]}'
    caller.receive(caller.client.build_request("POST", server.url + CHAT, content=body.encode()))
    assert journaled.only().script == "cjk"


def test_a_body_that_was_read_into_memory_is_asked_and_framed_once(server: Server, caller: Caller) -> None:
    server.says(stream(OPENAI))
    request = caller.client.build_request("POST", server.url + CHAT, content=in_pieces(caller, b'{"stream": true}'))

    async def read() -> None:
        _ = await request.aread() if caller.is_async else request.read()

    caller.run(read())
    assert caller.receive(request).body == OPENAI_UNCOUNTED
    headers = server.asked[0].headers
    assert ("transfer-encoding" in headers) != ("content-length" in headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/chat/completions/c-1"),
        ("POST", "/anthropic/v1/messages/count_tokens"),
        ("POST", "/v1/threads/t-1/messages"),
        ("POST", "/v1/moderations"),
        ("DELETE", "/v1/chat/completions"),
    ],
)
def test_what_buys_nothing_is_not_written_down(
    method: str, path: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(b"{}"))
    assert caller.receive(caller.request(server.url + path, b"{}", method)).body == b"{}"
    assert journaled.calls() == []


def test_what_another_api_is_sent_at_a_path_of_that_name_is_no_call(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    server.says(plain(b'{"id": "1"}'), plain(b'{"id": "2"}'))
    for provider in (None, "ours"):
        make_caller().metered(provider=provider).post(f"{server.url}/api/channels/1/messages", {"content": "hi"})
    assert journaled.only().provider == "ours"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/embeddings"])
def test_a_gateway_of_one_s_own_is_metered(path: str, server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(b"{}"))
    caller.post(server.url + path, {"model": "m"})
    assert journaled.only().request_model == "m"


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/videos", "/v1/fine_tuning/jobs"])
def test_an_endpoint_that_we_cannot_read_yet_is_written_down_with_its_usage_missing(
    path: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(b'{"id": "r-1", "usage": {"input_tokens": 9}}'))
    caller.post(server.url + path, {"model": "gpt-x", "stream": False})
    call = journaled.only()
    assert (call.outcome, call.usage.source) == (Outcome.FINISHED, UsageSource.MISSING)
    assert call.usage.anomalies == ("format_unread",)
    assert call.usage.block == '{"input_tokens":9}'
    assert call.request_model == "gpt-x"


@pytest.mark.parametrize("body", [b"", b"\x89PNG{", b'[{"model": "m"}]', b"\xef\xbb\xbf file"])
def test_a_file_that_is_sent_as_it_is_is_not_read_as_text(
    body: bytes, server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_it(_: bytes) -> None:
        raise AssertionError("eight megabytes of it would have taken a fifth of a second")

    monkeypatch.setattr("accounting.capture.loads", read_it)
    server.says(plain(b"{}"))
    caller.receive(caller.request(server.url + "/v1/batches", body))
    assert server.asked[0].body == body
    assert journaled.outcomes() == [Outcome.FINISHED]


@pytest.mark.parametrize("before", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_object_is_read_whatever_stands_before_it(
    before: bytes, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(b"{}"))
    caller.receive(caller.request(server.url + "/v1/batches", before + b'{"model": "gpt-x"}'))
    assert journaled.only().request_model == "gpt-x"


def test_a_query_changes_nothing(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(JSON))
    caller.post(server.url + MESSAGES + "?beta=true", ASK)
    assert journaled.only().endpoint == "messages"


def test_a_call_is_written_down_with_who_and_what(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    caller = make_caller().metered(project="checkout", tags={"team": "a", "step": "1"}, provider="wcode")
    ask = {**ASK, "reasoning_effort": "high", "max_tokens": 64}
    caller.post(server.url + CHAT, ask, authorization="Bearer sk-0123456789abcdef")

    async def attributed() -> None:
        with attribute(project="search", user="u-1", tags={"step": "2"}):
            await caller.leave(
                await caller.send(caller.request(server.url + CHAT, ask, headers={"x-api-key": "short"}))
            )

    caller.run(attributed())

    first, second = journaled.calls()
    assert (first.provider, first.endpoint, first.request_model) == ("wcode", "chat/completions", "gpt-x")
    assert (first.project, first.project_source, first.user) == ("checkout", "meter", None)
    assert (first.tags, first.effort, first.max_tokens) == ({"team": "a", "step": "1"}, "high", 64)
    assert (first.key_last4, len(first.key_fingerprint)) == ("cdef", 64)
    assert (first.attempt, first.link_id) == (1, first.id)
    assert (second.project, second.project_source, second.user) == ("search", "attribute", "u-1")
    assert (second.tags, second.key_last4) == ({"team": "a", "step": "2"}, "")
    assert second.key_fingerprint not in ("", first.key_fingerprint)


def test_a_host_nobody_lists_is_its_own_provider(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    assert journaled.only().provider == server.url.removeprefix("http://")


def test_two_calls_with_one_request_object_are_two_calls(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(stream(OPENAI))
    request = caller.request(server.url + CHAT, ASK_STREAM)
    assert [caller.receive(request).body for _ in range(2)] == [OPENAI_UNCOUNTED] * 2
    assert journaled.outcomes() == [Outcome.FINISHED] * 2
    assert len({call.id for call in journaled.calls()}) == 2


def test_requests_signed_with_one_access_key_are_of_one_key(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    for signature in ("0a", "1b"):
        signed = f"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261123/r/s/aws4_request, Signature={signature}"
        caller.post(server.url + CHAT, ASK, authorization=signed)
    first, second = journaled.calls()
    assert first.key_fingerprint == second.key_fingerprint
    assert first.key_last4 == "MPLE"


def test_at_a_listed_host_what_nobody_knows_is_written_down(
    server: Server, make_caller: MakeCaller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosts = tmp_path / "mine.toml"
    hosts.write_text(f'[[provider]]\nname = "mine"\nhosts = ["{server.url.removeprefix("http://")}"]\n')
    server.says(plain(b'{"id": "x-1", "model": "sing-1"}'))
    make_caller().metered().post(server.url + "/v1/songs", {"model": "sing"})
    monkeypatch.setenv("ACCOUNTING_PROVIDERS", str(hosts))
    caller = make_caller().metered(provider="other")
    for path in ("/v1/songs", "/v1/tokenize", "/v1/files"):
        caller.post(server.url + path, {"model": "sing"})
    caller.receive(caller.request(server.url + "/v1/files", method="GET"))
    song, file = journaled.calls()
    assert (song.endpoint, song.provider, song.request_model) == ("v1/songs", "other", "sing")
    assert (song.usage.source, song.usage.anomalies) == (UsageSource.MISSING, ("format_unread",))
    assert file.endpoint == "files"
