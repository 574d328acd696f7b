"""Which rate holds for a call.

A line that names the model beats one that names what the model is an alias of, the nearest name first, and that beats
a pattern. Of the patterns that fit any of these names the one that says the most of it goes first; of those that say as
much the one for the nearer name. Of one model's lines, or of patterns alike in that, one that names the tier that
served the call beats one for any tier; then the newest that fits the call holds; of those that began at once one that
is for certain hours, then the one for the largest input. So there is one rate or none at every instant: lines with
nothing to choose between them are refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, pairwise
from typing import Any

from accounting import patterns
from accounting.aliases import NO_ALIASES, Aliases, Rule
from accounting.errors import RateCardError
from accounting.money import plain
from accounting.rates import ANY_TIER, CLASSES, REQUIRED, STANDARD, UNPRICED, Rate


@dataclass(frozen=True, slots=True)
class Considered:
    """A line that is for the model: by the name that calls gave, or the one that alias rules made of it."""

    rate: Rate
    name: str
    rules: tuple[Rule, ...] = ()


_REMEMBERED = 4096
"""Models whose lines are kept that don't name them: names come from outside, and there may be any number of them."""

_Line = tuple[datetime, datetime | None, bool, Rate]
"""When a rate begins and ends, and whether that is all of its conditions, but to be of the standard tier."""


def _line(rate: Rate) -> _Line:
    is_plain = rate.service_tier == STANDARD and not rate.context_above and rate.hours is None
    return rate.valid_from, rate.period.end, is_plain, rate


class RateBook:
    """Finds the rate that holds for a call of a provider's model."""

    def __init__(self, rates: Iterable[Rate], aliases: Aliases = NO_ALIASES) -> None:
        """Raises `RateCardError` where two lines would hold at once with nothing to choose between them."""
        self._aliases = aliases
        self._named: dict[tuple[str, str], list[Rate]] = {}
        self._patterns: dict[str, list[Rate]] = {}
        self._lines_beside: dict[tuple[str, str], Sequence[Rate]] = {}
        for rate in rates:
            if patterns.is_pattern(rate.model):
                self._patterns.setdefault(rate.provider, []).append(rate)
            else:
                self._named.setdefault((rate.provider, rate.model), []).append(rate)
        for lines in (*self._named.values(), *self._patterns.values()):
            if len(lines) > 1:
                lines.sort(key=_particular, reverse=True)
                _refuse_contradictions(lines)
        self._first = {name: tuple(map(_line, lines)) for name, lines in self._named.items()}

    @property
    def providers(self) -> list[str]:
        """Those that have a line."""
        return sorted({*(provider for provider, _ in self._named), *self._patterns})

    def find(
        self, provider: str, model: str, at: datetime, input_tokens: int = 0, service_tier: str = STANDARD
    ) -> Rate | None:
        """The rate of a call that began at the instant; its tier as `tier_of` tells it."""
        asked = provider, model
        for start, end, is_plain, rate in self._first.get(asked, ()):
            # What Rate.holds says, mostly without asking it: every call that comes in is priced by such a line.
            if (start <= at and (end is None or at < end)) and (
                service_tier == STANDARD if is_plain else rate.holds(at, input_tokens, service_tier)
            ):
                return rate
        others = self._beside(provider, model)
        return next((rate for rate in others if rate.holds(at, input_tokens, service_tier)), None)

    def considered(self, provider: str, model: str) -> Iterator[Considered]:
        """All lines for the model, the one first that is taken before the others where it holds."""
        yield from (Considered(rate, model) for rate in self._named.get((provider, model), ()))
        yield from self._others(provider, model)

    def _beside(self, provider: str, model: str) -> Sequence[Rate]:
        """The lines for the model that don't name it; looked for once, as thousands of calls are of one model."""
        found = self._lines_beside.get((provider, model))
        if found is None:
            if len(self._lines_beside) >= _REMEMBERED:
                self._lines_beside.clear()
            found = self._lines_beside[provider, model] = [one.rate for one in self._others(provider, model)]
        return found

    def _others(self, provider: str, model: str) -> Iterator[Considered]:
        names = self._aliases.names(provider, model)
        for name, rules in names:
            yield from (Considered(rate, name, rules) for rate in self._named.get((provider, name), ()))
        fitting = [
            Considered(rate, name, rules)
            for name, rules in ((model, ()), *names)
            for rate in self._patterns.get(provider, ())
            if patterns.fits(rate.model, name)
        ]
        # Where patterns say as much it stays as it is: the nearer name first, and of one name the lines in their order.
        yield from sorted(fitting, key=lambda one: patterns.literals(one.rate.model), reverse=True)

    def __iter__(self) -> Iterator[Rate]:
        for lines in (*self._named.values(), *self._patterns.values()):
            yield from reversed(lines)


