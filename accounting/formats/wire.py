"""What every wire format offers, and how one reads JSON that somebody else wrote."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from accounting.counts import Counts, Doubled, block_text, within
from accounting.limits import MAX_DEPTH
from accounting.money import Money, exact
from accounting.sse import Event
from accounting.usage import MAX_COUNT, MAX_TEXT, Usage, UsageSource, clean

MAX_REQUEST_NUMBER = 2**53
MAX_COST = 10**9
MAX_COST_DECIMALS = 30
"""What the books hold; a call that states more would be refused there."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for; None where it doesn't say."""

    model: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    effort: str | None = None


class SubCall(NamedTuple):
    """What another model used inside a response, beside the usage of the response itself; it is no request more."""

    model: str
    usage: Usage


class Answer(NamedTuple):
    """What a response says of itself.

    `failed`: an error object came under a status of success. `pending`: the answer is still being made, and a later
    poll will tell what it used. `service_tier` is the one that served it.
    """

    model: str | None = None
    id: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    failed: bool = False
    pending: bool = False
    service_tier: str | None = None
    sub_calls: tuple[SubCall, ...] = ()


def sub_call(model: str, usage: Usage) -> SubCall:
    """One whose answer is no request more than the one it is in."""
    return SubCall(model, usage._replace(requests=None))


class StreamSplitter(Protocol):
    """Cuts a streamed body into events, whatever its framing; never raises, and changes no byte."""

    @property
    def rest(self) -> bytes:
        """The bytes of the event that isn't complete yet."""

    def feed(self, chunk: bytes) -> list[Event]: ...


class StreamReader(Protocol):
    """Reads one streamed answer, event by event; never raises, whatever the bytes."""

    terminal: bool
    """The protocol's last event was seen."""
    may_end: bool
    """All that an answer must have was seen, but no event is known to be the last: the end of the body tells."""
    usage_only: bool
    """The last event fed carries usage and nothing else. A tail shares it with the event before."""
    token_seen: bool
    """The answer has begun: the model's first content was seen."""

    def feed(self, event: Event) -> None: ...

    def answer(self) -> Answer:
        """What is known so far; usage is `partial` where the final counts were still to come."""


class Format(Protocol):
    """One wire format: a module with these names is one."""

    name: str
    suffixes: tuple[str, ...]
    """How the paths of its endpoints end, without the leading slash; `*` stands for one segment."""
    providers: tuple[str, ...]
    """Whose dialect it is, by the names of `providers.toml`; empty: everybody's who has none of their own."""

    def ask(self, body: Mapping[str, Any], path: str) -> Ask:
        """`body` is a form's plain fields where the request is one, and empty where it is no JSON object in memory
        either; some name the model in the path alone."""

    def asking_for_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The request body that also asks for usage; None where it already does, or needn't."""

    def answer(self, body: object) -> Answer:
        """Of a whole body as `loads` gives it, whatever it is."""

    def stream(self) -> StreamReader: ...


def loads(data: bytes | str) -> object | None:
    """The JSON value, its fractions as exact decimals; None where it can't be read. Never raises.

    Bytes that are no UTF-8 are replaced, NaN is taken as such, and a number beyond reason is kept as it can be: one
    bad character or number in an answer must not cost us its usage. An object with a name that stands twice, in an
    answer that states usage, is `Doubled`, and so is what it is in.
    """
    characters = data if isinstance(data, str) else data.decode("utf-8", "replace")
    characters = characters.removeprefix("\ufeff")
    if is_too_deep(characters):
        return None
    try:
        value: object = _decoder(characters).decode(characters)
    except json.JSONDecodeError:
        return None
    except (ValueError, ArithmeticError):  # a number of too many digits, or a name that stands twice
        return _loads_anything(characters)
    except RecursionError:
        return None
    return value


def _loads_anything(characters: str) -> object | None:
    """The same at thrice the cost, whatever the numbers and names."""
    try:
        value: object = _ANYTHING.decode(characters)
    except (ValueError, RecursionError):
        return None
    return value


