"""Clients of SDKs, each of which keeps its HTTP clients at another place."""

import asyncio
import logging
from typing import Any

import httpx
import httpx2
import pytest

import accounting
from accounting import AlreadyMetered, UnsupportedClient
from accounting.insides import MOST_LOOKED_AT
from accounting.transports import Metered
from tests.capture.answers import ASK, CHAT, JSON
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, plain


class Held:
    """An object with these attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Asking(Held):
    def _use_aiohttp(self) -> bool:
        return bool(self.__dict__["answer"])


def is_metered(http: Any) -> bool:
    return isinstance(http._transport, Metered)


def test_every_http_client_inside_is_metered(server: Server, journaled: Journaled) -> None:
    server.says(plain(JSON))
    one, other, third = httpx.Client(), httpx2.AsyncClient(), httpx.Client()
    sdk = Held(settings=Held(client=one, async_client=other), wrapper=Held(http=Held(client=third)), key="sk")
    sdk.settings.parent = sdk  # SDKs point back
    assert accounting.meter(sdk, project="checkout") is sdk
    assert all(map(is_metered, (one, other, third)))
    third.post(server.url + CHAT, json=ASK)
    assert journaled.only().project == "checkout"


def test_none_is_metered_where_one_is_so_already_in_another_way() -> None:
    one, other = httpx.Client(), accounting.meter(httpx.Client(), project="search")
    with pytest.raises(AlreadyMetered):
        accounting.meter(Held(one=one, other=other), project="checkout")
    assert not is_metered(one)


def test_one_that_lies_too_deep_or_is_none_is_not_found() -> None:
    deep = Held(a=Held(b=Held(c=Held(d=Held(e=httpx.Client())))))
    wide = Held(**{f"a{number}": Held() for number in range(MOST_LOOKED_AT)}, last=Held(client=httpx.Client()))
    for nothing in (deep, wide, Held(clients=[httpx.Client()]), Held(transport=httpx.HTTPTransport())):
        with pytest.raises(UnsupportedClient, match="httpx"):
            accounting.meter(nothing)


class OfEachLoop(httpx.AsyncClient):
    """As google-genai's: it sends through a client that is made for each event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[httpx.AsyncClient] = []

    def _client_for_running_loop(self) -> httpx.AsyncClient:
        self.made = self.made or [httpx.AsyncClient()]
        return self.made[0]

    async def send(self, request: httpx.Request, **arguments: Any) -> httpx.Response:
        return await self._client_for_running_loop().send(request, **arguments)


def test_a_client_made_for_each_event_loop_is_metered_when_it_is_made(server: Server, journaled: Journaled) -> None:
    server.says(plain(JSON))
    client = OfEachLoop()
    for _ in range(2):
        accounting.meter(Held(api=Held(client=client)), project="checkout")

    async def call() -> None:
        for _ in range(2):
            await client.post(server.url + CHAT, json=ASK)
        await client.made[0].aclose()

    asyncio.run(call())
    assert [call.project for call in journaled.calls()] == ["checkout"] * 2


def test_looking_inside_asks_no_property() -> None:
    class Lazy(Held):
        @property
        def expensive(self) -> None:
            raise AssertionError

    accounting.meter(Lazy(client=httpx.Client()))


@pytest.mark.parametrize(("answer", "told"), [(True, True), (False, False)])
def test_calls_that_go_another_way_are_told_of(answer: bool, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "accounting"):
        accounting.meter(Held(api=Asking(answer=answer, client=httpx.Client())))
    assert ("aiohttp" in caplog.text) == told


def test_a_question_that_another_version_cannot_answer_stops_nothing() -> None:
    http = httpx.Client()
    accounting.meter(Held(api=Asking(client=http)))
    assert is_metered(http)
