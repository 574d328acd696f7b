"""L6: no fault of ours reaches the caller, and none lets a call past a budget that says no.

Which functions of ours a call passes through is found by tracing one. Then, call after call, each is made to
raise at its first line: the caller must get its answer all the same, and the fault must be counted. Where a budget
that binds has nothing left, the provider must never be asked.
"""

import asyncio
import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
import httpx2
import pytest
import sqlalchemy as sa

import accounting
from accounting import gate, recorder
from accounting.errors import BudgetExceeded
from tests.capture.gates import LENIENT, Budgets, covering

OURS = str(Path(accounting.__file__).parent)

# The frames that hold the guards, and the guard. They are the caller's way through us, so there is nothing above
# them to catch what they raise; they hold no work of ours but guarded steps. What `__del__` raises Python swallows.
HOLDS_THE_GUARD = {
    "Guard.__init__", "Guard.__enter__", "Guard.__exit__", "Tap.__del__",
    *(f"transports.<locals>.{kind}.{name}" for kind in ("MeteredTransport", "AsyncMeteredTransport")
      for name in ("handle_request", "handle_async_request", "_send", "_refused", "_is_refused")),
    *(f"transports.<locals>.TappedStream.{name}" for name in ("__iter__", "close")),
    *(f"transports.<locals>.AsyncTappedStream.{name}" for name in ("__aiter__", "aclose")),
}  # fmt: skip

WHOLE = json.dumps({
    "id": "chatcmpl-1", "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}).encode()  # fmt: skip
EVENTS = (
    b'data: {"id":"chatcmpl-1","model":"m-1","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n',
    b'data: {"id":"chatcmpl-1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"chatcmpl-1","model":"m-1","choices":[],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}\n\n',
    b"data: [DONE]\n\n",
)


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        if asked.get("stream"):
            usage = bool(asked.get("stream_options"))
            events = EVENTS if usage else EVENTS[:2] + EVENTS[3:]
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in (*events, b""):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        else:
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(WHOLE)))
            self.end_headers()
            self.wfile.write(WHOLE)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    store_url = f"sqlite:///{tmp_path}/books.sqlite3"
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", store_url)
    recorder.close()
    yield store_url
    recorder.close()


HEADERS = {"authorization": "Bearer sk-0123456789abcdef"}


Watch = Callable[[], AbstractContextManager[None]]
"""What is done to the thread while a call, and nothing else, runs in it."""


def exchange(library: Any, url: str, stream: bool, watch: Watch = nullcontext) -> bytes:
    with accounting.meter(library.Client(headers=HEADERS), project="p", tags={"a": "b"}) as client:
        body = {"model": "m-1", "messages": [], "stream": stream}
        with watch(), client.stream("POST", url, json=body) as response:
            return b"".join(response.iter_raw())


def exchange_async(library: Any, url: str, stream: bool, watch: Watch = nullcontext) -> bytes:
    async def run() -> bytes:
        async with accounting.meter(library.AsyncClient(headers=HEADERS), project="p", tags={"a": "b"}) as client:
            body = {"model": "m-1", "messages": [], "stream": stream}
            with watch():
                async with client.stream("POST", url, json=body) as response:
                    return b"".join([piece async for piece in response.aiter_raw()])

    return asyncio.run(run())


class Injected(Exception):
    pass


