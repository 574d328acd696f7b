"""Streams whose counts fall, as no running sums do: which block holds, and that the call is flagged."""

from collections.abc import Iterable

from accounting.formats.wire import at
from accounting.usage import Usage


def falls(before: object, now: object, name: str) -> bool:
    """Whether a later block counts less than the one before."""
    was, is_now = at(before, name), at(now, name)
    return type(was) is int and type(is_now) is int and is_now < was


def counts_something(block: object, names: Iterable[str]) -> bool:
    """Whether one of the counts is there, and not 0."""
    return any(at(block, name) for name in names)


def fallen(usage: Usage) -> Usage:
    return usage._replace(anomalies=(*usage.anomalies, "usage_fell"))
