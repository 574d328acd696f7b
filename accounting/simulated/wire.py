"""An answer as the bytes of an HTTP body: encoded, measured, divided."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from accounting.simulated.answers import Answer, Known
from accounting.simulated.script import Script


@dataclass(frozen=True, slots=True)
class Body:
    """A body's bytes as sent, and where in them each piece ends."""

    data: bytes
    ends: tuple[int, ...]
    known: tuple[Known, ...]
    before: Known
    encoding: str = ""

    def known_at(self, offset: int) -> Known:
        """What a client knows that has the bytes up to the offset."""
        whole = [known for end, known in zip(self.ends, self.known, strict=True) if end <= offset]
        return whole[-1] if whole else self.before


def body(answer: Answer, script: Script, accepted: str) -> Body:
    """The answer's body, encoded where the script wants it and the request accepts it."""
    encoding = "gzip" if script.gzip else "deflate" if script.deflate else ""
    if encoding not in accepted and not script.forced:
        encoding = ""
    parts = [piece.data for piece in answer.pieces]
    parts = _compressed(parts, encoding) if encoding and parts else parts
    known = tuple(piece.known for piece in answer.pieces)
    return Body(b"".join(parts), tuple(accumulate(map(len, parts))), known, answer.before, encoding)


def _compressed(parts: list[bytes], encoding: str) -> list[bytes]:
    """Flushed after each part, so that a client can read an event as soon as it is there."""
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    packed = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts[:-1]]
    return [*packed, packer.compress(parts[-1]) + packer.flush()]


def stop(made: Body, script: Script) -> int:
    """How many bytes of the body are sent."""
    place = script.cut or script.stall
    return len(made.data) if place is None else place.at(made.ends)


def chunks(made: Body, script: Script, end: int) -> Iterator[bytes]:
    """The body up to the end in the sizes that the script wants, else an event at a time."""
    start = 0
    for stop in _borders(made, script, end):
        yield made.data[start:stop]
        start = stop


def _borders(made: Body, script: Script, end: int) -> Iterator[int]:
    if not script.chunk:
        yield from (border for border in made.ends if border < end)
    else:
        at = 0
        for number in range(end):
            at += script.chunk[min(number, len(script.chunk) - 1)]
            if at >= end:
                break
            yield at
    if end:
        yield end