@contextmanager
def listing(functions: dict[CodeType, None]) -> Iterator[None]:
    """Note the functions of ours that this thread calls, in the order of their first call."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            functions.setdefault(frame.f_code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@contextmanager
def fault_in(function: CodeType) -> Iterator[None]:
    """Make the function raise the first time that this thread calls it."""

    def trip(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is function:
            raise Injected(function.co_qualname)  # with which Python ends the tracing

    sys.settrace(trip)
    try:
        yield
    finally:
        sys.settrace(None)


def faults_in(store: str) -> int:
    engine = sa.create_engine(store)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT faults FROM sources")).scalars().all()
    engine.dispose()
    return sum(sum(json.loads(row).values()) for row in rows)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("colour", [exchange, exchange_async], ids=["sync", "async"])
def test_a_fault_in_any_function_on_the_way_is_counted_and_leaves_the_call_alone(
    colour: Callable[..., bytes], library: Any, stream: bool, url: str, store: str
) -> None:
    expected = EVENTS[0] + EVENTS[1] + EVENTS[3] if stream else WHOLE
    functions: dict[CodeType, None] = {}
    assert colour(library, url, stream) == expected
    assert colour(library, url, stream, lambda: listing(functions)) == expected
    guarded = [function for function in functions if function.co_qualname not in HOLDS_THE_GUARD]
    assert {"tap_on", "Tap.read", "Recorder.finish", "Journal.finish"} <= {code.co_qualname for code in guarded}
    for function in guarded:
        before = sum(recorder.recorder().faults.counts().values())
        answer = colour(library, url, stream, lambda f=function: fault_in(f))
        # Where it is the taking out of the extra event that failed, the caller sees that event.
        assert answer in (expected, b"".join(EVENTS)), function.co_qualname
        assert sum(recorder.recorder().faults.counts().values()) > before, function.co_qualname
    assert accounting.flush()
    journal = recorder.recorder()._journal
    assert journal is not None
    assert journal.standing(datetime.now(UTC)).open == 0  # T would wait for it
    assert faults_in(store) >= len(guarded) > 30


@pytest.fixture
def budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Budgets]:
    """One that binds, and has nothing left."""
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", "postgresql://books.invalid/books")
    monkeypatch.setattr("accounting.recorder.Delivery", lambda *_, **__: None)
    budgets = Budgets(limit=0)
    monkeypatch.setattr(gate, "open_gate", lambda _: budgets)
    recorder.close()
    yield budgets
    recorder.close()


def sending(library: Any, is_async: bool, asked: list[bytes]) -> Callable[[Watch], str]:
    """Sends a call, and says how it ended."""

    def answer(request: Any) -> Any:
        asked.append(request.content)
        return library.Response(200, json=json.loads(WHOLE))

    def send(watch: Watch) -> str:
        with accounting.meter(library.Client(transport=library.MockTransport(answer))) as client, watch():
            return str(client.post("https://api.openai.com/v1/chat/completions", json={"model": "m"}).status_code)

    async def send_async(watch: Watch) -> str:
        made = library.AsyncClient(transport=library.MockTransport(answer))
        async with accounting.meter(made) as client:
            with watch():
                response = await client.post("https://api.openai.com/v1/chat/completions", json={"model": "m"})
        return str(response.status_code)

    def ended(watch: Watch) -> str:
        try:
            return asyncio.run(send_async(watch)) if is_async else send(watch)
        except (BudgetExceeded, Injected) as error:
            return type(error).__name__

    return ended


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_fault_in_any_function_on_the_way_lets_no_call_past_a_budget_that_binds(
    is_async: bool, library: Any, budgets: Budgets
) -> None:
    asked: list[bytes] = []
    functions: dict[CodeType, None] = {}
    send = sending(library, is_async, asked)
    assert send(nullcontext) == "BudgetExceeded"
    assert send(lambda: listing(functions)) == "BudgetExceeded"
    assert {"Metered._tap", "Coverage.covering", "Latch.wait_async" if is_async else "Latch.wait", "Tap.judged"} <= {
        code.co_qualname for code in functions
    }
    passed = []
    for function in (each for each in functions if each.co_qualname != "Tap.__del__"):
        send(partial(fault_in, function))
        passed += [function.co_qualname] * len(asked)
        asked.clear()
    assert passed == []
    assert len(functions) > 30


@pytest.mark.parametrize("bounds", [(), (LENIENT,)], ids=["none", "one that lets pass"])
def test_a_fault_stops_no_call_where_no_budget_binds(bounds: tuple[Any, ...], budgets: Budgets) -> None:
    budgets.known, budgets.limit = covering(*bounds), 1000
    asked: list[bytes] = []
    send = sending(httpx, False, asked)
    for name in ("accounting.gate.Keeper._steps", "accounting.gate.Keeper.covering", "accounting.capture.Tap.start"):
        with pytest.MonkeyPatch.context() as here:
            here.setattr(name, broken)
            assert send(nullcontext) == "200"


def broken(*_: object, **__: object) -> Any:
    raise Injected
