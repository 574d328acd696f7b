"""Price lists: the lines of one model and service tier that hold together, until newer ones take their place.

Of one model's lines the newest that fits a call holds. So a newer line without conditions takes the place of the whole
list before it, also of what it said for much input or for certain hours.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from accounting.periods import moment
from accounting.rates import ANY_TIER, STANDARD, Rate

_Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Replaced:
    """An older line with conditions that a newer one takes the place of, though it says nothing of them."""

    line: Rate
    older: Rate

    def __str__(self) -> str:
        return (
            f"From {moment(self.line.valid_from)} on {_named(self.older)} prices no call any more: of one model's "
            "lines the newest that fits holds. If it still should, give the newer list such a line, too."
        )


@dataclass(frozen=True, slots=True)
class Staying:
    """An older line for any tier that a newer one takes the calls of the standard tier from, and no others."""

    line: Rate
    older: Rate

    def __str__(self) -> str:
        return (
            f"From {moment(self.line.valid_from)} on {_named(self.older)} still prices calls of other service tiers, "
            "as the newer line is for the standard one. If its price is none of theirs any more, end it: "
            'accounting rates end. Or have the newer one be for any tier, "*".'
        )


def _named(older: Rate) -> str:
    return f"line {older.id}, {older}," if older.id else f"{older}"


def asks_no_more(other: Rate, rate: Rate) -> bool:
    """Whether a call that meets the conditions of the rate, but for its time, meets those of the other."""
    return (
        other.service_tier in (ANY_TIER, rate.service_tier)
        and other.context_above <= rate.context_above
        and other.hours in (None, rate.hours)
    )


def in_force(lines: Iterable[Rate], at: datetime) -> list[Rate]:
    """Those by which some call that begins then may be priced, whatever its conditions; in their order.

    Lines of other names, as patterns, may be taken before them: see `resolution`.
    """
    held = [line for line in lines if at in line.period]
    lists = _by_place(held)
    return [line for line in held if not any(_takes_over(one, line) for one in lists[_place(line)])]


def successor(line: Rate, lines: Iterable[Rate]) -> Rate | None:
    """The line that takes its place, if its own end does not come before."""
    later = (one for one in lines if _place(one) == _place(line) and _takes_over(one, line))
    return min(
        (one for one in later if one.valid_from in line.period), key=lambda one: (one.valid_from, one.id), default=None
    )


def replaced(lines: Iterable[Rate], held: Iterable[Rate]) -> list[Replaced]:
    """What lines to come take the place of without saying anything of the same kind."""
    new = list(lines)
    lists = _by_place([*held, *new])
    found = {older: Replaced(line, older) for line in new for older in _lost(line, lists[_place(line)])}
    return list(found.values())


def staying(lines: Iterable[Rate], held: Iterable[Rate]) -> list[Staying]:
    """What lines to come leave only other tiers than the standard one to, that no line before them left these to."""
    new = list(lines)
    models: dict[tuple[str, str], list[Rate]] = {}
    for one in (*held, *new):
        models.setdefault((one.provider, one.model), []).append(one)
    found = {older: Staying(line, older) for line in new for older in _left(line, models[line.provider, line.model])}
    return list(found.values())


def _left(line: Rate, lines: Sequence[Rate]) -> Iterator[Rate]:
    start = line.valid_from
    before = [one for one in lines if one.valid_from < start and start in one.period]
    for older in in_force((one for one in lines if one.service_tier == ANY_TIER and one.valid_from <= start), start):
        if older in before and _takes_standard(line, older) and not any(_takes_standard(one, older) for one in before):
            yield older


def _takes_standard(line: Rate, older: Rate) -> bool:
    return line.service_tier == STANDARD and asks_no_more(line, replace(older, service_tier=STANDARD))


def _lost(line: Rate, lines: Sequence[Rate]) -> Iterator[Rate]:
    start = line.valid_from
    kinds = {kind for one in lines if one.valid_from == start for kind in _kinds(one)}
    for older in in_force((one for one in lines if one.valid_from < start), start):
        if not _kinds(older) <= kinds and asks_no_more(line, older):
            yield older


def _kinds(line: Rate) -> frozenset[str]:
    """Of which kinds its conditions are, beside its tier."""
    asked = {"context_above": line.context_above, "hours": line.hours}
    return frozenset(name for name, said in asked.items() if said)


def _takes_over(one: Rate, line: Rate) -> bool:
    return one.valid_from > line.valid_from and asks_no_more(one, line)


def _place(line: Rate) -> _Place:
    return line.provider, line.model, line.service_tier


def _by_place(lines: Iterable[Rate]) -> dict[_Place, list[Rate]]:
    found: dict[_Place, list[Rate]] = {}
    for line in lines:
        found.setdefault(_place(line), []).append(line)
    return found
