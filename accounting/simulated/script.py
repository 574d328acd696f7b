"""What a request wants to be answered with: its `x-simulate` header.

    x-simulate: output=210; usage=reasoning-over-output; chunk=1; cut=-5

Words are parted by `;`. Without the header a request gets a plain, whole answer. The same question (model and
messages) gets the same answer, to the byte.

which tokens        input= cached= written= output= reasoning=   counts; else made up from the question
                    fit                       made-up input fits the question, and the answer's text its output
which answer        recorded                  the real GLM-5 answer
                    body=NAME                 the bytes put into `Simulator.bodies` under the name, as they are
                    usage=BLOCK               the shape of the usage block: see `blocks.BLOCKS`
                    place=PLACE               where a stream has its usage: see `blocks.PLACES`
                    error | error=usage       an error object inside a 200 answer; with usage beside it
                    events=N                  pieces of text in a stream
                    no-end                    the stream ends without [DONE] or message_stop
                    no-null                   other chunks don't say "usage": null where usage was asked for
                    crlf | cr, bom, comments  other line ends, a byte order mark, comments and pings
which status        status=N                  an error answer; retry-after=SECONDS goes with it
                    redirect=N                to the same place once more, with that status
                    refuse-usage              400 to a request that has stream_options
which bytes         gzip | deflate            encoded, if the request accepts it; `forced`: even if not
                    chunk=N | chunk=N,M,…     bytes sent at a time; the last size goes on
                    length | until-close      framed by Content-Length, or by the end of the connection
which fate          wait=S, pause=S           seconds before the status line, and between the chunks
                    cut=AT                    the connection ends there, unannounced; `reset`: by a reset
                    stall=AT                  nothing more comes until the client leaves
                    drop                      the connection ends before a status line
                    close                     the connection ends after the answer
                    times=N                   so for the first N requests of the kind; then a plain answer

AT is a place in the body's bytes as sent: an offset (negative: from the end), a share like 50%, or `event3`, the
end of the third event.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from accounting.simulated.blocks import BLOCKS, PLACES


class ScriptUnreadable(ValueError):
    """A word of the header that means nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a body that is yet to be made."""

    text: str

    def at(self, ends: Sequence[int]) -> int:
        """The offset in a body whose events end at `ends`."""
        size = ends[-1] if ends else 0
        if self.text.startswith("event"):
            return ends[min(int(self.text[5:]), len(ends)) - 1] if int(self.text[5:]) else 0
        if self.text.endswith("%"):
            return size * int(self.text[:-1]) // 100
        offset = int(self.text)
        return max(0, size + offset) if offset < 0 else min(offset, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The header, read. Names are its words."""

    input: int | None = None
    cached: int | None = None
    written: int | None = None
    output: int | None = None
    reasoning: int | None = None
    fit: bool = False
    recorded: bool = False
    body: str | None = None
    usage: str = "plain"
    place: str = "extra"
    error: str = ""
    events: int = 5
    no_end: bool = False
    no_null: bool = False
    crlf: bool = False
    cr: bool = False
    bom: bool = False
    comments: bool = False
    status: int = 200
    retry_after: str = ""
    redirect: int | None = None
    refuse_usage: bool = False
    gzip: bool = False
    deflate: bool = False
    forced: bool = False
    chunk: tuple[int, ...] = ()
    length: bool = False
    until_close: bool = False
    wait: float = 0
    pause: float = 0
    cut: Place | None = None
    reset: bool = False
    stall: Place | None = None
    drop: bool = False
    close: bool = False
    times: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Script":
        """Raises `ScriptUnreadable`, naming the word."""
        words = [word.strip() for word in text.split(";") if word.strip()]
        script = cls(**dict(_read(word) for word in words))
        _one_of(script.usage, BLOCKS)
        _one_of(script.place, PLACES)
        return script

    @property
    def eol(self) -> str:
        return "\r\n" if self.crlf else "\r" if self.cr else "\n"


def _one_of(name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ScriptUnreadable(f"x-simulate: {name!r} is none of {', '.join(known)}")


def _place(text: str) -> Place:
    if not re.fullmatch(r"-?\d+|\d+%|event\d+", text):
        raise ValueError("expected an offset, a share like 50% or an event like event3")
    return Place(text)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in text.split(","))
    if min(sizes) < 1:
        raise ValueError("expected sizes of 1 and more")
    return sizes


_KINDS: dict[Any, Callable[[str], Any]] = {
    int | None: int,
    int: int,
    float: float,
    str: str,
    str | None: str,
    tuple[int, ...]: _sizes,
    Place | None: _place,
}
_WORDS = {field.name.replace("_", "-"): field for field in fields(Script)}
_BARE = {"error": "plain"}


def _read(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    try:
        field = _WORDS[name]
    except KeyError:
        raise ScriptUnreadable(f"x-simulate: {name!r} is none of {', '.join(_WORDS)}") from None
    if field.type is bool:
        if equals:
            raise ScriptUnreadable(f"x-simulate: {name} takes no value")
        return field.name, True
    try:
        return field.name, _KINDS[field.type](value if equals else _BARE[name])
    except (KeyError, ValueError) as error:
        raise ScriptUnreadable(f"x-simulate: {word!r}: {error}") from error
