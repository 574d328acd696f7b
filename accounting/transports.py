"""The transports around a client's own: one core, two thin drivers, for httpx and httpx2 alike.

The classes are made for a library on its first use, so that neither is imported for the other's sake; one class
for both is refused by the SDKs. What is here runs in the caller's own frames: each step of ours stands under a
`Guard`, so that a fault of ours is counted and the call goes on as if we were not there.
"""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from functools import cache
from types import ModuleType, TracebackType
from typing import Any

from accounting.capture import Metering, Tap, tap_on
from accounting.decisions import Decision, Refusal
from accounting.errors import BudgetExceeded, JournalUnavailable, StoreAway, UnsupportedClient
from accounting.outgoing import Outgoing, Sent, form_in, form_of
from accounting.polls import Poll
from accounting.recorder import recorder
from accounting.tickets import Steps

_metered: ContextVar[bool] = ContextVar("accounting_metered", default=False)
"""Set while a metering transport handles a request: of nested ones the outermost records."""

LIBRARIES = ("httpx", "httpx2")
REFUSALS = (400, 422)  # 422 is what servers built on FastAPI say of a field that they don't know
MOST_READ_AHEAD = 2**20


class Guard:
    """Runs the steps of ours on one call's path: what one raises is counted and ends the metering, not the call.

    The bytes are safe with the drivers: until a step has returned, all it was given is still to be passed on. All that
    is let through are refusals that the user asked for. `failed_at` is the step of the last fault: not the error, whose
    frames hold what is to be let go.
    """

    __slots__ = ("failed_at", "tap")

    def __init__(self) -> None:
        self.tap: Tap | Poll | None = None
        self.failed_at: str | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception) or isinstance(error, _ASKED_FOR):
            return False
        tap, self.tap = self.tap, None
        # Whatever fails now as well: there is nobody left to tell but the caller, whom it does not concern.
        self.failed_at = _counted(error)
        with contextlib.suppress(Exception):
            if tap is not None:
                tap.drop()
        return True


_ASKED_FOR = (JournalUnavailable, BudgetExceeded)


def _counted(error: Exception) -> str:
    """The step at which it failed."""
    step = "guard"
    with contextlib.suppress(Exception):
        step = _step(error.__traceback__)
        recorder().faults.count(step, error)
    return step


def _step(trace: TracebackType | None) -> str:
    """The innermost function of ours that the fault passed through."""
    step = "guard"
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("accounting."):
            step = trace.tb_frame.f_code.co_qualname
        trace = trace.tb_next
    return step


