"""Names with `*` in them, which stands for any text: one line for a family of models."""

import re
from functools import lru_cache

ANY = "*"


def is_pattern(name: str) -> bool:
    return ANY in name


def literals(pattern: str) -> int:
    """How many characters of a name it says: of two that fit, the one that says more is the more particular."""
    return len(pattern) - pattern.count(ANY)


def fits(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # A star gives up as little as it can, and no text is tried twice for two stars side by side.
    parts = re.sub(r"\*+", ANY, pattern).split(ANY)
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def may_meet(one: str, other: str) -> bool:
    """Whether some name fits both."""
    reached = {0}
    for char in one:
        reached = _after(reached, char, other)
    return len(other) in _skipping(reached, other)


def _after(reached: set[int], char: str, other: str) -> set[int]:
    """Where in the other pattern one can be, once the first has gone on by this character."""
    here = _skipping(reached, other)
    if char == ANY:
        return {place for start in here for place in range(start, len(other) + 1)}
    staying = {place for place in here if place < len(other) and other[place] == ANY}
    return staying | {place + 1 for place in here if place < len(other) and other[place] == char}


def _skipping(reached: set[int], other: str) -> set[int]:
    """A star may stand for nothing."""
    found = set(reached)
    for place in sorted(reached):
        while place < len(other) and other[place] == ANY:
            place += 1
            found.add(place)
    return found
