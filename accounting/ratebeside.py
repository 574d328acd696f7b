"""Lines of other sources, a hand-made one as any, beside those of a price list that is imported.

A whole price of a model's own was chosen, and wins over a list's: one of just that name, that has not ended, without
conditions beside the tier. Patterns, aliases and lines for certain calls alone are no such choice: a line of the
model's own name goes before the first two, and stands beside the last.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from accounting.aliases import NO_ALIASES, Aliases
from accounting.periods import Period
from accounting.rates import ANY_TIER, UNPRICED, Rate
from accounting.ratesources.listing import Place, place
from accounting.resolution import RateBook

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Room:
    """Of a list the lines that others leave room for; those from `always` only hold now. `until` another's begins."""

    lines: Sequence[Rate]
    always: datetime | None
    until: Rate | None = None


class Others:
    """The lines of other sources as they are at an import."""

    def __init__(self, others: Sequence[Rate], now: datetime, aliases: Aliases = NO_ALIASES) -> None:
        self._now = now
        self._book = RateBook(others, aliases)
        self._by_place: dict[Place, list[Rate]] = defaultdict(list)
        for rate in others:
            self._by_place[place(rate)].append(rate)

    def at(self, there: Place) -> list[Rate]:
        """Those of just the place."""
        return list(self._by_place.get(there, ()))

    def winner(self, there: Place) -> Rate | None:
        """The whole price that wins now. One for any tier, which goes after one for a tier, does before it begins."""
        return next(
            (rate for rate in self._whole(there) if rate.valid_from <= self._now or rate.service_tier == ANY_TIER), None
        )

    def room(self, there: Place, lines: Sequence[Rate], always: datetime | None) -> Room:
        """What of a list holds where there is no winner: until another's line begins, and not in the time of past ones.

        Lines that begin amid such a time begin at its end.
        """
        until = min(self._whole(there), key=lambda rate: rate.valid_from, default=None)
        taken = [line for line in lines if until is None or line.valid_from < until.valid_from]
        begun = {line.valid_from for line in taken}
        starts = {self._after_others(there, start): start for start in sorted(begun)}  # of two the later one
        starts |= {start: start for start in starts if start in begun}
        found = [_since(line, later) for later, start in starts.items() for line in taken if line.valid_from == start]
        since = next((later for later, start in starts.items() if start == always), always)
        return Room(found, since, until if len(taken) < len(lines) else None)

    def before(self, there: Place) -> Rate | None:
        """The line for more names, or of another one, that prices the model's calls now; a list's own goes before."""
        provider, model, tier = there
        lines = (one.rate for one in self._book.considered(provider, model) if one.rate.model != model)
        return next((rate for rate in lines if self._now in rate.period and _is_whole(rate, tier)), None)

    def unsaid(self, there: Place, lines: Iterable[Rate]) -> list[Rate]:
        """Those that no other source says, too."""
        said = {_content(rate) for rate in self._by_place.get(there, ())}
        return [line for line in lines if _content(line) not in said]

    def _whole(self, there: Place) -> list[Rate]:
        """Whole prices of the model's own that hold now or later."""
        return [rate for rate in self._wholes(there) if rate.period.end is None or rate.period.end > self._now]

    def _wholes(self, there: Place) -> Iterator[Rate]:
        provider, model, tier = there
        for of in dict.fromkeys((tier, ANY_TIER)):
            yield from (rate for rate in self._by_place.get((provider, model, of), ()) if _is_whole(rate, tier))

    def _after_others(self, there: Place, start: datetime) -> datetime:
        """The instant, or if it is in the time of a past line, or before that of one for any tier, the end of these."""
        past = [rate for rate in self._wholes(there) if rate.period.end is not None and rate.period.end <= self._now]
        for rate in sorted(past, key=lambda rate: rate.valid_from):
            begins = _EVER if rate.service_tier == ANY_TIER != there[2] else rate.valid_from
            if rate.period.end is not None and begins <= start < rate.period.end:
                start = rate.period.end
        return start


def pieces(line: Rate, end: datetime, others: Iterable[Rate]) -> list[Rate]:
    """The line until its end, in pieces around those of the same conditions that begin after it: none may run into
    another."""
    found, start = [], line.valid_from
    same = [one for one in others if (one.context_above, one.hours) == (line.context_above, line.hours)]
    for one in sorted(same, key=lambda one: one.valid_from):
        if start < one.valid_from < end:
            found.append(Period(start, one.valid_from))
            start = one.period.end or end
    if start < end:
        found.append(Period(start, end))
    return [replace(line, id=UNPRICED, period=period) for period in found]


def _since(line: Rate, start: datetime) -> Rate:
    return line if line.valid_from == start else replace(line, period=Period(start, line.period.end))


def _is_whole(rate: Rate, tier: str) -> bool:
    return rate.service_tier in (tier, ANY_TIER) and not rate.context_above and rate.hours is None


def _content(rate: Rate) -> Rate:
    return replace(rate, id=UNPRICED, source="")