def _decoder(characters: str) -> json.JSONDecoder:
    if not 0 < sys.get_int_max_str_digits() <= MAX_DIGITS:
        return _ANYTHING  # Python's own bound, without which a number's digits cost their square, is off
    return _COUNTING if '"usage' in characters else _PLAIN


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("A name stands twice")
    return made


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return Doubled(made) if any(isinstance(value, Doubled) for value in made.values()) else made
    times = Counter(name for name, _ in pairs)
    marked = {name: Doubled(made[name]) for name in times if times[name] > 1 and isinstance(made[name], dict)}
    return Doubled(made | marked)


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= MAX_DIGITS else Decimal(digits)


def _fraction(digits: str) -> Decimal | str:
    try:
        return Decimal(digits)
    except ArithmeticError:  # an exponent beyond reason
        return digits


MAX_DIGITS = 4300
"""Python's own default: whole numbers of up to so many digits are parsed at no cost to speak of."""

_PLAIN = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal)
_COUNTING = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_once)
_ANYTHING = json.JSONDecoder(parse_float=_fraction, parse_int=_whole, parse_constant=Decimal, object_pairs_hook=_marked)


def is_too_deep(characters: str) -> bool:
    """Whether the nesting is past `MAX_DEPTH` where Python would follow it: a program may have raised its limit so
    far that the C stack ends first, and the process with it."""
    if sys.getrecursionlimit() <= 3 * MAX_DEPTH or characters.count("[") + characters.count("{") <= MAX_DEPTH:
        return False
    levels = (_LEVELS.get(found[0], 0) for found in _STRUCTURE.finditer(characters))
    return any(depth > MAX_DEPTH for depth in accumulate(levels))


_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_LEVELS = {"[": 1, "{": 1, "]": -1, "}": -1}


def at(value: object, *path: str) -> Any:
    """What lies at the path of keys; None where there is nothing."""
    for key in path:
        # The last test costs ten times the others.
        if type(value) is not dict and (value is None or not isinstance(value, Mapping)):
            return None
        value = value.get(key)
    return value


def fields(value: object) -> Mapping[str, Any]:
    """The fields of an object; none of anything else."""
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def text(value: object) -> str | None:
    """The text, in a form every store keeps; None for the empty one and for anything else.

    It is bounded in bytes, too: books find a row by provider, model and effort together.
    """
    kept = clean(value) if isinstance(value, str) and value else None
    return kept if kept is None or kept.isascii() else kept.encode()[:MAX_TEXT].decode("utf-8", "ignore")


def whole(value: object) -> int | None:
    """The number a request gave; None for what is no whole number in range."""
    return value if type(value) is int and 0 <= value <= MAX_REQUEST_NUMBER else None


def provider_cost(value: object, currency: str, counts: Counts) -> Money | None:
    """What the provider says the call cost, to the digit it wrote; flagged where that is no sum of money."""
    if value is None:
        return None
    amount = _amount(value)
    if amount is None:
        counts.flag("cost_unreadable")
        return None
    return Money(amount, currency)


def _amount(value: object) -> Decimal | None:
    if isinstance(value, float):  # of a body that somebody else parsed; its shortest text is what was written
        value = repr(value)
    if not isinstance(value, str | int | Decimal):
        return None
    try:
        amount = exact(value)
    except ValueError:
        return None
    decimals = -int(amount.as_tuple().exponent)
    return amount if 0 <= amount <= MAX_COST and decimals <= MAX_COST_DECIMALS else None


def stated_usage(
    block: object,
    counts: Counts,
    *,
    input_tokens: int | None = None,
    cache_read: int | None = None,
    cache_write: int | None = None,
    cache_write_1h: int | None = None,
    audio_input: int | None = None,
    image_input: int | None = None,
    output_tokens: int | None = None,
    reasoning: int | None = None,
    audio_output: int | None = None,
    image_output: int | None = None,
    web_searches: int | None = None,
    images: int | None = None,
    audio_seconds: int | None = None,
    cost: Money | None = None,
    final: bool = True,
) -> Usage:
    """The usage that a block states, its parts held within their wholes.

    `input_tokens` and `output_tokens` are inclusive. A part whose whole is unknown is unknown too, or it would be
    priced without it; audio and images of the input may overlap what came from a cache, which is taken to come first.
    `final` False: the counts are those of an answer that was still going on.
    """
    kept, searches = kept_block(block, counts), counts.bounded(web_searches, "web_searches")
    stated = Usage(  # by place: to find eighteen names takes longer than all the arithmetic
        input_tokens,
        cache_read,
        cache_write,
        output_tokens,
        reasoning,
        _FINAL if final else _PARTIAL,
        tuple(counts.anomalies),
        kept,
        cost,
        cache_write_1h,
        audio_input,
        image_input,
        audio_output,
        image_output,
        1,
        searches,
        images,
        audio_seconds,
    )
    return stated if adds_up(stated) else clamped(stated, counts)


