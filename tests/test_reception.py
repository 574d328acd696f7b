"""What is read of an answer is bounded, in memory and in time, whatever arrives."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat

import pytest

from accounting import eventstream, sse
from accounting.decoding import Decoder, Unreadable
from accounting.formats import Answer, Format, cohere, gemini, openai_chat, openai_embeddings, openai_images
from accounting.limits import MAX_BODY, MAX_EVENT, MAX_UNPACKED
from accounting.reception import Reception
from accounting.usage import UsageSource

MIB = 2**20
BODY = json.dumps({"choices": [], "usage": {"prompt_tokens": 15, "completion_tokens": 210}}).encode()
STREAM = b"data: " + BODY + b"\n\ndata: [DONE]\n\n"
SSE, AMAZON = "text/event-stream", "application/vnd.amazon.eventstream"


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """No more memory than this is held at any time in the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def received(
    chunks: Iterable[bytes],
    kind: str,
    coding: str = "",
    *,
    stripping: bool = False,
    wire_format: Format = openai_chat,
) -> tuple[Answer, bytes]:
    """The answer to chunks as they come, and the last bytes that were passed on."""
    streamed = kind != "application/json"
    reception = Reception(wire_format, streamed=streamed, stripping=stripping)
    reception.headers(200, {"content-type": kind, "content-encoding": coding}, framed=True)
    passed = held = b""
    for chunk in chunks:
        passed, held = reception.read(held, chunk)
    reception.read_rest()
    return reception.answer()[0], passed + held


def bomb(mib: int, wbits: int = 31) -> bytes:
    """So many MiB of spaces in a thousandth of their bytes, and a stream behind them."""
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join([*map(packer.compress, repeat(b" " * MIB, mib)), packer.compress(b"\n\n" + STREAM), packer.flush()])


@pytest.mark.parametrize("stripping", [False, True])
@pytest.mark.parametrize("size", [2**12, 2**16, 25 * MIB])
def test_a_line_of_25_mib_is_held_no_longer_than_an_event_may_be(size: int, stripping: bool) -> None:
    line = b"data: " + b"x" * (25 * MIB) + b"\n\n"
    chunks = [*(line[at : at + size] for at in range(0, len(line), size)), STREAM]
    with at_most(10 * MAX_EVENT if size < MIB else 4 * len(line)):
        answer, _ = received(chunks, SSE, stripping=stripping)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (15, 210)
    assert "event_too_large" in answer.usage.anomalies


