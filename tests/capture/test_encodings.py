"""Compressed answers: read from a copy of our own, bounded, and never in a coding that we can't read."""

import gzip
import tracemalloc
import zlib

import pytest

from accounting import capture, reception
from accounting.decoding import Decoder
from accounting.limits import MAX_BODY
from accounting.usage import Outcome, Usage, UsageSource
from tests.capture.answers import ASK, ASK_STREAM, CHAT, JSON, OPENAI, OPENAI_UNCOUNTED
from tests.capture.callers import Caller
from tests.capture.conftest import Journaled, MakeCaller
from tests.capture.wire import Server, chunked, head, plain, stream

PACKED = gzip.compress(JSON, mtime=0)
RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATED = RAW.compress(JSON) + RAW.flush()


@pytest.mark.parametrize(
    ("caller_accepts", "sent"),
    [
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.8"),
        ("zstd, br", "identity"),
        ("gzip, deflate", "gzip, deflate"),
        ("identity", "identity"),
    ],
)
def test_only_codings_that_we_read_are_asked_for(
    caller_accepts: str, sent: str, server: Server, caller: Caller
) -> None:
    server.says(plain(JSON))
    caller.post(server.url + CHAT, ASK, accept_encoding=caller_accepts)
    assert server.asked[0].headers["accept-encoding"] == sent


def test_a_request_that_is_no_call_keeps_the_codings_it_accepts(server: Server, caller: Caller) -> None:
    server.says(plain(b"{}"))
    caller.receive(caller.request(server.url + "/v1/models", method="GET", headers={"accept-encoding": "br"}))
    assert server.asked[0].headers["accept-encoding"] == "br"


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", PACKED), ("GZIP", PACKED), ("deflate", zlib.compress(JSON)), ("deflate", RAW_DEFLATED)],
    ids=["gzip", "upper", "zlib", "raw"],
)
def test_a_compressed_body_is_read(
    coding: str, body: bytes, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(body, 200, f"content-encoding: {coding}"))
    assert caller.post(server.url + CHAT, ASK).body == body
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens) == (Outcome.FINISHED, 9)
    assert call.bytes_out == len(body)