_FINAL, _PARTIAL = UsageSource.PROVIDER, UsageSource.PARTIAL  # before Python 3.12 to look a member up takes 0.1 µs


def adds_up(stated: Usage) -> bool:
    """Whether both wholes are known and hold their parts, so that `clamped` changes nothing: true of most answers."""
    tokens_in, read, write, tokens_out, reasoning = stated[:5]
    write_1h, audio_in, image_in, audio_out, image_out = stated[9:14]
    if tokens_in is None or tokens_out is None or (write_1h is not None and (write is None or write_1h > write)):
        return False
    parts_in = (read or 0) + (write or 0) + (audio_in or 0) + (image_in or 0)
    parts_out = (reasoning or 0) + (audio_out or 0) + (image_out or 0)
    return parts_in <= tokens_in <= MAX_COUNT and parts_out <= tokens_out <= MAX_COUNT


def clamped(stated: Usage, counts: Counts) -> Usage:
    """The same, its parts held within their wholes, and what is missing or off named."""
    input_tokens = counts.bounded(stated.input_tokens, "input")
    output_tokens = counts.bounded(stated.output_tokens, "output")
    fresh, rest = _Rest(input_tokens, counts), _Rest(output_tokens, counts)
    read = fresh.part(stated.cache_read_tokens, "cached_exceeds_input")
    write = fresh.part(stated.cache_write_tokens, "cache_write_exceeds_input")
    source = _source(input_tokens, output_tokens, stated, counts)
    return stated._replace(
        input_tokens=input_tokens,
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=output_tokens,
        reasoning_tokens=rest.part(stated.reasoning_tokens, "reasoning_exceeds_output"),
        cache_write_1h_tokens=_Rest(write, counts).part(
            stated.cache_write_1h_tokens, "cache_write_1h_exceeds_cache_write"
        ),
        audio_input_tokens=fresh.overlapping(stated.audio_input_tokens, "audio_exceeds_input"),
        image_input_tokens=fresh.overlapping(stated.image_input_tokens, "images_exceed_input"),
        audio_output_tokens=rest.part(stated.audio_output_tokens, "audio_exceeds_output"),
        image_output_tokens=rest.part(stated.image_output_tokens, "images_exceed_output"),
        requests=None if source is UsageSource.MISSING else 1,
        source=source,
        anomalies=tuple(counts.anomalies),
    )


class _Rest:
    """What is left of a whole after the parts that were taken out of it; nothing is known of an unknown one."""

    def __init__(self, whole: int | None, counts: Counts) -> None:
        self._whole = self._left = whole
        self._counts = counts

    def part(self, stated: int | None, anomaly: str) -> int | None:
        """The part, at most what is left."""
        if stated is None or self._left is None:
            return None
        taken = within(stated, self._left, self._counts, anomaly) or 0
        self._left -= taken
        return taken

    def overlapping(self, stated: int | None, anomaly: str) -> int | None:
        """The share of a part that lies in what is left, where the part itself is one of the whole."""
        if stated is None or self._left is None:
            return None
        within(stated, self._whole, self._counts, anomaly)
        taken = min(stated, self._left)
        self._left -= taken
        return taken


def _source(input_tokens: int | None, output_tokens: int | None, stated: Usage, counts: Counts) -> UsageSource:
    if input_tokens is None and output_tokens is None:
        if (stated.images, stated.audio_seconds) != (None, None):
            return stated.source
        counts.flag("usage_unreadable")
        return UsageSource.MISSING
    if input_tokens is None or output_tokens is None:
        counts.flag("input_missing" if input_tokens is None else "output_missing")
        return UsageSource.PARTIAL
    return stated.source


def kept_block(block: object, counts: Counts) -> str | None:
    """The block as it is stored beside the counts."""
    if block is None:
        return None
    if isinstance(block, Doubled):
        counts.flag("duplicate_keys")
    try:
        return block_text(block, counts)
    except (RecursionError, TypeError, ValueError):  # nested too deep, or what somebody else parsed is no JSON
        counts.flag("block_unreadable")
        return None
