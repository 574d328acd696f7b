"""A server in control of every byte: what it writes, where the borders fall, when it waits and how it ends."""

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

Step = bytes | Callable[[], object]
"""Bytes to write at once, or something to do in between."""

SECONDS = 10.0
"""The longest that anything here waits."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came over the wire; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Asked], Iterable[Step]]


class Server:
    """Answers each request on 127.0.0.1 with the steps that `answer` gives for it, then closes the connection."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Answer = lambda asked: []
        self.ending = Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def says(self, *steps: Step) -> None:
        """Answer every request so."""
        self.answer = lambda asked: steps

    def says_in_turn(self, *answers: bytes) -> None:
        """Answer the first request with the first, and so on."""
        left = iter(answers)
        self.answer = lambda asked: [next(left)]

    def hang(self) -> None:
        """A step: nothing more comes."""
        self.ending.wait(SECONDS)

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the one who waits in accept()
        self._listener.close()

    def _accept(self) -> None:
        while not self.ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked = _read_request(connection)
            if asked is None:
                return
            self.asked.append(asked)
            for step in self.answer(asked):
                if isinstance(step, bytes):
                    connection.sendall(step)
                elif step() is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


RESET = object()


def reset() -> object:
    """A step: the connection ends not with a goodbye but with a reset."""
    return RESET


def _read_request(connection: socket.socket) -> Asked | None:
    read = b""
    while b"\r\n\r\n" not in read:
        if not (piece := connection.recv(65536)):
            return None
        read += piece
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while not _is_whole(headers, body):
        if not (piece := connection.recv(65536)):
            return None  # the client has gone
        body += piece
    return Asked(method, path, headers, _dechunked(body) if "transfer-encoding" in headers else body)


def _is_whole(headers: dict[str, str], body: bytes) -> bool:
    if "transfer-encoding" in headers:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(headers.get("content-length", "0"))


def _dechunked(body: bytes) -> bytes:
    joined = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        joined, body = joined + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return joined


def head(status: int = 200, *lines: str) -> bytes:
    """The start of an answer, up to its blank line; it says that the connection ends, as no client else could know."""
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", "connection: close", *lines, "", ""]).encode()


def chunked(body: bytes, size: int = 2**20) -> bytes:
    """The body in chunks of the size, with the last chunk."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def plain(body: bytes, status: int = 200, *lines: str, kind: str = "application/json") -> bytes:
    """A whole answer that tells its length."""
    return head(status, f"content-type: {kind}", f"content-length: {len(body)}", *lines) + body


def stream(body: bytes, *lines: str) -> bytes:
    """A whole streamed answer."""
    return head(200, "content-type: text/event-stream", "transfer-encoding: chunked", *lines) + chunked(body)


def cuts(answer: bytes) -> Iterator[int]:
    """Every length that an answer may be cut to, the whole one included."""
    yield from range(len(answer) + 1)


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """The URL of a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