@pytest.mark.parametrize("splitter", [sse.Splitter, eventstream.Splitter])
def test_no_splitter_holds_more_than_an_event_may_be(splitter: type[sse.Splitter] | type[eventstream.Splitter]) -> None:
    made = splitter()
    with at_most(4 * MAX_EVENT):
        for chunk in repeat(b"\x7f" * 2**14, 30 * MIB // 2**14):
            made.feed(chunk)
        assert len(made.rest) <= MAX_EVENT


def test_a_compressed_stream_is_unpacked_in_small_pieces() -> None:
    packed = bomb(200)
    assert len(packed) < MIB
    with at_most(10 * MAX_EVENT):
        answer, passed = received([packed], SSE, "gzip")
    assert passed == packed
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (15, 210)


def test_a_compressed_stream_that_unpacks_beyond_reason_is_read_so_far_and_flagged() -> None:
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(STREAM) + packer.flush(zlib.Z_SYNC_FLUSH)
    packed += b"".join(map(packer.compress, repeat(b" " * MIB, MAX_UNPACKED // MIB))) + packer.flush()
    with at_most(10 * MAX_EVENT):
        answer, passed = received([packed], SSE, "gzip")
    assert passed == packed
    assert (answer.usage.input_tokens, answer.usage.source) == (15, UsageSource.PROVIDER)
    assert "body_too_large" in answer.usage.anomalies


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_compressed_body_that_unpacks_beyond_reason_is_flagged(coding: str, wbits: int) -> None:
    packed = bomb(64, wbits)
    with at_most(3 * MAX_BODY):
        answer, _ = received([packed], "application/json", coding)
    assert answer.usage.anomalies == ("body_too_large",)


VECTOR = b',{"object":"embedding","index":1,"embedding":[' + b"0.0123456789," * 1500 + b"0]}"
PICTURE = b'{"b64_json":"' + b"iVBORw0K" * 2**18 + b'"}'
WRITTEN = b',{"index":0,"message":{"role":"assistant","content":"{\\"usage\\": {\\"prompt_tokens\\": 1}}"}}' * 1000


def large(begin: bytes, item: bytes, end: bytes, mib: int = 100) -> Iterator[bytes]:
    """A body of more than so many MiB, in the pieces in which it comes."""
    return chain([begin], repeat(item, mib * MIB // len(item) + 1), [end])


@pytest.mark.parametrize(
    ("wire_format", "begin", "item", "end", "expected"),
    [
        (
            *(openai_embeddings, b'{"object":"list","data":[{}', VECTOR),
            *(b'],"model":"m","usage":{"prompt_tokens":15,"total_tokens":15}}\n', ("m", 15, 0)),
        ),
        (
            *(openai_embeddings, b' {"model":"m","usage":{"total_tokens":15},"data":[{}', VECTOR),
            *(b'],"object":"list"}', ("m", 15, 0)),
        ),
        (
            *(openai_images, b'{"created":1,"data":[{}', b"," + PICTURE),
            *(b'],"size":"auto","usage":{"input_tokens":15,"output_tokens":210}}', (None, 15, 210)),
        ),
        (
            *(gemini, b'{"candidates":[{"content":{"parts":[{}', b"," + PICTURE),
            *(b']}}],"usageMetadata":{"promptTokenCount":15,"candidatesTokenCount":210},"modelVersion":"m"}',),
            ("m", 15, 210),
        ),
        (
            *(cohere, b'{"id":"1","embeddings":{"float":[[0]', b",[" + b"0.0123456789," * 1500 + b"0]"),
            *(b']},"meta":{"billed_units":{"input_tokens":15}}}', (None, 15, 0)),
        ),
        (
            *(openai_chat, b'{"model":"m","choices":[{}', WRITTEN),
            *(b'],"usage":{"prompt_tokens":15,"completion_tokens":210}}', ("m", 15, 210)),
        ),
    ],
)
def test_a_body_of_100_mib_states_its_usage_at_its_ends(
    wire_format: Format, begin: bytes, item: bytes, end: bytes, expected: tuple[str | None, int, int]
) -> None:
    with at_most(3 * MAX_BODY):
        answer, passed = received(large(begin, item, end), "application/json", wire_format=wire_format)
    assert passed == item + end
    assert (answer.model, answer.usage.input_tokens, answer.usage.output_tokens) == expected
    assert answer.usage.anomalies == ()


def test_a_large_body_that_was_compressed_is_read_at_its_ends_too() -> None:
    packer = zlib.compressobj(1, wbits=31)
    body = large(b'{"model":"m","choices":[{}', WRITTEN, b'],"usage":{"prompt_tokens":15}}')
    packed = [*map(packer.compress, body), packer.flush()]
    with at_most(3 * MAX_BODY):
        answer, passed = received(packed, "application/json", "gzip")
    assert passed == b"".join(packed[-2:])
    assert (answer.model, answer.usage.input_tokens) == ("m", 15)


@pytest.mark.parametrize(
    "end", [b'], "n": 1}', b"", b'], "usage": {"prompt_tokens": 1, ', b"]]]", b'{"usage": {"a": 1}}]}']
)
def test_a_large_body_whose_ends_state_no_usage_is_flagged_and_its_model_is_known(end: bytes) -> None:
    body = large(b'{"model":"m","choices":[{}', WRITTEN, end, mib=17)
    answer, _ = received(body, "application/json")
    assert (answer.model, answer.usage.source, answer.usage.anomalies) == (
        "m",
        UsageSource.MISSING,
        ("body_too_large",),
    )


def test_what_follows_the_end_of_a_compressed_body_does_not_pile_up() -> None:
    with at_most(2 * MIB):
        answer, _ = received([gzip.compress(BODY), *repeat(b"x" * 2**14, 1000)], "application/json", "gzip")
    assert answer.usage.output_tokens == 210


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br"])
@pytest.mark.parametrize("kind", ["application/json", SSE, AMAZON])
def test_a_coding_that_is_not_read_costs_nothing(coding: str, kind: str) -> None:
    with at_most(MIB):
        answer, passed = received(repeat(b"\x28\xb5\x2f\xfd" * 2**12, 1000), kind, coding)
    assert passed == b"\x28\xb5\x2f\xfd" * 2**12 * (2 if kind == "application/json" else 1)
    assert answer.usage.source is UsageSource.MISSING
    assert answer.usage.anomalies == (f"encoding_{coding}",)


@pytest.mark.parametrize("wbits", [31, 15, -15])
@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_a_compressed_answer_in_pieces_of_any_size_is_the_same(wbits: int, size: int) -> None:
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(STREAM) + packer.flush()
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
    answer, _ = received(chunks, SSE, "gzip" if wbits == 31 else "deflate")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (15, 210)


def test_a_truncated_gzip_is_read_as_far_as_it_goes() -> None:
    packed = gzip.compress(BODY)
    read = [received([packed[:cut]], "application/json", "gzip")[0].usage for cut in range(len(packed) + 1)]
    whole = next(cut for cut, usage in enumerate(read) if usage.output_tokens == 210)
    assert whole > len(packed) - 12  # its checksum and its length alone may be missing
    assert {usage.source for usage in read[:whole]} == {UsageSource.MISSING}
    assert {usage.anomalies for usage in read[4:whole]} <= {(), ("body_unreadable",)}


def test_pieces_are_all_that_was_packed() -> None:
    data = bytes(range(256)) * 5000
    decoder = Decoder("gzip", len(data))
    assert b"".join(decoder.pieces(gzip.compress(data))) == data
    assert decoder.is_whole
    with pytest.raises(Unreadable, match="body_too_large"):
        Decoder("gzip", len(data) - 1).feed(gzip.compress(data))


@pytest.mark.parametrize("body", [b"null", b" null\n", b" \n"])
def test_an_answer_of_nothing_is_no_broken_one(body: bytes) -> None:
    assert received([body], "application/json")[0].usage.anomalies == ()
