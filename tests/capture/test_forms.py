"""Requests that are forms, as those for transcripts are: their plain fields are read, and no file."""

import tracemalloc

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.outgoing import LONGEST_PART, MOST_PARTS, form_in, form_of
from accounting.usage import Outcome
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled
from tests.capture.wire import Server, plain

TRANSCRIPT = b'{"text": "Hi", "usage": {"type": "duration", "seconds": 8.6}}'


def test_the_model_of_a_form_is_known_and_its_bytes_stay_the_caller_s(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(TRANSCRIPT))
    fields, files = {"model": "whisper-1", "stream": False}, {"file": ("a.mp3", b"\xff\xfb" * 100)}
    request = caller.client.build_request("POST", server.url + "/v1/audio/transcriptions", data=fields, files=files)
    assert caller.receive(request).body == TRANSCRIPT
    assert b"\xff\xfb" * 100 in server.asked[-1].body
    call = journaled.only()
    assert (call.outcome, call.model, call.stream) == (Outcome.FINISHED, "whisper-1", False)
    assert (call.usage.audio_seconds, call.usage.anomalies) == (9, ())


@pytest.mark.parametrize(
    "stream", [None, b"", object(), type("Odd", (), {"fields": 5}), type("Odd", (), {"fields": []})]
)
def test_what_is_no_form_has_no_fields(stream: object) -> None:
    assert form_of(stream) == {}


def test_the_model_of_a_form_that_is_passed_on_is_known(server: Server, caller: Caller, journaled: Journaled) -> None:
    server.says(plain(TRANSCRIPT))
    fields, files = {"model": "whisper-1"}, {"file": ("a.mp3", b"\xff\xfb" * 100)}
    came = httpx.Request("POST", "http://gateway", data=fields, files=files)
    sent, headers = came.read(), {"content-type": came.headers["content-type"]}
    request = caller.client.build_request(
        "POST", server.url + "/v1/audio/transcriptions", content=sent, headers=headers
    )
    assert caller.receive(request).body == TRANSCRIPT
    assert server.asked[-1].body == sent
    assert (journaled.only().outcome, journaled.only().model) == (Outcome.FINISHED, "whisper-1")


def part(value: bytes, named: bytes = b'; name="model"') -> bytes:
    return b"--b\r\nContent-Disposition: form-data" + named + b"\r\n\r\n" + value + b"\r\n"


TYPE, END, MODEL = "multipart/form-data; boundary=b", b"--b--\r\n", part(b"whisper-1")


@pytest.mark.parametrize("content_type", [TYPE, 'Multipart/Form-Data; charset=utf-8; Boundary="b"; x=y'])
@pytest.mark.parametrize(
    "form",
    [
        MODEL,
        b"preamble\r\n" + MODEL,
        part(b"\xff" * 2**20, b'; name="file"; filename="a.mp3"') + MODEL,
        part(b"x", b'; filename="a.txt"; name="model"') + MODEL,
        part(b"x" * LONGEST_PART, b'; name="prompt"') + MODEL,
        part(b"whisper-1", b"; name=model"),
        part(b"whisper-1", b'; name="model"\r\nContent-Type: text/plain'),
    ],
)
def test_the_short_fields_of_a_form_are_read_out_of_its_bytes(form: bytes, content_type: str) -> None:
    assert form_in(form + END, content_type) == {"model": "whisper-1"}


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"])
def test_what_is_said_to_be_no_form_is_not_looked_at(content_type: str) -> None:
    assert form_in(MODEL + END, content_type) == {}


def test_of_a_form_only_so_many_parts_are_read_and_no_file_is_copied() -> None:
    many = part(b"1", b'; name="n"') * MOST_PARTS + MODEL + END
    assert form_in(many, TYPE) == {"n": "1"}
    large = part(b"\xff" * 2**24, b'; name="file"; filename="a.mp3"') + MODEL + END
    tracemalloc.start()
    assert form_in(large, TYPE) == {"model": "whisper-1"}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**16


@given(st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"; name=", b'"', b"filename=", b"\xff", b"x"])), st.text())
def test_no_form_whatever_its_bytes_breaks_the_reading(pieces: list[bytes], boundary: str) -> None:
    form_in(b"".join(pieces), TYPE)
    form_in(b"".join(pieces), f"multipart/form-data; boundary={boundary}")
