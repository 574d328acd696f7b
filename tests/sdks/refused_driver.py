"""Runs in an environment of SDKs: makes calls that are refused, and prints what each SDK raises as JSON.

python -m tests.sdks.refused_driver WAY

WAY is `made`, an answer that was made here, or `sent`, one whose bytes came from elsewhere, as from a gateway. The SDKs
are imported by name, and so are `Any`: they are not installed where types are checked.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import accounting
from accounting import refusals
from accounting.decisions import BudgetState, Mode, Refusal, Why
from accounting.formats import find

from .bench import KEY, SDKS, Sdk, http_library

STATE = BudgetState(
    budget="checkout",
    scope="project checkout",
    mode=Mode.HARD,
    currency="CNY",
    limit=Decimal("500"),
    spent=Decimal("480.123456789012"),
    reserved=Decimal("12.5"),
    held=Decimal("3"),
    begins_on=date(2026, 11, 1),
    ends_on=date(2026, 12, 1),
    ends_at=datetime(2026, 11, 30, 16, tzinfo=UTC),
)
REFUSAL = Refusal(
    why=Why.OVER,
    budget="checkout",
    scope="project checkout",
    message="Budget checkout refused the call.",
    asked=Decimal("8.2"),
    state=STATE,
)
WORDS = [{"role": "user", "content": "Why?"}]


class Refuser:
    """Refuses every request of an HTTP library, and counts them."""

    def __init__(self, library: Any, way: str) -> None:
        self._library = library
        self._way = way
        self.asked = 0
        self.transport = library.MockTransport(self._answer)

    def _answer(self, request: Any) -> Any:
        self.asked += 1
        match = find(request.method, request.url.path, "")
        name = match.format.name if match else ""
        if self._way == "made":
            return refusals.response(self._library, request, REFUSAL, name)
        made = refusals.answer(REFUSAL, name)
        return self._library.Response(made.status, headers=made.headers, content=made.body)

    def clients(self) -> tuple[Any, Any]:
        return self._library.Client(transport=self.transport), self._library.AsyncClient(transport=self.transport)


def said(error: Exception, asked: int) -> dict[str, object]:
    refused = accounting.budget_exceeded(error)
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    told = None if refused is None else {name: str(value) for name, value in vars(refused).items()}
    return {
        "error": [kind.__name__ for kind in type(error).__mro__],
        "status": status,
        "asked": asked,
        "message": str(refused),
        "told": told,
    }


def openai_calls(client: Any) -> dict[str, Callable[[], Any]]:
    chat = client.chat.completions
    return {
        "whole": lambda: chat.create(model="m", messages=WORDS),
        "streamed": lambda: chat.create(model="m", messages=WORDS, stream=True),
        "raw": lambda: chat.with_raw_response.create(model="m", messages=WORDS),
        "responses": lambda: client.responses.create(model="m", input="Why?", stream=True),
        "embeddings": lambda: client.embeddings.create(model="m", input="Why?"),
    }


def anthropic_calls(client: Any) -> dict[str, Callable[[], Any]]:
    asked: dict[str, Any] = {"model": "m", "messages": WORDS, "max_tokens": 9}
    messages = client.messages
    return {
        "whole": lambda: messages.create(**asked),
        "streamed": lambda: messages.create(**asked, stream=True),
        "raw": lambda: messages.with_raw_response.create(**asked),
        "beta": lambda: client.beta.messages.create(**asked),
    }


def google_calls(part: Any) -> dict[str, Callable[[], Any]]:
    models, interactions = part.models, part.interactions
    return {
        "whole": lambda: models.generate_content(model="m", contents="Why?"),
        "embedded": lambda: models.embed_content(model="m", contents="Why?"),
        "interaction": lambda: interactions.create(model="m", input="Why?"),
        "interaction_streamed": lambda: interactions.create(model="m", input="Why?", stream=True),
    }


CALLS = {"openai": openai_calls, "anthropic": anthropic_calls}


def sync_results(name: str, calls: dict[str, Callable[[], Any]], refuser: Refuser) -> Iterator[tuple[str, object]]:
    for what, call in calls.items():
        refuser.asked = 0
        try:
            call()
        except Exception as error:
            yield f"{name}-sync-{what}", said(error, refuser.asked)


async def async_results(
    name: str, calls: dict[str, Callable[[], Awaitable[Any]]], refuser: Refuser
) -> list[tuple[str, object]]:
    got: list[tuple[str, object]] = []
    for what, call in calls.items():
        refuser.asked = 0
        try:
            await call()
        except Exception as error:
            got.append((f"{name}-async-{what}", said(error, refuser.asked)))
    return got


def of_sdk(sdk: Sdk, way: str) -> Iterator[tuple[str, object]]:
    refuser = Refuser(http_library(), way)
    sync, asynchronous = (
        getattr(sdk.module, name)(api_key=KEY, base_url="http://provider.test" + sdk.root, http_client=client)
        for name, client in zip(sdk.classes, refuser.clients(), strict=True)
    )
    yield from sync_results(sdk.name, CALLS[sdk.name](sync), refuser)
    yield from asyncio.run(async_results(sdk.name, CALLS[sdk.name](asynchronous), refuser))


def of_google(library: Any, way: str) -> Iterator[tuple[str, object]]:
    refuser = Refuser(library, way)
    genai: Any = import_module("google.genai")
    sync, asynchronous = refuser.clients()
    options = genai.types.HttpOptions(
        base_url="http://provider.test", httpx_client=sync, httpx_async_client=asynchronous
    )
    google = genai.Client(api_key=KEY, http_options=options)
    name = f"google-{library.__name__}"
    streamed = google.models.generate_content_stream(model="m", contents="Why?")
    yield from sync_results(name, {"streamed": lambda: next(iter(streamed)), **google_calls(google)}, refuser)
    yield from asyncio.run(async_results(name, google_calls(google.aio), refuser))


def results(way: str) -> Iterator[tuple[str, object]]:
    if find_spec("google"):
        for library in ("httpx", "httpx2"):
            yield from of_google(import_module(library), way)
    else:
        for sdk in SDKS:
            yield from of_sdk(sdk, way)


if __name__ == "__main__":
    print(json.dumps(dict(results(sys.argv[1]))))
