"""Lines through what calls used, by their bytes: made of some calls, and held against others.

Pure arithmetic: `learning` brings the calls, and keeps what comes out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, TypeVar

from accounting.estimates import MILLION, Line, Place, Sizes, priors
from accounting.usage import MAX_COUNT

T = TypeVar("T", int, float)

ENOUGH = 20
"""Calls by which a line, or how long answers are, is learned: from half of them, the other half examines."""

_SPREAD = 1.25
"""The third quartile of sizes is at least so many times the first, where a slope can be told."""

_NEAR = 4
"""Where a slope can't be told, it is at most so many times what the priors expect, and at least that part of it."""

_STEEPEST = 10
"""No slope over all scripts is so many times the priors': it would be that of a few tokens that they expect of all."""

_SLACK = 1.1
"""So many times what another line is off by is no worse: that much is chance among a few calls."""

_HIGH = 95
_PER_MILLE = 1_000


class Lesson(NamedTuple):
    """One call that teaches or examines: what its size was, what the priors would expect, and what it used.

    `most` is what an estimate of it would be held to.
    """

    size: int
    expected: int
    tokens: int
    examines: bool
    most: int = MAX_COUNT


@dataclass(frozen=True, slots=True)
class Fit:
    """A line and how far off it is on calls that it was not learned from, in thousandths.

    `error` is that of half of them at most, `high_error` that of nine in ten; `bias` by how much their sum is too high;
    `prior_error` is what half of them would be off at most by the priors alone.
    """

    line: Line
    calls: int
    examined: int
    error: int
    high_error: int
    bias: int
    prior_error: int


def fitted(place: Place, lessons: Sequence[Lesson], others: Sequence[Line] = ()) -> Fit | None:
    """The place's own line, or, where it did worse on the calls that examine, one of the `others` or the priors'.

    The others are what would hold without it, the nearest first, counted as the place counts: see `Line`. None where
    calls are too few.
    """
    teaching = [lesson for lesson in lessons if not lesson.examines]
    examining = [lesson for lesson in lessons if lesson.examines]
    if len(lessons) < ENOUGH or not teaching or not examining:
        return None
    size = _size_of(place)
    tried = [_tried(line, examining, size) for line in (_own(place, teaching, size), *others, _prior(place))]
    best = next(one for number, one in enumerate(tried) if all(one.is_as_good_as(other) for other in tried[number:]))
    return _examined(best, len(lessons), examining, tried[-1])


_Size = Callable[[Lesson], int]


def _size_of(place: Place) -> _Size:
    """By what the tokens are counted there: see `Line`."""
    return (lambda lesson: lesson.size) if place.script else (lambda lesson: lesson.expected)


def _prior(place: Place) -> Line:
    return priors().line(place) if place.script else Line(0, MILLION)


def _own(place: Place, teaching: Sequence[Lesson], size: _Size) -> Line:
    """The line that half of the calls that teach are least off by: one through nothing, the priors' moved, or any.

    All are medians of what single calls say, so that a few odd ones move them little.
    """
    moved, straight = _moved(_prior(place), teaching, size), _through_nothing(teaching, size)
    if not _differ(teaching, size):
        return straight if straight and _is_near(straight, place) else moved
    lines = [line for line in (straight, _slanted(teaching, size)) if line and not _is_steep(line, place)]
    return min((*lines, moved), key=lambda line: median(_tried(line, teaching, size).errors))


def _is_near(line: Line, place: Place) -> bool:
    """Whether it may hold for other sizes, too; not where it stands for what is around a text, or behind it."""
    is_of_all_bytes = place.stream or not (place.endpoint and place.script)
    expected = _prior(place).per_million
    return is_of_all_bytes and expected <= _NEAR * line.per_million and line.per_million <= _NEAR * expected


def _is_steep(line: Line, place: Place) -> bool:
    return not place.script and line.per_million > _STEEPEST * MILLION


