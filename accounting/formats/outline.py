"""What a body tells that is too large to be parsed: the fields that stand whole at its start or its end.

A batch of embeddings and a few large pictures get there, and their usage comes before them or after. What is kept of
them is bounded, however large they are.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal

from accounting.formats.wire import is_too_deep, loads

KEPT = 64 * 2**10
"""Bytes kept of either end. Beside the usage a Responses body repeats the request's tools."""


class Outline:
    """A body as its pieces come by."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._head = b""
        self._tail = bytearray()

    def feed(self, piece: bytes | bytearray) -> None:
        self._head += piece[: self._kept - len(self._head)]
        self._tail += piece[-self._kept :]
        del self._tail[: -self._kept]

    def fields(self) -> Mapping[str, object]:
        """Of the object that the body is, as far as they are known; the first that is cut is None.

        Of one that stands within another nothing is told: the depth is followed from either end.
        """
        head, tail = (end.decode("utf-8", "replace") for end in (self._head, self._tail))
        return {**_first(head), **_last(tail)}


_OPENING = re.compile(r"\ufeff?\s*\{")
_BETWEEN = re.compile(r"[\s:,]*")
_value_at = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal).raw_decode


def _first(text: str) -> dict[str, object]:
    """Those that the text begins with."""
    opening, fields = _OPENING.match(text), dict[str, object]()
    if opening is None or is_too_deep(text):
        return fields
    at = opening.end()
    with suppress(ValueError, ArithmeticError, RecursionError):  # where the text is cut, or the object ends
        while True:
            name, at = _value_at(text, _skip(text, at))
            fields[str(name)] = None
            value, at = _value_at(text, _skip(text, at))
            fields[str(name)] = value if at < len(text) else None  # a number might go on
    return fields


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _last(text: str) -> Mapping[str, object]:
    """Those that the text ends with."""
    sizes = list(_since_names(text[::-1]))
    fields = loads("{" + text[-sizes[-1] :]) if sizes else None
    return fields if isinstance(fields, Mapping) else {}


_BACKWARDS = re.compile(r'(:\s*)?"[^"]*+(?:"(?=\\)[^"]*+)*+("?)|[\[\]{}]')
"""A name, a text or a bracket, read from the end: a quote inside of a text has a backslash before it."""


def _since_names(backwards: str) -> Iterator[int]:
    """How many characters of an object there are since each of its own names, from the last one on."""
    depth = 0
    for found in _BACKWARDS.finditer(backwards):
        if found[0] in "]}":
            depth += 1
        elif found[0] in "[{":
            depth -= 1
        elif depth == 1 and found[1] and found[2] and found.end() < len(backwards):  # or a backslash may be cut off
            yield found.end()
        if depth == 0:
            return


def outline_of(body: bytes) -> Mapping[str, object]:
    """The same of a body that is there."""
    outline = Outline()
    outline.feed(body)
    return outline.fields()
