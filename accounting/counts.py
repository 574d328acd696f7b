"""Counts read out of a provider's block, with whatever is off about them.

The rules: an absent count is unknown. A numeric text or a fraction is taken, rounded up, and flagged. A negative, a
bool, NaN, or more than `MAX_COUNT` is unknown, and flagged. Of two counts of one name the last one holds, flagged.
Nothing here raises, whatever the block.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from accounting.usage import MAX_BLOCK, MAX_COUNT


@dataclass(frozen=True, slots=True)
class Reading:
    """One place in a block that was looked at and held something: the path of its keys, what stood there, what of it
    was taken (None where it could not be, or is in no count)."""

    path: tuple[str, ...]
    stated: object
    taken: int | None


_watched: ContextVar[list[Reading] | None] = ContextVar("accounting_readings", default=None)


@contextmanager
def watched() -> Iterator[list[Reading]]:
    """Every reading made in the block of code, in order: for showing people what was read from where."""
    readings: list[Reading] = []
    token = _watched.set(readings)
    try:
        yield readings
    finally:
        _watched.reset(token)


class Doubled(dict[str, Any]):
    """A JSON object in which, or somewhere in which, a name stands twice; its values are the last ones, as JSON's
    parsers have it."""


class Counts:
    """Reads token counts out of a provider's block and notes whatever is off about them."""

    def __init__(self) -> None:
        self.anomalies: list[str] = []
        self._readings = _watched.get()
        self._place: tuple[str, ...] = ()

    def below(self, *place: str) -> "Counts":
        """The same, for the object at this place of the block; what is off about it is noted with the rest."""
        inner = Counts()
        inner.anomalies, inner._place = self.anomalies, (*self._place, *place)
        return inner

    def flag(self, anomaly: str) -> None:
        if anomaly not in self.anomalies:
            self.anomalies.append(anomaly)

    def read(self, block: object, *path: str) -> int | None:
        """The whole number at the path, or None where there is none.

        A numeric string or a fraction (rounded up) is taken and flagged; a negative, a bool, NaN, or more
        than `MAX_COUNT` is unknown, and flagged.
        """
        value: object = block
        for step in path:
            if type(value) is not dict and (value is None or not isinstance(value, Mapping)):  # as `wire.at`
                return None
            value = value.get(step)
        if type(value) is int and 0 <= value <= MAX_COUNT and self._readings is None:  # a call less for what is usual
            return value
        return None if value is None else self.take(value, *path)

    def take(self, value: object, *path: str) -> int | None:
        """The same of what stands at the path, where that was looked up already."""
        if type(value) is int:
            taken = value if 0 <= value <= MAX_COUNT else self.bounded(value, path[-1])
        else:
            taken = self._odd(value, path[-1])
        if self._readings is not None:
            self._readings.append(Reading((*self._place, *path), value, taken))
        return taken

    def took(self, taken: int | None, *path: str) -> None:
        """What of the place was taken in the end, where a rule leaves out some of it, or all (None)."""
        if self._readings is not None:
            self._readings[:] = [replace(one, taken=taken) if one.path == path else one for one in self._readings]

    def bounded(self, value: int | None, name: str) -> int | None:
        """The number, or None where it is no count: a sum of counts may be past what each may be."""
        if value is None:
            return None
        if value < 0:
            self.flag(f"{name}_negative")
            return None
        if value > MAX_COUNT:
            self.flag(f"{name}_too_large")
            return None
        return value

    def _odd(self, value: object, name: str) -> int | None:
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value):
            self.flag(f"{name}_text")
            return self.bounded(int(value), name)
        if isinstance(value, float | Decimal) and _is_finite(value):
            return self._rounded_up(value, name)
        self.flag(f"{name}_unreadable")
        return None

    def _rounded_up(self, value: float | Decimal, name: str) -> int | None:
        if not 0 <= value <= MAX_COUNT:  # and it may have more digits than a whole number can be made of in time
            return self.bounded(-1 if value < 0 else MAX_COUNT + 1, name)
        self.flag(f"{name}_fraction")
        return self.bounded(math.ceil(value), name)


def _is_finite(value: float | Decimal) -> bool:
    return math.isfinite(value) if isinstance(value, float) else value.is_finite()


def within(part: int | None, whole: int | None, counts: Counts, anomaly: str) -> int | None:
    """The part, clamped to the whole it belongs to; a larger one is flagged."""
    if part is None or whole is None or part <= whole:
        return part
    counts.flag(anomaly)
    return whole


def _encoder() -> Callable[[object], str]:
    """What writes a block: `JSONEncoder.encode`, which makes its C part anew for every value, or that part once."""
    plain = json.JSONEncoder(separators=(",", ":"), default=str, check_circular=False)  # a circle is too deep
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    write = make(None, str, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda block: "".join(write(block, 0))


_encode = _encoder()


def block_text(block: object, counts: Counts) -> str:
    """The usage block as JSON text, in ASCII; one past `MAX_BLOCK` is cut and flagged, and so is any text in it that is
    longer than tiers and kinds are: it may be what somebody said, which is none of the books'."""
    text = _encode(block)
    if _MAY_BE_LONG.search(text) or "\\" in text:
        text = _without_long_texts(text, counts)
    if len(text) <= MAX_BLOCK:
        return text
    counts.flag("block_too_large")
    return text[:MAX_BLOCK]


MAX_BLOCK_TEXT = 64

_MAY_BE_LONG = re.compile(rf'"[^"]{{{MAX_BLOCK_TEXT + 1}}}')
_TEXT = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")(:?)')
"""One in JSON as it is written here; a colon right behind it makes it a name."""


def _without_long_texts(encoded: str, counts: Counts) -> str:
    cut = _TEXT.sub(lambda found: found[0] if found[2] else _shortened(found[1]), encoded)
    if cut != encoded:
        counts.flag("block_text_cut")
    return cut


_NUMBER = re.compile(r'"-?[\d.]+(?:E[-+]?\d+)?"')  # as a fraction is written that was read to its last digit


def _shortened(written: str) -> str:
    said: str = json.loads(written)
    is_short = len(said) <= MAX_BLOCK_TEXT or _NUMBER.fullmatch(written)
    return written if is_short else _encode(said[:MAX_BLOCK_TEXT] + "…")
