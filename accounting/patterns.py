"""Names with `*` in them, which stands for any text: one line for a family of models."""

from functools import lru_cache

ANY = "*"


def is_pattern(name: str) -> bool:
    return ANY in name


def literals(pattern: str) -> int:
    """How many characters of a name it says: of two that fit, the one that says more is the more particular."""
    return len(pattern) - pattern.count(ANY)


def fits(pattern: str, name: str) -> bool:
    """Whether the pattern is for the name.

    Each text between two stars is taken where it comes first, which leaves the most for those after it. A regular
    expression would go back and try the others, for years where somebody writes twenty stars.
    """
    first, *others = pattern.split(ANY)
    if not others:
        return name == pattern
    *middle, last = others
    place, end = len(first), len(name) - len(last)
    if end < place or not name.startswith(first) or not name.endswith(last):
        return False
    for part in middle:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


@lru_cache(maxsize=4096)
def may_meet(one: str, other: str) -> bool:
    """Whether some name fits both. Remembered, as every batch of calls has the lines of its models held together."""
    if not _ends_meet(one, other):
        return False
    reached = {0}
    for char in one:
        reached = _after(reached, char, other)
    return len(other) in _skipping(reached, other)


def _ends_meet(one: str, other: str) -> bool:
    """Whether what both say of a name's beginning, and of its end, agrees: most families differ in that already."""
    ours, theirs = one.split(ANY), other.split(ANY)
    if len(ours) == 1 or len(theirs) == 1:
        return True
    head, longer_head = sorted((ours[0], theirs[0]), key=len)
    tail, longer_tail = sorted((ours[-1], theirs[-1]), key=len)
    return longer_head.startswith(head) and longer_tail.endswith(tail)


def _after(reached: set[int], char: str, other: str) -> set[int]:
    """Where in the other pattern one can be, once the first has gone on by this character."""
    here = _skipping(reached, other)
    if char == ANY:
        return set(range(min(here), len(other) + 1)) if here else here
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
