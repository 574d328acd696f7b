"""What may be metered, what of a client stays as it was, and who records when transports are nested."""

import json
from typing import Any

import httpx
import pytest

import accounting
from accounting import AlreadyMetered, ConfigurationError, UnsupportedClient
from accounting.usage import Outcome
from tests.capture.answers import ASK, ASK_STREAM, CHAT, JSON, OPENAI, OPENAI_UNCOUNTED
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, plain, stream


def transport(caller: Caller, **arguments: Any) -> Any:
    """A transport of the caller's own library and colour."""
    kind = caller.library.AsyncHTTPTransport if caller.is_async else caller.library.HTTPTransport
    return kind(verify=False, limits=caller.library.Limits(max_keepalive_connections=0), **arguments)


def metered_transport(caller: Caller, inner: Any, **metering: Any) -> Any:
    around = accounting.AsyncMeteredTransport if caller.is_async else accounting.MeteredTransport
    return around(inner, **metering)


def mock(caller: Caller, answer: Any) -> Any:
    """A transport that answers without a server."""

    async def answer_later(request: Any) -> Any:
        return answer(request)

    return caller.library.MockTransport(answer_later if caller.is_async else answer)


def test_metering_again_in_the_same_way_changes_nothing(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(JSON))
    there = caller.client._transport
    assert accounting.meter(caller.client, project="checkout") is caller.client
    assert caller.client._transport is there
    caller.post(server.url + CHAT, ASK)
    assert len(journaled.calls()) == 1


@pytest.mark.parametrize(
    "other",
    [{"project": "search"}, {"project": "checkout", "tags": {"a": "b"}}, {"project": "checkout", "provider": "x"}],
)
def test_metering_again_in_another_way_is_refused(other: Any, caller: Caller) -> None:
    with pytest.raises(AlreadyMetered, match="attribute"):
        accounting.meter(caller.client, **other)


def test_of_nested_transports_the_outermost_records(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    bare = make_caller()
    inner = metered_transport(bare, transport(bare), project="inner")
    outer = make_caller(transport=metered_transport(bare, inner, project="outer"))
    server.says(stream(OPENAI))
    assert [outer.post(server.url + CHAT, ASK_STREAM).body for _ in range(2)] == [OPENAI_UNCOUNTED] * 2
    assert [call.project for call in journaled.calls()] == ["outer", "outer"]


def test_a_client_of_which_one_mount_is_metered_is_metered_whole(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    bare = make_caller()
    there = metered_transport(bare, transport(bare), project="checkout")
    caller = make_caller(mounts={"http://mounted.example": there, "http://direct.example": None})
    caller.metered(project="checkout")
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK)
    assert len(journaled.calls()) == 1
    assert there in caller.client._mounts.values()
    with pytest.raises(AlreadyMetered):
        make_caller(mounts={"all://": there}).metered(project="search")


def test_a_proxy_stays_and_its_calls_are_metered(server: Server, make_caller: MakeCaller, journaled: Journaled) -> None:
    caller = make_caller(proxy=server.url).metered()
    server.says(plain(JSON))
    assert caller.post("http://provider.example" + CHAT, ASK).body == JSON
    assert server.asked[0].path == "http://provider.example" + CHAT
    assert journaled.only().provider == "provider.example"


def test_a_mount_stays_and_its_calls_are_metered(server: Server, make_caller: MakeCaller, journaled: Journaled) -> None:
    bare = make_caller()
    caller = make_caller(mounts={"http://mounted.example": transport(bare, proxy=server.url)}).metered()
    server.says(plain(JSON))
    caller.post("http://mounted.example" + CHAT, ASK)
    caller.post(server.url + CHAT, ASK)
    assert [call.outcome for call in journaled.calls()] == [Outcome.FINISHED] * 2
    assert [asked.path for asked in server.asked] == ["http://mounted.example" + CHAT, CHAT]


def test_timeouts_limits_and_redirects_stay(make_caller: MakeCaller) -> None:
    caller = make_caller(timeout=1.5, follow_redirects=True)
    before = (caller.client.timeout, caller.client.follow_redirects, caller.client._transport)
    caller.metered()
    after = (caller.client.timeout, caller.client.follow_redirects, caller.client._transport.inner)
    assert after == before
    assert caller.client._transport._pool is before[2]._pool


def test_closing_the_client_closes_what_is_inside(make_caller: MakeCaller) -> None:
    bare = make_caller()
    closed: list[str] = []
    inner = mock(bare, lambda request: None)

    async def aclose() -> None:
        closed.append("inner")

    inner.aclose = aclose
    inner.close = lambda: closed.append("inner")
    caller = make_caller(transport=inner).metered()
    bare.run(caller.client.aclose()) if caller.is_async else caller.client.close()
    assert closed == ["inner"]


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "plain"])
def test_an_answer_made_in_memory_is_metered(streamed: bool, make_caller: MakeCaller, journaled: Journaled) -> None:
    kind, content = ("text/event-stream", OPENAI) if streamed else ("application/json", JSON)
    bare = make_caller()

    def answer(request: Any) -> Any:
        return bare.library.Response(200, content=content, headers={"content-type": kind})

    caller = make_caller(transport=mock(bare, answer)).metered()

    async def read() -> bytes:
        response = await caller.send(caller.request("http://x" + CHAT, ASK_STREAM if streamed else ASK))
        body: bytes = response.content
        return body

    assert caller.run(read()) == (OPENAI_UNCOUNTED if streamed else JSON)  # we asked for what is taken out
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens, call.bytes_out) == (Outcome.FINISHED, 9, len(content))


