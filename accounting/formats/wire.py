"""What every wire format offers, and how one reads JSON that somebody else wrote."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from accounting.money import Money, exact
from accounting.sse import Event
from accounting.usage import Counts, Usage, UsageSource, block_text, clean, within

MAX_REQUEST_NUMBER = 2**53
MAX_COST = 10**9
MAX_COST_DECIMALS = 40


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for; None where it doesn't say."""

    model: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    effort: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a response says of itself. `failed`: an error object came under a status of success."""

    model: str | None = None
    id: str | None = None
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    failed: bool = False


class StreamReader(Protocol):
    """Reads one streamed answer, event by event; never raises, whatever the bytes."""

    terminal: bool
    """The protocol's last event was seen."""
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

    def ask(self, body: Mapping[str, Any]) -> Ask: ...

    def asking_for_usage(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The request body that also asks for usage; None where it already does, or needn't."""

    def answer(self, body: object) -> Answer:
        """Of a whole body as `loads` gives it, whatever it is."""

    def stream(self) -> StreamReader: ...


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=Decimal)


def loads(data: bytes | str) -> object | None:
    """The JSON value, its fractions as exact decimals; None where it can't be read. Never raises.

    Bytes that are no UTF-8 are replaced, and NaN is taken as such: one bad character in an answer's text
    must not cost us its usage.
    """
    characters = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        value: object = _DECODER.decode(characters.removeprefix("\ufeff"))
    except (ValueError, ArithmeticError, RecursionError):  # no JSON; a number or a nesting beyond reason
        return None
    return value


def at(value: object, *path: str) -> Any:
    """What lies at the path of keys; None where there is nothing."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def text(value: object) -> str | None:
    """The text, in a form every store keeps; None for the empty one and for anything else."""
    return clean(value) if isinstance(value, str) and value else None


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
    input_tokens: int | None,
    cache_read_tokens: int | None,
    cache_write_tokens: int | None,
    output_tokens: int | None,
    reasoning_tokens: int | None,
    cost: Money | None = None,
    final: bool = True,
) -> Usage:
    """The usage that a block states, its parts held within their wholes.

    A part whose whole is unknown is unknown too, or it would be priced without it. `final` False: the
    counts are those of an answer that was still going on.
    """
    read = _part(cache_read_tokens, input_tokens, counts, "cached_exceeds_input")
    fresh = None if input_tokens is None else input_tokens - (read or 0)
    return Usage(
        input_tokens=input_tokens,
        cache_read_tokens=read,
        cache_write_tokens=_part(cache_write_tokens, fresh, counts, "cache_write_exceeds_input"),
        output_tokens=output_tokens,
        reasoning_tokens=_part(reasoning_tokens, output_tokens, counts, "reasoning_exceeds_output"),
        source=_source(input_tokens, output_tokens, final, counts),
        block=kept_block(block, counts),
        provider_cost=cost,
        anomalies=tuple(counts.anomalies),
    )


def _part(part: int | None, whole: int | None, counts: Counts, anomaly: str) -> int | None:
    return None if whole is None else within(part, whole, counts, anomaly)


def _source(input_tokens: int | None, output_tokens: int | None, final: bool, counts: Counts) -> UsageSource:
    if input_tokens is None and output_tokens is None:
        counts.flag("usage_unreadable")
        return UsageSource.MISSING
    if input_tokens is None or output_tokens is None:
        counts.flag("input_missing" if input_tokens is None else "output_missing")
        return UsageSource.PARTIAL
    return UsageSource.PROVIDER if final else UsageSource.PARTIAL


def kept_block(block: object, counts: Counts) -> str | None:
    """The block as it is stored beside the counts."""
    if block is None:
        return None
    try:
        return block_text(block, counts)
    except RecursionError:  # what could just be read may be nested too deep to be written
        counts.flag("block_unreadable")
        return None