def _differ(lessons: Sequence[Lesson], size: _Size) -> bool:
    """Whether sizes differ enough to tell a slope, by bytes and as the place counts."""
    return _spreads(sorted(lesson.size for lesson in lessons)) and _spreads(sorted(map(size, lessons)))


def _spreads(ordered: Sequence[int]) -> bool:
    low, high = (ordered[place] for place in (len(ordered) // 4, -1 - len(ordered) // 4))
    return high > low and high >= _SPREAD * low


def _through_nothing(lessons: Sequence[Lesson], size: _Size) -> Line | None:
    """None where most of them have no size: where the priors expect nothing, tokens are no times as many."""
    ratios = [lesson.tokens / size(lesson) for lesson in lessons if size(lesson)]
    return Line(0, round(MILLION * median(ratios))) if 2 * len(ratios) > len(lessons) else None


def _moved(line: Line, lessons: Iterable[Lesson], size: _Size) -> Line:
    """As steep, and so much higher or lower: for what is around a text, or was thought and not said."""
    above = median(lesson.tokens - line.fixed - line.per_million * size(lesson) / MILLION for lesson in lessons)
    return Line(line.fixed + round(above), line.per_million)


def _slanted(lessons: Sequence[Lesson], size: _Size) -> Line | None:
    """Theil and Sen's line, from as many pairs as there are calls in a half: each with the one half the calls on.

    None where it would not rise: those were calls of several kinds, and a larger one takes more.
    """
    ordered = sorted(lessons, key=size)
    pairs = zip(ordered, ordered[len(ordered) // 2 :], strict=False)
    slope = median((b.tokens - a.tokens) / (size(b) - size(a)) for a, b in pairs if size(b) > size(a))
    fixed = median(lesson.tokens - slope * size(lesson) for lesson in lessons)
    return Line(round(fixed), round(MILLION * slope)) if slope > 0 else None


@dataclass(frozen=True, slots=True)
class _Tried:
    """A line, what it tells of each call, how far off that is in thousandths, ordered, and in tokens all in all."""

    line: Line
    told: int
    errors: list[float]
    missed: int

    @property
    def error(self) -> float:
        return _rank(self.errors, 50)

    def is_as_good_as(self, other: "_Tried") -> bool:
        """For half of the calls or for all of them together, where the large ones count; and for neither far worse."""
        if self.error > other.error and self.missed > other.missed:
            return False
        return self.error <= _SLACK * other.error and self.missed <= _SLACK * other.missed


def _tried(line: Line, lessons: Sequence[Lesson], size: _Size) -> _Tried:
    told = [min(line.at(size(lesson)), lesson.most) for lesson in lessons]
    off = [abs(each - lesson.tokens) for each, lesson in zip(told, lessons, strict=True)]
    errors = [_PER_MILLE * each / max(lesson.tokens, 1) for each, lesson in zip(off, lessons, strict=True)]
    return _Tried(line, sum(told), sorted(errors), sum(off))


def _examined(best: _Tried, calls: int, lessons: Sequence[Lesson], prior: _Tried) -> Fit:
    real = sum(lesson.tokens for lesson in lessons)
    return Fit(
        line=best.line,
        calls=calls,
        examined=len(lessons),
        error=round(best.error),
        high_error=round(_rank(best.errors, 90)),
        bias=round(_PER_MILLE * (best.told - real) / max(real, 1)),
        prior_error=round(prior.error),
    )


def sized(tokens: Sequence[int]) -> tuple[Sizes, int] | None:
    """How long answers are, and of how many calls that is known; None where they are too few."""
    if len(tokens) < ENOUGH:
        return None
    ordered = sorted(tokens)
    return Sizes(_rank(ordered, 50), _rank(ordered, _HIGH)), len(tokens)


def _rank(ordered: Sequence[T], percent: int) -> T:
    """The least that so many of a hundred don't exceed."""
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1]
