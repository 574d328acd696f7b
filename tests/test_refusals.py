"""A refusal as callers meet it, and as it is read back from what they catch."""

import asyncio
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accounting
from accounting.decisions import Refusal, Why
from accounting.errors import BudgetExceeded
from accounting.formats import every
from accounting.refusals import Answer, answer, budget_exceeded, exceeded, response
from tests.sdks.refused_driver import REFUSAL, STATE

AWAY = Refusal(why=Why.AWAY, budget="checkout", scope="project checkout", message="It can't be asked — 不行 \ud800.")
FORMATS = [*(each.name for each in every()), "", "one that nobody knows"]
AMOUNT = st.none() | st.decimals(-(10**18), 10**18, places=12)

amounts = st.builds(
    lambda spent, asked, ends_at: replace(
        REFUSAL, asked=asked, state=replace(STATE, spent=spent or Decimal(0), ends_at=ends_at)
    ),
    AMOUNT,
    AMOUNT,
    st.none() | st.datetimes(timezones=st.just(UTC)),
)


def _told(error: BudgetExceeded | None) -> dict[str, Any]:
    assert error is not None
    return {"message": str(error), **vars(error)}


@pytest.mark.parametrize("format_name", FORMATS)
@given(refusal=amounts)
def test_what_is_said_is_read_back_to_the_last_digit(format_name: str, refusal: Refusal) -> None:
    made = answer(refusal, format_name)
    read = budget_exceeded(httpx.Response(made.status, headers=made.headers, content=made.body))
    assert _told(read) == _told(exceeded(refusal))


@pytest.mark.parametrize("format_name", FORMATS)
def test_nobody_sends_it_again(format_name: str) -> None:
    made = answer(REFUSAL, format_name)
    assert made.status == 402
    assert made.headers["x-should-retry"] == "false"
    assert made.headers["content-type"] == "application/json"
    assert made.headers["content-length"] == str(len(made.body))


def _error(made: Answer) -> Any:
    return json.loads(made.body)["error"]


def test_each_provider_says_it_in_its_own_shape() -> None:
    openai, anthropic, google = (_error(answer(REFUSAL, name)) for name in ("openai_chat", "anthropic", "gemini"))
    assert {openai["message"], anthropic["message"], google["message"]} == {REFUSAL.message}
    assert (openai["type"], openai["code"], openai["param"]) == ("budget_exceeded", "budget_exceeded", None)
    assert anthropic["type"] == "billing_error"
    assert (google["code"], google["status"]) == (402, "FAILED_PRECONDITION")
    assert json.loads(answer(REFUSAL, "anthropic").body)["type"] == "error"
    assert json.loads(answer(REFUSAL, "cohere").body)["message"] == REFUSAL.message
    assert _error(answer(REFUSAL, "ollama")) == REFUSAL.message
    assert answer(REFUSAL, "bedrock").headers["x-amzn-errortype"] == "ServiceQuotaExceededException"


def test_what_a_store_that_is_away_cannot_tell_is_none() -> None:
    read = budget_exceeded(SimpleNamespace(body=answer(AWAY, "anthropic").body))
    assert read is not None
    assert (read.why, read.limit, read.spent, read.currency, read.ends_at) == ("away", None, None, None, None)


def test_an_error_in_another_process_is_the_same() -> None:
    assert _told(pickle.loads(pickle.dumps(exceeded(REFUSAL)))) == _told(exceeded(REFUSAL))


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
class TestResponse:
    @staticmethod
    def _transport(library: ModuleType) -> Any:
        return library.MockTransport(lambda request: response(library, request, REFUSAL, "openai_chat"))

    def test_a_client_reads_it(self, library: Any) -> None:
        with library.Client(transport=self._transport(library)) as client:
            got = client.post("https://api.openai.com/v1/chat/completions", json={})
        with pytest.raises(library.HTTPStatusError) as raised:
            got.raise_for_status()
        assert got.json()["error"]["code"] == "budget_exceeded"
        assert _told(accounting.budget_exceeded(raised.value)) == _told(exceeded(REFUSAL))

    def test_a_stream_that_nobody_read_tells_it_too(self, library: Any) -> None:
        url = "https://api.openai.com/v1/chat/completions"
        with library.Client(transport=self._transport(library)) as client, client.stream("POST", url) as got:
            assert not got.is_stream_consumed
            assert budget_exceeded(got)
            assert b"".join(got.iter_raw()) == answer(REFUSAL, "openai_chat").body

    async def _read(self, library: Any) -> bytes:
        client = library.AsyncClient(transport=self._transport(library))
        async with client, client.stream("POST", "https://api.openai.com/v1/chat/completions") as got:
            return b"".join([piece async for piece in got.aiter_raw()])

    def test_an_asynchronous_client_reads_it(self, library: Any) -> None:
        assert asyncio.run(self._read(library)) == answer(REFUSAL, "openai_chat").body


class _Hostile(Exception):
    status_code = 402

    @property
    def body(self) -> Any:
        return {"error": {"message": "x", "budget": {"why": "over", "name": [], "limit": "1e999999"}}}

    @property
    def response(self) -> Any:
        raise RuntimeError("no response here")

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        return self


def _provider_s_own() -> httpx.Response:
    return httpx.Response(402, json={"error": {"message": "Insufficient credits", "code": 402}})


@pytest.mark.parametrize(
    "error",
    [
        None,
        "text",
        ValueError("x"),
        _Hostile(),
        SimpleNamespace(body=b"[" * 100_000, response=3, details="{"),
        SimpleNamespace(body={"error": {"budget": {"why": "over"}, "message": "x"}}),
        SimpleNamespace(body={"error": {"budget": 30, "message": "x"}}),
        SimpleNamespace(body={"budget": {"why": "over"}, "error": None}),
        _provider_s_own(),
        httpx.Response(200, content=answer(REFUSAL).body),
        httpx.Response(402, stream=httpx.ByteStream(b"never read")),
    ],
)
def test_nothing_else_is_a_refusal(error: object) -> None:
    assert budget_exceeded(error) is None


@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.just("over") | st.just("2026-01-01"),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "budget", "why", "name"]), inner)
        ),
    )
)
def test_reading_never_raises(body: object) -> None:
    assert budget_exceeded(SimpleNamespace(body=body, details=body)) is None


def _caused_by(error: BaseException) -> BaseException:
    try:
        try:
            raise error
        except BaseException as caught:
            raise RuntimeError("wrapped") from caught
    except RuntimeError as wrapped:
        return wrapped


def _while_handling(error: BaseException) -> BaseException:
    try:
        try:
            raise error
        except BaseException:
            raise RuntimeError("another fault")  # noqa: B904 - what is asked about
    except RuntimeError as other:
        return other


def _hiding(error: BaseException, status: int) -> BaseException:
    class ResponseError(Exception):
        status_code = status

    try:
        try:
            raise error
        except BaseException:
            raise ResponseError("as Ollama's library does") from None
    except ResponseError as hiding:
        return hiding


@pytest.mark.parametrize(
    ("made", "is_one"),
    [
        (_caused_by, True),
        (_while_handling, False),
        (lambda error: _hiding(error, 402), True),
        (lambda error: _hiding(error, 500), False),
    ],
)
def test_of_another_error_only_the_cause_tells(made: Callable[[BaseException], BaseException], is_one: bool) -> None:
    assert (budget_exceeded(made(exceeded(REFUSAL))) is not None) == is_one
