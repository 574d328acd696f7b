import zlib

from hypothesis import given
from hypothesis import strategies as st

from accounting.simulated import wire
from accounting.simulated.answers import Answer, Known, Piece
from accounting.simulated.ledger import Tokens
from accounting.simulated.script import Script

PIECES = (
    Piece(b"data: one\n\n", Known("interrupted", None)),
    Piece(b"data: two\n\n", Known("interrupted", Tokens(2))),
    Piece(b"data: [DONE]\n\n", Known("finished", Tokens(2))),
)
ANSWER = Answer(pieces=PIECES, charged=Tokens(2))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(-40, 40))
def test_chunks_of_any_size_join_to_the_body_up_to_its_cut(sizes: list[int], cut: int) -> None:
    script = Script.parse(f"chunk={','.join(map(str, sizes))}; cut={cut}")
    made = wire.body(ANSWER, script, "")
    end = wire.stop(made, script)
    parts = list(wire.chunks(made, script, end))

    assert b"".join(parts) == made.data[:end]
    assert all(parts)
    assert [len(part) for part in parts[:-1]] == [*sizes, *sizes[-1:] * 40][: max(0, len(parts) - 1)]


def test_an_event_is_known_only_once_it_is_there_whole() -> None:
    made = wire.body(ANSWER, Script(), "")

    assert made.known_at(0) == made.known_at(10) == Known("interrupted", None)
    assert made.known_at(21) == Known("interrupted", None)
    assert made.known_at(22) == Known("interrupted", Tokens(2))
    assert made.known_at(len(made.data)) == Known("finished", Tokens(2))


def test_each_event_can_be_unpacked_as_soon_as_it_is_there() -> None:
    made = wire.body(ANSWER, Script(gzip=True), "gzip, deflate")
    unpacker = zlib.decompressobj(wbits=31)
    starts = (0, *made.ends)

    assert made.encoding == "gzip"
    for start, end, piece in zip(starts, made.ends, PIECES, strict=False):
        assert unpacker.decompress(made.data[start:end]) == piece.data
    assert unpacker.eof


def test_encoding_needs_a_client_that_accepts_it_or_force() -> None:
    assert wire.body(ANSWER, Script(gzip=True), "identity").encoding == ""
    assert wire.body(ANSWER, Script(gzip=True, forced=True), "identity").encoding == "gzip"
    assert wire.body(ANSWER, Script(deflate=True), "gzip, deflate").encoding == "deflate"
