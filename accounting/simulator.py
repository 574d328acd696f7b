"""A provider on loopback, for a first look without a key and for tests: OpenAI- and Anthropic-compatible.

    with Simulator() as provider:
        OpenAI(base_url=f"{provider.url}/v1", api_key="sk-any")
        Anthropic(base_url=f"{provider.url}/anthropic", api_key="sk-any")
        provider.ledger

A request says itself how it wants to be answered: `simulated/script.py`. The ledger has a line for each request
before its answer's first byte goes out, so whoever has an answer finds it there. Another process reads it as JSON
at `/ledger`.
"""

import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from accounting.simulated import anthropic, openai_chat, openai_responses, other
from accounting.simulated.answers import Answer, Asked, Known
from accounting.simulated.ledger import UNKNOWN, LedgerLine, Tokens
from accounting.simulated.script import Script, ScriptUnreadable
from accounting.simulated.wire import Body, body, chunks, stop

_BILLED = {
    "chat/completions": openai_chat.answer,
    "messages": anthropic.answer,
    "responses": openai_responses.answer,
    "embeddings": other.embeddings,
    "audio/transcriptions": other.transcription,
    "images/generations": other.images,
    "images/edits": other.images,
}
_FREE = {
    "messages/count_tokens": {"input_tokens": 12},
    "models": {"object": "list", "data": [{"id": "z-ai/glm-5", "object": "model"}]},
    "api/hello": {},
}


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in; header names in lower case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Simulator:
    """The provider. It serves from its making until `close`, on a port of its own choice unless it is told one."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: dict[str, bytes] = {}
        self.received: deque[Received] = deque(maxlen=10_000)
        self.held = 0
        """Requests that are kept waiting just now, before their first byte or in the middle."""
        self._lines: dict[int, LedgerLine] = {}
        self._responses: dict[str, _Response] = {}
        self._seen: Counter[tuple[str, bytes]] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(port, self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="simulator", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ledger(self) -> tuple[LedgerLine, ...]:
        """The lines so far, in the order of arrival."""
        with self._lock:
            return tuple(self._lines.values())

    def close(self) -> None:
        """Let go of every request that is held, cut all connections, and free the port."""
        self._server.end()

    def script(self, text: str, asked: Asked) -> Script:
        """The header read; a plain one where its `times` are over. Raises `ScriptUnreadable`."""
        script = Script.parse(text)
        with self._lock:
            seen = self._seen[text, asked.digest]
            self._seen[text, asked.digest] += 1
        return script if script.times is None or seen < script.times else Script()

    def answer(self, asked: Asked, script: Script) -> Answer:
        """What the script wants, at whatever path was asked."""
        path, _, query = asked.path.partition("?")
        is_anthropic = path.endswith("messages")
        if script.redirect and query != "redirected":
            return other.redirect(script.redirect, path)
        if script.body is not None:
            return other.raw(self._body(script.body), asked, script)
        if not asked.key:
            return other.error(401, "No API key was sent.", anthropic=is_anthropic)
        if script.refuse_usage and "stream_options" in asked.body:
            return other.error(400, "Unknown parameter: 'stream_options'.")
        if script.status >= 400:
            wait = (("retry-after", script.retry_after),) if script.retry_after else ()
            return other.error(script.status, "As the script wants it.", anthropic=is_anthropic, headers=wait)
        return _BILLED[_endpoint(path, _BILLED) or ""](asked, script)

    def _body(self, name: str) -> bytes:
        try:
            return self.bodies[name]
        except KeyError:
            raise ScriptUnreadable(f"x-simulate: no body {name!r}; there are {sorted(self.bodies)}") from None

    def enter(self, asked: Asked, status: int | None, known: Known, charged: Tokens) -> LedgerLine:
        """A new line of the ledger."""
        with self._lock:
            line = LedgerLine(
                number=len(self._lines) + 1,
                endpoint=_endpoint(asked.path.partition("?")[0], _BILLED) or "",
                key=asked.fingerprint,
                model=asked.model,
                stream=asked.stream,
                status=status,
                outcome=known.outcome,
                charged=charged,
                told=known.told,
            )
            self._lines[line.number] = line
        return line

    def keep(self, asked: Asked, script: Script, line: LedgerLine) -> None:
        """Keep what was asked of the Responses API, so that it can be polled."""
        if line.endpoint == "responses" and line.status == 200:
            with self._lock:
                self._responses[openai_responses.id_of(asked)] = _Response(asked, script, line.number)

    def polled(self, path: str) -> Answer | None:
        """What is answered to who asks for a response again; None where there is no such response.

        Whoever has got all of it knows what was charged, and the ledger says so.
        """
        place, _, query = path.partition("?")
        with self._lock:
            found = self._responses.get(place.rpartition("/responses/")[2])
            if found is None:
                return None
            found.polls += 1
            told = found.told(query)
            for _, known in told.pieces[-1:]:
                self._lines[found.line] = replace(self._lines[found.line], outcome=known.outcome, told=known.told)
            return told

    def note_left(self, line: LedgerLine) -> None:
        """The client went away before the answer was sent whole."""
        with self._lock:
            self._lines[line.number] = replace(line, left=True)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """While a request is kept waiting."""
        with self._lock:
            self.held += 1
        try:
            yield
        finally:
            with self._lock:
                self.held -= 1


@dataclass(slots=True)
class _Response:
    """What was asked of the Responses API, its line in the ledger, and how often it was polled."""

    asked: Asked
    script: Script
    line: int
    polls: int = 0

    def told(self, query: str) -> Answer:
        """At first that it is under way, then all of it; as a stream, all that comes after the number asked for."""
        after = _AFTER.search(query)
        if after is not None:
            return openai_responses.streamed(self.asked, replace(self.script, no_end=False), int(after[1]))
        first = self.polls == 1
        return openai_responses.under_way(self.asked) if first else openai_responses.finished(self.asked, self.script)


_AFTER = re.compile(r"starting_after=(\d+)")


def _endpoint(path: str, known: Any) -> str | None:
    return next((suffix for suffix in known if path.rstrip("/").endswith("/" + suffix)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, simulator: Simulator) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._change = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._change:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._change:
            self._open.discard(request)
            self._change.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may go at any time, between requests or within one; anything else is a fault of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._change:
            for connection in self._open:
                with suppress(OSError):  # closed already
                    connection.shutdown(socket.SHUT_RDWR)
            self._change.wait_for(lambda: not self._open, timeout=5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: the ledger tells."""

    def do_GET(self) -> None:
        if self.path == "/ledger":
            lines = [asdict(line) for line in self.server.simulator.ledger]
            return self._send_free(lines)
        if polled := self.server.simulator.polled(self.path):
            return self._send(polled, Script())
        free = _endpoint(self.path.partition("?")[0], _FREE)
        return self._send_free(_FREE[free]) if free else self._send(other.error(404, "No such page."), Script())

    do_HEAD = do_GET  # noqa: N815 - the base class's names

    def do_POST(self) -> None:
        simulator = self.server.simulator
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        received = Received(self.command, self.path, headers, self._body())
        simulator.received.append(received)
        path = self.path.partition("?")[0]
        if free := _endpoint(path, _FREE):
            return self._send_free(_FREE[free])
        if not _endpoint(path, _BILLED):
            return self._send(other.error(404, f"Nothing is served at {path}."), Script())
        try:
            asked = _asked(received)
            script = simulator.script(received.header("x-simulate"), asked)
            answer = simulator.answer(asked, script)
        except ScriptUnreadable as error:
            return self._send(other.error(418, str(error)), Script())
        return self._perform(asked, script, answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _perform(self, asked: Asked, script: Script, answer: Answer) -> None:
        """Enter the request into the ledger, and send what is to be sent of the answer."""
        made = body(answer, script, self.headers.get("accept-encoding", ""))
        known = Known(UNKNOWN, None) if script.drop else made.known_at(stop(made, script))
        status = None if script.drop else answer.status
        line = self.server.simulator.enter(asked, status, known, answer.charged or Tokens())
        self.server.simulator.keep(asked, script, line)
        try:
            self._hold_for(script.wait)
            if script.drop:
                return self._end(script)
            return self._send(answer, script, made)
        except OSError:
            self.server.simulator.note_left(line)
            self.close_connection = True

    def _send_free(self, value: object) -> None:
        self._send(other.free(value), Script())

    def _send(self, answer: Answer, script: Script, made: Body | None = None) -> None:
        made = made or body(answer, script, "")
        framing = _framing(answer, script)
        self.close_connection = self.close_connection or script.close or framing == "until-close"
        self.connection.sendall(_head(answer, made, framing, self.close_connection))
        if self.command != "HEAD":
            self._send_body(made, script, framing == "chunked")

    def _send_body(self, made: Body, script: Script, chunked: bool) -> None:
        for number, chunk in enumerate(chunks(made, script, stop(made, script))):
            if number and script.pause:
                time.sleep(script.pause)
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if script.stall:
            self._hold_for(None)
        if script.cut:
            self._end(script)
        elif chunked:
            self.connection.sendall(b"0\r\n\r\n")

    def _hold_for(self, seconds: float | None) -> None:
        """Wait, without end if None. Raises `ConnectionAbortedError` when the client goes away, or we close."""
        if seconds == 0:
            return
        deadline = None if seconds is None else time.monotonic() + seconds
        with self.server.simulator.holding():
            while deadline is None or time.monotonic() < deadline:
                if self.server.stopping.is_set() or self._client_left(0.02):
                    raise ConnectionAbortedError

    def _client_left(self, within: float) -> bool:
        self.connection.settimeout(within)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        finally:
            self.connection.settimeout(None)

    def _end(self, script: Script) -> None:
        """End the connection here and now."""
        self.close_connection = True
        if script.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()


def _asked(received: Received) -> Asked:
    """The request's question; a body that is neither an object nor a form asks nothing."""
    try:
        question = json.loads(received.body)
    except ValueError:
        question = {name.decode(): value.decode() for name, value in _FIELD.findall(received.body)}
    key = received.header("authorization").removeprefix("Bearer ") or received.header("x-api-key")
    return Asked(received.path, key, question if isinstance(question, dict) else {})


_FIELD = re.compile(rb'name="(\w+)"\r\n\r\n([^\r]*)\r\n')
"""A field of a form that is no file."""


def _framing(answer: Answer, script: Script) -> str:
    if script.until_close:
        return "until-close"
    is_stream = answer.content_type == "text/event-stream"
    return "chunked" if (is_stream or script.chunk) and not script.length else "length"


def _head(answer: Answer, made: Body, framing: str, closing: bool) -> bytes:
    headers = [("content-type", answer.content_type), ("x-request-id", "req_simulated"), *answer.headers]
    if made.encoding:
        headers.append(("content-encoding", made.encoding))
    if framing == "chunked":
        headers.append(("transfer-encoding", "chunked"))
    if framing == "length":
        headers.append(("content-length", str(len(made.data))))
    if closing:
        headers.append(("connection", "close"))
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
