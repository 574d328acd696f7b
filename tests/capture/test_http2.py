"""HTTP/2: an answer's end needs no length there, and a cut can't be taken for one."""

import contextlib
import json
import socket
from collections.abc import Iterator
from threading import Thread

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from accounting.usage import Outcome
from tests.capture.answers import ASK, ASK_STREAM, CHAT, JSON, OPENAI, OPENAI_UNCOUNTED
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import SECONDS


class Peer:
    """Answers one connection's requests without TLS: `kind` and `body`, or `cut` short of its end."""

    def __init__(self, kind: str, body: bytes, *, cut: bool = False) -> None:
        self.asked: list[bytes] = []
        self._kind, self._body, self._cut = kind, body, cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self._listener, self._listener.accept()[0] as connection:
            connection.settimeout(SECONDS)
            talk = H2Connection(H2Configuration(client_side=False))
            talk.initiate_connection()
            connection.sendall(talk.data_to_send())
            while received := connection.recv(65536):
                for event in talk.receive_data(received):
                    if isinstance(event, RequestReceived):
                        self.asked.append(b"")
                    elif isinstance(event, DataReceived):
                        self.asked[-1] += event.data
                    elif isinstance(event, StreamEnded):
                        self._answer(talk, event.stream_id or 0)
                connection.sendall(talk.data_to_send())
                if self._cut and self.asked:
                    return

    def _answer(self, talk: H2Connection, stream: int) -> None:
        talk.send_headers(stream, [(":status", "200"), ("content-type", self._kind)])
        for start in range(0, len(self._body), 50):
            talk.send_data(stream, self._body[start : start + 50])
        if not self._cut:
            talk.end_stream(stream)


@pytest.fixture
def caller(make_caller: MakeCaller) -> Iterator[Caller]:
    caller = make_caller(http1=False, http2=True)
    inner = caller.client._transport
    yield caller.metered()
    assert caller.client._transport.inner is inner


def test_a_body_without_a_length_is_finished(caller: Caller, journaled: Journaled) -> None:
    peer = Peer("application/json", JSON)
    got = caller.post(peer.url + CHAT, ASK)
    assert (got.body, got.error) == (JSON, None)
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens) == (Outcome.FINISHED, 9)


def test_a_body_that_is_no_json_is_finished_at_its_end(caller: Caller, journaled: Journaled) -> None:
    caller.post(Peer("audio/mpeg", b"sound").url + "/v1/audio/speech", ASK)
    assert journaled.outcomes() == [Outcome.FINISHED]


def test_a_stream_is_asked_and_stripped(caller: Caller, journaled: Journaled) -> None:
    peer = Peer("text/event-stream", OPENAI)
    assert caller.post(peer.url + CHAT, ASK_STREAM).body == OPENAI_UNCOUNTED
    assert json.loads(peer.asked[0])["stream_options"] == {"include_usage": True}
    assert journaled.outcomes() == [Outcome.FINISHED]


def test_a_cut_body_is_interrupted(caller: Caller, journaled: Journaled) -> None:
    got = caller.post(Peer("application/json", JSON[:-9], cut=True).url + CHAT, ASK)
    assert got.error is not None
    # The library may meet the cut before it hands the headers out.
    assert journaled.outcomes() == [Outcome.UNKNOWN if got.status is None else Outcome.INTERRUPTED]
