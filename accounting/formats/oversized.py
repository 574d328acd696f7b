"""What the end of an event tells that is too large to be parsed: of a long answer, repeated whole, its counts.

What is kept of it is bounded, however large it is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache

from accounting.limits import MAX_DEPTH

HEAD = 1024
"""Bytes at the start of an event in which its kind is looked for."""
TAIL = 64 * 2**10
"""Bytes at the end of an event in which its counts are looked for; a request's tools are repeated before them."""
LONGEST = 16 * 2**10
"""Characters of a single value there."""
_TRIES = 4

_KIND = re.compile(rb'^event: ?(?!message\s)(\S+)|"type"\s*:\s*"([\w.]+)"', re.MULTILINE)
_END = re.compile(rb"(?>\r\n|\r|\n)(?:\r\n?|\n)\Z")
_value_at = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal).raw_decode


class Oversized:
    """One event as its pieces come by."""

    def __init__(self) -> None:
        self.head = b""
        self._tail = bytearray()

    def feed(self, piece: bytes) -> bool:
        """Whether this was the last one."""
        self.head += piece[: HEAD - len(self.head)]
        self._tail += piece
        del self._tail[:-TAIL]
        return _END.search(self._tail[-4:]) is not None

    @property
    def kind(self) -> str:
        """The event's name, or its data's first `type`; empty where it begins with neither."""
        found = _KIND.search(self.head)
        return (found[1] or found[2]).decode("utf-8", "replace") if found else ""

    def last(self, openings: Mapping[str, str]) -> dict[str, object]:
        """Of each name the last value in what was kept that can be read; names by how such a value opens.

        In the text of a JSON string a name can't be met: there the quotes around it are escaped.
        """
        text = self._tail.decode("utf-8", "replace")
        found = ((name, next(_values(text, name, opening), None)) for name, opening in openings.items())
        return {name: value for name, value in found if value is not None}


def _values(text: str, name: str, opening: str) -> Iterator[object]:
    """From the last one back."""
    places = [found.end() for found in _named(name, opening).finditer(text)]
    for place in reversed(places[-_TRIES:]):
        begun = text[place : place + LONGEST]
        if begun.count("{") + begun.count("[") > MAX_DEPTH:
            continue
        try:
            value, _ = _value_at(begun)
        except (ValueError, ArithmeticError, RecursionError):
            continue
        yield value


@cache
def _named(name: str, opening: str) -> re.Pattern[str]:
    return re.compile(rf'"{name}"\s*:\s*(?={re.escape(opening)})')