def names(aliases: Aliases, provider: str, model: str) -> list[str]:
    """Those under which a rate for the provider's model may stand, its own first."""
    return [model, *(name for name, _ in aliases.names(provider, model))]


def is_for(rate: Rate, names: Iterable[str]) -> bool:
    """Whether the line is for a model of these names, at whatever time and under whatever conditions."""
    return any(patterns.fits(rate.model, name) for name in names)


def _particular(rate: Rate) -> tuple[Any, ...]:
    """Of two lines that hold, the one with the larger one is taken. Only of patterns one says more than the other."""
    named = patterns.literals(rate.model)
    return named, rate.service_tier != ANY_TIER, rate.valid_from, rate.hours is not None, rate.context_above


def _refuse_contradictions(lines: Sequence[Rate]) -> None:
    alike: dict[tuple[Any, ...], list[Rate]] = {}
    for rate in lines:
        alike.setdefault((rate.model, rate.service_tier, rate.context_above, rate.hours), []).append(rate)
    for same in alike.values():
        for later, earlier in pairwise(same):
            _refuse_contradiction(earlier, later)
    if len({rate.valid_from for rate in lines}) < len(lines):
        _refuse_ties(lines)


def _refuse_ties(lines: Iterable[Rate]) -> None:
    at_once: dict[tuple[Any, ...], list[Rate]] = {}
    for rate in lines:
        rank = patterns.literals(rate.model), rate.valid_from, rate.hours is None
        at_once.setdefault((rate.service_tier, rate.context_above, *rank), []).append(rate)
    for same in at_once.values():
        for one, other in combinations(same, 2):
            _refuse_tie(one, other)


def _refuse_tie(one: Rate, other: Rate) -> None:
    """Of two that began at once, and say as much: by other hours, or another pattern."""
    if one.hours and other.hours and not one.hours.may_meet(other.hours):
        return
    if one.model != other.model and not patterns.may_meet(one.model, other.model):
        return
    raise RateCardError(
        f"{one} and {other} could both hold for a call, with nothing to choose between them. Give them hours of one "
        "zone that don't meet, or have one pattern say more of the name than the other."
    )


def _prices(rate: Rate, other: Rate) -> str:
    """Those in which it is not like the other, or those that every rate has; and where they are from."""
    own = {each.name: getattr(rate, each.column) for each in CLASSES}
    apart = [each.name for each in CLASSES if own[each.name] != getattr(other, each.column)] or REQUIRED
    said = ((name, own[name]) for name in apart)
    named = ", ".join(f"{name} {'none' if price is None else plain(price)}" for name, price in said)
    return f"{named} (source: {rate.source})"


def _way_out(*lines: Rate) -> str:
    held = [line.id for line in lines if line.id > UNPRICED]  # lines that are only looked at may have an id below 0
    if not held:
        return "Keep one, or give the newer a later valid_from: it takes over then."
    return (
        f"Line {held[0]} is in the books. If its prices changed, give the new line the valid_from of that: it takes "
        f"over then; if they were wrong, withdraw it first: accounting rates withdraw {held[0]} --why …"
    )


def _refuse_contradiction(earlier: Rate, later: Rate) -> None:
    if earlier.valid_from == later.valid_from:
        both = f"{_prices(earlier, later)} and {_prices(later, earlier)}"
        raise RateCardError(f"Two rates for {later}: {both}. {_way_out(earlier, later)}")
    if earlier.period.end is not None and earlier.period.end > later.valid_from:
        raise RateCardError(
            f"Rate {_named(earlier)} runs into {_named(later)}. {_way_to_end(earlier, later.valid_from)}"
        )


def _named(rate: Rate) -> str:
    return f"{rate}, line {rate.id} in the books," if rate.id > UNPRICED else str(rate)


def _way_to_end(earlier: Rate, at: datetime) -> str:
    if earlier.id > UNPRICED:
        when = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return f"End it there first: accounting rates end {earlier.id} --at {when} --why …"
    return (
        "End it with valid_until at the later one's start, or leave valid_until out: the later line then takes over "
        "by itself."
    )
