"""Requests that are forms, as those for transcripts are: their bytes are never in memory, their plain fields are."""

import pytest

from accounting.outgoing import form_of
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