def test_what_a_mock_raises_is_raised(make_caller: MakeCaller, journaled: Journaled) -> None:
    bare = make_caller()

    def answer(request: Any) -> Any:
        raise bare.library.ReadError("gone", request=request)

    caller = make_caller(transport=mock(bare, answer)).metered()
    assert caller.post("http://x" + CHAT, ASK).error == "ReadError"
    assert journaled.outcomes() == [Outcome.UNKNOWN]


def test_a_transport_of_the_other_colour_is_refused(caller: Caller) -> None:
    wrong = accounting.MeteredTransport if caller.is_async else accounting.AsyncMeteredTransport
    with pytest.raises(UnsupportedClient, match="MeteredTransport"):
        wrong(transport(caller))


@pytest.mark.parametrize("thing", [object(), "https://api.openai.com", None, httpx])
def test_what_is_no_client_is_refused(thing: object) -> None:
    with pytest.raises(UnsupportedClient, match="httpx"):
        accounting.meter(thing)


def test_an_empty_project_is_refused_and_the_client_left_alone(make_caller: MakeCaller) -> None:
    caller = make_caller()
    there = caller.client._transport
    with pytest.raises(ConfigurationError, match="project"):
        caller.metered(project=" ")
    assert caller.client._transport is there


def test_accountings_own_clients_are_metered_from_the_start(server: Server, journaled: Journaled) -> None:
    server.says(plain(JSON))
    with accounting.Client(project="checkout", trust_env=False) as client:
        assert client.post(server.url + CHAT, json=ASK).json()["id"] == "c-1"
    call = journaled.only()
    assert (call.project, call.outcome) == ("checkout", Outcome.FINISHED)


def test_accountings_own_async_clients_are_metered_from_the_start(server: Server, journaled: Journaled) -> None:
    import asyncio

    server.says(plain(JSON))

    async def ask() -> None:
        async with accounting.AsyncClient(project="checkout", trust_env=False) as client:
            assert (await client.post(server.url + CHAT, json=ASK)).json()["id"] == "c-1"

    asyncio.run(ask())
    assert journaled.only().outcome is Outcome.FINISHED


def test_a_refusal_made_in_memory_is_heeded_too(make_caller: MakeCaller, journaled: Journaled) -> None:
    bare = make_caller()

    def answer(request: Any) -> Any:
        if "stream_options" in json.loads(request.content):
            return bare.library.Response(400, json={"error": "stream_options?"})
        return bare.library.Response(200, content=OPENAI_UNCOUNTED, headers={"content-type": "text/event-stream"})

    caller = make_caller(transport=mock(bare, answer)).metered()

    async def read() -> bytes:
        body: bytes = (await caller.send(caller.request("http://x" + CHAT, ASK_STREAM))).content
        return body

    assert caller.run(read()) == OPENAI_UNCOUNTED
    assert journaled.outcomes() == [Outcome.FAILED, Outcome.FINISHED]


def test_a_client_that_drives_an_application_leaves_the_application_s_calls_to_be_metered(
    server: Server, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    with accounting.Client(project="inner") as inner:

        def application(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json=inner.post(server.url + CHAT, json=ASK).json())

        with accounting.Client(transport=httpx.MockTransport(application), project="outer") as outer:
            outer.post("http://app.test/summaries", json={})
    assert journaled.only().project == "inner"