class Metered:
    """What the transports of both colours share."""

    _library: ModuleType

    def __init__(self, inner: Any, metering: Metering) -> None:
        self.inner = inner
        self.metering = metering

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet: there is nothing to ask
            raise AttributeError(name)
        return getattr(self.inner, name)

    def _tap(self, request: Any, guard: Guard, *, ask_for_usage: bool) -> Any:
        """Put a tap on the request, if it is a call; returns the request to send."""
        body = b"".join(request.stream) if isinstance(request.stream, self._library.ByteStream) else None
        url, headers = request.url, _plain(request.headers)
        form = form_of(request.stream) if body is None else form_in(body, headers.get("content-type", ""))
        sent = Sent(request.method, url.host, url.port, url.path, headers, body, request.extensions, form)
        guard.tap = tap_on(self.metering, sent, ask_for_usage=ask_for_usage)
        if guard.tap is None or guard.tap.outgoing is None:
            return request
        return self._rewritten(request, guard.tap.outgoing)

    def _rewritten(self, request: Any, outgoing: Outgoing) -> Any:
        headers = request.headers.copy()
        headers.update(outgoing.headers)
        stream = request.stream
        if outgoing.body is not None:
            stream = self._library.ByteStream(outgoing.body)
            headers.pop("transfer-encoding", None)  # its length is known now, and told
        return self._library.Request(
            request.method, request.url, headers=headers, stream=stream, extensions=request.extensions
        )

    def _admission(self, request: Any, guard: Guard) -> Steps | None:
        """The steps until it is decided whether it may be sent; raises what kept us from reading it."""
        if guard.failed_at is not None and request.method == "POST":  # nothing else buys anything
            raise StoreAway(f"a fault of ours at step {guard.failed_at!r}")
        return guard.tap.admission() if guard.tap is not None else None

    def _instead(self, request: Any, refusal: Refusal, guard: Guard) -> Any:
        """What a caller gets whose call a budget refused: an answer of the provider's kind, or an error where no SDK
        stands between, which would retry and hide it."""
        from accounting import refusals

        format_name, guard.tap = guard.tap.format_name if isinstance(guard.tap, Tap) else "", None
        if self.metering.is_of_sdk or any(name.lower().startswith(_OF_SDKS) for name, _ in request.headers.raw):
            return refusals.response(self._library, request, refusal, format_name)
        raise refusals.exceeded(refusal)

    def _may_refuse_asking(self, response: Any, guard: Guard) -> bool:
        """Whether the answer may be about our asking for usage, which can only be told by reading it."""
        if guard.tap is None or not guard.tap.asked or response.status_code not in REFUSALS:
            return False
        if response.is_stream_consumed and not isinstance(response.stream, self._library.ByteStream):
            return False  # read by a transport inside, which can't be done again
        guard.tap.headers(response.status_code, _plain(response.headers))
        return True

    def _refuses_asking(self, response: Any, body: bytes | None, guard: Guard) -> bool:
        """Whether the refusal, now read, says so: that call has failed, and the caller's own request is to be sent."""
        if guard.tap is None or body is None or not guard.tap.refuses_asking(_plain(response.headers), body):
            return False
        guard.tap.read(b"", body)
        guard.tap.end()
        return True

    def _answered(self, response: Any, guard: Guard, stream_class: type) -> None:
        """Let the answer's bytes pass through the tap on their way to the caller."""
        if guard.tap is None:
            return
        framed = response.extensions.get("http_version") == b"HTTP/2"
        headers = _plain(response.headers)
        if response.is_stream_consumed:  # made in memory, and decoded already
            guard.tap.headers(response.status_code, headers | {"content-encoding": "identity"}, framed=True)
            kept = b"".join(guard.tap.read(b"", response.content))
            guard.tap.end()
            if kept != response.content:
                response._content = kept  # there is no public way to take the extra event out of it
            return
        guard.tap.headers(response.status_code, headers, framed)
        response.stream = stream_class(response.stream, guard)


_OF_SDKS = b"x-stainless-"
"""How names of headers begin that SDKs send which retry what a transport raises."""


def _judged(guard: Guard, decision: Decision | None) -> Refusal | None:
    if not isinstance(guard.tap, Tap):
        return None
    try:
        return guard.tap.judged(decision)
    except Exception as error:
        if not isinstance(decision, Refusal):
            raise
        _counted(error)
        return decision  # what a budget said holds, though it could not be written down


def _unasked(guard: Guard, error: Exception) -> Refusal | None:
    """What the call's budgets say where a fault of ours kept them from being asked: it may not pass one that binds."""
    if isinstance(guard.tap, Tap):
        _counted(error)
        return guard.tap.unasked(error)
    return recorder().gate.unasked(error)


def _gone(steps: Steps) -> Decision | None:
    """What they come to, while this thread waits."""
    with contextlib.closing(steps):
        while True:
            try:
                latch, seconds = next(steps)
            except StopIteration as end:
                decided: Decision | None = end.value
                return decided
            latch.wait(seconds)


async def _gone_async(steps: Steps) -> Decision | None:
    """What they come to, while this task waits."""
    with contextlib.closing(steps):
        while True:
            try:
                latch, seconds = next(steps)
            except StopIteration as end:
                decided: Decision | None = end.value
                return decided
            await latch.wait_async(seconds)


def _plain(headers: Any) -> dict[str, str]:
    """The headers as a dictionary, names in lower case: a look-up in the library's own costs ten times as much."""
    return {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers.raw}