@pytest.mark.parametrize("wbits", [31, 15, -15], ids=["gzip", "zlib", "raw"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_compressed_body_is_read_in_pieces_of_any_size(wbits: int, size: int) -> None:
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(JSON) + packer.flush()
    decoder = Decoder("gzip" if wbits == 31 else "deflate", len(JSON))
    pieces = [decoder.feed(packed[start : start + size]) for start in range(0, len(packed), size)]
    assert (b"".join(pieces), decoder.is_whole) == (JSON, True)


@pytest.mark.parametrize("cut", [1, 8, 9, len(PACKED) - 20])
def test_a_body_that_ends_before_its_compression_does_is_interrupted(
    cut: int, server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(PACKED[:-cut], 200, "content-encoding: gzip"))  # its length is right, its end is missing
    assert caller.post(server.url + CHAT, ASK).error is None
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


def test_a_compressed_body_that_is_broken_passes_and_is_flagged(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    broken = PACKED[:30] + b"\0\0\0\0" + PACKED[34:]
    server.says(plain(broken, 200, "content-encoding: gzip"))
    assert caller.post(server.url + CHAT, ASK).body == broken
    assert "encoding_broken" in journaled.only().usage.anomalies


def test_a_stream_cut_in_a_coding_we_cannot_read_is_interrupted(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(stream(b"??", "content-encoding: br")[:-3])
    assert caller.post(server.url + CHAT, ASK_STREAM).error == "RemoteProtocolError"
    assert journaled.outcomes() == [Outcome.INTERRUPTED]


def test_a_body_that_unpacks_beyond_reason_is_flagged_and_never_unpacked_whole(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**20)
    bomb = b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()  # 256 MB in 260 KB
    server.says(plain(bomb, 200, "content-encoding: gzip"))
    tracemalloc.start()
    try:
        assert caller.post(server.url + CHAT, ASK).body == bomb
        assert tracemalloc.get_traced_memory()[1] < 6 * MAX_BODY
    finally:
        tracemalloc.stop()
    call = journaled.only()
    assert call.outcome is Outcome.FINISHED
    assert call.usage.anomalies == ("body_too_large",)


def test_a_body_above_the_limit_is_read_at_its_ends(
    server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "MAX_BODY", len(JSON) - 1)
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK).body == JSON
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens, call.usage.anomalies) == (Outcome.FINISHED, 9, ())


def test_a_body_above_the_limit_that_states_none_there_passes_unread_and_is_flagged(
    server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "MAX_BODY", 2**17)
    long = b"[" + JSON + b" " * 2**17 + b"]"
    server.says(plain(long))
    assert caller.post(server.url + CHAT, ASK).body == long
    call = journaled.only()
    assert (call.outcome, call.usage.anomalies) == (Outcome.FINISHED, ("body_too_large",))


def test_a_stream_may_be_longer_than_any_body(
    server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "MAX_BODY", 200)
    server.says(stream(OPENAI))
    caller.post(server.url + CHAT, ASK_STREAM)
    assert journaled.only().usage.input_tokens == 9


def test_a_compressed_stream_that_the_caller_asked_for_is_read(
    server: Server, make_caller: MakeCaller, journaled: Journaled
) -> None:
    packed = gzip.compress(OPENAI, mtime=0)
    server.says(head(200, "content-type: text/event-stream", "content-encoding: gzip", "transfer-encoding: chunked"))
    server.says(stream(packed, "content-encoding: gzip"))
    assert make_caller().metered(ask_for_usage=False).post(server.url + CHAT, ASK_STREAM).body == packed
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens) == (Outcome.FINISHED, 9)


def test_a_whole_body_in_answer_to_a_stream_is_read_as_one(
    server: Server, caller: Caller, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == JSON
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens) == (Outcome.FINISHED, 9)


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["plain", "stream"])
def test_a_whole_answer_in_a_coding_we_cannot_read_is_finished_without_its_usage(
    ask: object, server: Server, caller: Caller, journaled: Journaled
) -> None:
    answer = plain(b"??", 200, "content-encoding: br") if ask is ASK else stream(b"??", "content-encoding: br")
    server.says(answer)
    assert caller.post(server.url + CHAT, ask).body == b"??"
    call = journaled.only()
    assert (call.outcome, call.usage.source) == (Outcome.FINISHED, UsageSource.MISSING)
    assert "encoding_br" in call.usage.anomalies


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_an_answer_that_says_it_is_not_encoded_is_not(coding: str, server: Server, caller: Caller) -> None:
    server.says(stream(OPENAI, f"content-encoding: {coding}"))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == OPENAI_UNCOUNTED
    assert capture._declined == set()


@pytest.mark.parametrize("kind", ["", "text/plain; charset=utf-8", "Text/Event-Stream;charset=utf-8"])
def test_a_stream_is_read_as_one_though_its_server_calls_it_something_else(
    kind: str, server: Server, caller: Caller, journaled: Journaled
) -> None:
    lines = [f"content-type: {kind}"] if kind else []
    server.says(head(200, "transfer-encoding: chunked", *lines) + chunked(OPENAI, 40))
    assert caller.post(server.url + CHAT, ASK_STREAM).body == OPENAI_UNCOUNTED
    call = journaled.only()
    assert (call.outcome, call.usage.input_tokens) == (Outcome.FINISHED, 9)


def test_speech_and_pictures_are_not_read_as_text(
    server: Server, caller: Caller, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    monkeypatch.setattr("accounting.capture.loads", lambda body: read.append(body))
    server.says(plain(b"\xff\xfb" * 100, kind="audio/mpeg"))
    assert caller.post(server.url + "/v1/audio/speech", ASK).body == b"\xff\xfb" * 100
    call = journaled.only()
    assert (call.outcome, call.usage) == (Outcome.FINISHED, Usage(anomalies=("usage_absent",)))
    assert len(read) == 1  # the request
