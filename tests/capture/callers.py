"""Clients of both libraries and both colours, spoken to in the same way."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx
import httpx2

import accounting

HTTPX, HTTPX2 = ("httpx", False), ("httpx2", False)
ASYNC_HTTPX, ASYNC_HTTPX2 = ("httpx", True), ("httpx2", True)
FLAVOURS = (HTTPX, ASYNC_HTTPX, HTTPX2, ASYNC_HTTPX2)
Flavour = tuple[str, bool]

_LIBRARIES: Mapping[str, ModuleType] = {"httpx": httpx, "httpx2": httpx2}


@dataclass(frozen=True, slots=True)
class Received:
    """What a caller got: the bytes as they came, piece by piece, and the name of the exception that ended them."""

    status: int | None
    pieces: tuple[bytes, ...]
    error: str | None
    headers: Mapping[str, str]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class Caller:
    """One client; everything it does is done when the method returns, in either colour."""

    def __init__(self, flavour: Flavour, **arguments: Any) -> None:
        name, self.is_async = flavour
        self.library = _LIBRARIES[name]
        kind = self.library.AsyncClient if self.is_async else self.library.Client
        # The server hangs up after each answer: a connection that is kept would be found closed, sometimes.
        arguments = {"limits": self.library.Limits(max_keepalive_connections=0), "timeout": 5.0, **arguments}
        self.client = kind(trust_env=False, verify=False, **arguments)
        self._runner = asyncio.Runner()

    def metered(self, **metering: Any) -> "Caller":
        accounting.meter(self.client, **metering)
        return self

    def request(self, url: str, body: Any = None, method: str = "POST", **arguments: Any) -> Any:
        """The request, its body JSON unless it is bytes already."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.build_request(method, url, content=content, **arguments)

    def post(self, url: str, body: Any, **headers: str) -> Received:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.receive(self.request(url, body, headers=named))

    def receive(self, request: Any, **arguments: Any) -> Received:
        """Send, and take the answer's bytes as they come, undecoded."""
        return self._runner.run(self._receive(request, arguments))

    def run(self, work: Any) -> Any:
        """Run a coroutine where this client's calls run."""
        return self._runner.run(work)

    def close(self) -> None:
        if self.is_async:
            self._runner.run(self.client.aclose())
        else:
            self.client.close()
        self._runner.close()

    async def send(self, request: Any, **arguments: Any) -> Any:
        sent = self.client.send(request, **arguments)
        return await sent if self.is_async else sent

    async def leave(self, response: Any) -> None:
        if self.is_async:
            await response.aclose()
        else:
            response.close()

    async def _receive(self, request: Any, arguments: Mapping[str, Any]) -> Received:
        pieces: list[bytes] = []
        response = error = None
        try:
            response = await self.send(request, stream=True, **arguments)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(self.leave, response)
                if self.is_async:
                    pieces.extend([piece async for piece in response.aiter_raw()])
                else:
                    pieces.extend(response.iter_raw())
        except Exception as caught:
            error = type(caught).__name__
        if response is None:
            return Received(None, (), error, {})
        return Received(response.status_code, tuple(pieces), error, dict(response.headers))