@cache
def transports(library: ModuleType) -> tuple[type[Any], type[Any]]:
    """The metering transports, sync and async, of an HTTP library (httpx or httpx2)."""

    class ReadAhead(library.SyncByteStream):  # type: ignore[misc, name-defined]
        """A stream whose beginning is read before the caller asks for it, and is his all the same."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream
            self._source = iter(stream)
            self._pieces: list[bytes] = []
            self._cut: Exception | None = None

        def whole(self) -> bytes | None:
            """All of it; None if it is cut, or too long to be held."""
            try:
                for piece in self._source:
                    self._pieces.append(piece)
                    if sum(map(len, self._pieces)) > MOST_READ_AHEAD:
                        return None
            except Exception as error:  # noqa: BLE001 - the caller's, who meets it where he reads
                self._cut = error
                return None
            return b"".join(self._pieces)

        def __iter__(self) -> Iterator[bytes]:
            yield from self._pieces
            if self._cut is not None:
                raise self._cut
            yield from self._source

        def close(self) -> None:
            self._stream.close()

    class AsyncReadAhead(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        """`ReadAhead`, async."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream
            self._source = aiter(stream)
            self._pieces: list[bytes] = []
            self._cut: Exception | None = None

        async def whole(self) -> bytes | None:
            """All of it; None if it is cut, or too long to be held."""
            try:
                async for piece in self._source:
                    self._pieces.append(piece)
                    if sum(map(len, self._pieces)) > MOST_READ_AHEAD:
                        return None
            except Exception as error:  # noqa: BLE001 - the caller's, who meets it where he reads
                self._cut = error
                return None
            return b"".join(self._pieces)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self._pieces:
                yield piece
            if self._cut is not None:
                raise self._cut
            async for piece in self._source:
                yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    class TappedStream(library.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, guard: Guard) -> None:
            self._stream = stream
            self._guard = guard

        def __iter__(self) -> Iterator[bytes]:
            guard, held = self._guard, b""
            try:
                for chunk in self._stream:
                    out, keep = held + chunk, b""
                    with guard:
                        if guard.tap is not None:
                            out, keep = guard.tap.read(held, chunk)
                    held = keep
                    if out:
                        yield out
            except Exception:
                with guard:
                    if guard.tap is not None:
                        guard.tap.cut()
                if held:
                    yield held
                raise
            with guard:
                if guard.tap is not None:
                    guard.tap.end()
            if held:
                yield held

        def close(self) -> None:
            with self._guard:
                if self._guard.tap is not None:
                    self._guard.tap.cut()
            self._stream.close()

    class AsyncTappedStream(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, guard: Guard) -> None:
            self._stream = stream
            self._guard = guard

        async def __aiter__(self) -> AsyncIterator[bytes]:
            guard, held = self._guard, b""
            try:
                async for chunk in self._stream:
                    out, keep = held + chunk, b""
                    with guard:
                        if guard.tap is not None:
                            out, keep = guard.tap.read(held, chunk)
                    held = keep
                    if out:
                        yield out
            except Exception:
                with guard:
                    if guard.tap is not None:
                        guard.tap.cut()
                if held:
                    yield held
                raise
            with guard:
                if guard.tap is not None:
                    guard.tap.end()
            if held:
                yield held

        async def aclose(self) -> None:
            with self._guard:
                if self._guard.tap is not None:
                    self._guard.tap.cut()
            await self._stream.aclose()

    class MeteredTransport(Metered, library.BaseTransport):  # type: ignore[misc, name-defined]
        _library = library

        def __enter__(self) -> Any:
            self.inner.__enter__()
            return self

        def __exit__(self, *failure: Any) -> None:
            self.inner.__exit__(*failure)

        def close(self) -> None:
            self.inner.close()

        def handle_request(self, request: Any) -> Any:
            if _metered.get():
                return self.inner.handle_request(request)
            guard = Guard()
            response = self._send(request, guard, ask_for_usage=True)
            if self._is_refused(response, guard):
                response.stream.close()
                response = self._send(request, guard, ask_for_usage=False)
            with guard:
                self._answered(response, guard, TappedStream)
            return response

        def _send(self, request: Any, guard: Guard, *, ask_for_usage: bool) -> Any:
            with guard:
                request = self._tap(request, guard, ask_for_usage=ask_for_usage)
            mark = _metered.set(guard.tap is not None)
            try:
                if (refusal := self._refused(request, guard)) is not None:
                    return self._instead(request, refusal, guard)
                return self.inner.handle_request(request)
            except BaseException as error:
                with guard:
                    if guard.tap is not None:
                        guard.tap.broke(error)
                raise
            finally:
                _metered.reset(mark)

        def _refused(self, request: Any, guard: Guard) -> Refusal | None:
            """What the call's budgets say against it; they have set aside what it may cost where that is nothing."""
            refusal = None
            with guard:
                try:
                    if (steps := self._admission(request, guard)) is not None:
                        refusal = _judged(guard, _gone(steps))
                except Exception as error:  # noqa: BLE001 - any of ours
                    refusal = _unasked(guard, error)
            return refusal

        def _is_refused(self, response: Any, guard: Guard) -> bool:
            """Whether the call was refused because we had asked for its usage."""
            doubtful = refused = False
            with guard:
                doubtful = self._may_refuse_asking(response, guard)
            if doubtful:
                response.stream = ahead = ReadAhead(response.stream)
                body = ahead.whole()
                with guard:
                    refused = self._refuses_asking(response, body, guard)
            return refused

    class AsyncMeteredTransport(Metered, library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        _library = library

        async def __aenter__(self) -> Any:
            await self.inner.__aenter__()
            return self

        async def __aexit__(self, *failure: Any) -> None:
            await self.inner.__aexit__(*failure)

        async def aclose(self) -> None:
            await self.inner.aclose()

        async def handle_async_request(self, request: Any) -> Any:
            if _metered.get():
                return await self.inner.handle_async_request(request)
            guard = Guard()
            response = await self._send(request, guard, ask_for_usage=True)
            if await self._is_refused(response, guard):
                await response.stream.aclose()
                response = await self._send(request, guard, ask_for_usage=False)
            with guard:
                self._answered(response, guard, AsyncTappedStream)
            return response

        async def _send(self, request: Any, guard: Guard, *, ask_for_usage: bool) -> Any:
            with guard:
                request = self._tap(request, guard, ask_for_usage=ask_for_usage)
            mark = _metered.set(guard.tap is not None)
            try:
                if (refusal := await self._refused(request, guard)) is not None:
                    return self._instead(request, refusal, guard)
                return await self.inner.handle_async_request(request)
            except BaseException as error:
                with guard:
                    if guard.tap is not None:
                        guard.tap.broke(error)
                raise
            finally:
                _metered.reset(mark)

        async def _refused(self, request: Any, guard: Guard) -> Refusal | None:
            """What the call's budgets say against it; they have set aside what it may cost where that is nothing."""
            refusal = None
            with guard:
                try:
                    if (steps := self._admission(request, guard)) is not None:
                        refusal = _judged(guard, await _gone_async(steps))
                except Exception as error:  # noqa: BLE001 - any of ours
                    refusal = _unasked(guard, error)
            return refusal

        async def _is_refused(self, response: Any, guard: Guard) -> bool:
            """Whether the call was refused because we had asked for its usage."""
            doubtful = refused = False
            with guard:
                doubtful = self._may_refuse_asking(response, guard)
            if doubtful:
                response.stream = ahead = AsyncReadAhead(response.stream)
                body = await ahead.whole()
                with guard:
                    refused = self._refuses_asking(response, body, guard)
            return refused

    return MeteredTransport, AsyncMeteredTransport


def library_of(thing: object) -> ModuleType:
    """The HTTP library that a client or transport belongs to; neither is imported to find out."""
    for name in LIBRARIES:
        library = sys.modules.get(name)
        if library is None:
            continue
        kinds = (library.Client, library.AsyncClient, library.BaseTransport, library.AsyncBaseTransport)
        if isinstance(thing, kinds):
            return library
    raise UnsupportedClient(
        f"{type(thing).__module__}.{type(thing).__qualname__} is no httpx or httpx2 client or transport. "
        "Pass an httpx or httpx2 client, or an SDK's that keeps one in itself, as OpenAI's and Anthropic's do."
    )
