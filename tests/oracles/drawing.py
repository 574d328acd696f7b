"""Calls drawn at random, of each model of a price list: what was used of it, when, and served by which tier."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from accounting.rates import Rate
from accounting.usage import Quantities

FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call of a model: what was used, when it began, and which tier served it."""

    at: datetime
    tier: str
    used: Quantities


def draw(lines: Sequence[Rate], number: int, searches: bool = True) -> Iterator[Drawn]:
    """So many calls of the model that the lines are of, many of them at the lines' borders; the same in every run."""
    random = Random(f"{lines[0].provider}/{lines[0].model}")
    for _ in range(number):
        line = random.choice(lines)
        at, used = _instant(line, lines, random), _used(lines, random)
        yield Drawn(at, line.service_tier, used if searches else used._replace(web_searches=0))


def _instant(line: Rate, lines: Sequence[Rate], random: Random) -> datetime:
    if line.hours and random.random() < 0.7:
        return _at_hours(line, random)
    borders = [at for one in lines for at in (one.valid_from, one.period.end) if at]
    if random.random() < 0.4:
        return max(random.choice(borders), FIRST) + random.choice((-MICROSECOND, timedelta(0), MICROSECOND))
    return _between(random)


def _at_hours(line: Rate, random: Random) -> datetime:
    assert line.hours is not None
    day = _between(random).replace(hour=0, minute=0, second=0, microsecond=0)
    minute = timedelta(minutes=random.choice((line.hours.start, line.hours.end)))
    return day + minute + random.choice((-MICROSECOND, timedelta(0), timedelta(minutes=1)))


def _between(random: Random) -> datetime:
    return FIRST + random.random() * (LAST - FIRST)


def _used(lines: Sequence[Rate], random: Random) -> Quantities:
    """No part more than its whole; what is counted beside tokens only where a line has a price for it."""
    if random.random() < 0.5 and any(line.audio_second_per_1k is not None for line in lines):
        return Quantities(requests=1, audio_seconds=random.randrange(1, 7200))
    if random.random() < 0.5 and any(line.image_per_1k is not None for line in lines):
        return Quantities(requests=1, images=random.randrange(1, 10))
    into, out = _size(lines, random), random.choice((0, random.randrange(2_000), random.randrange(100_000)))
    heard, seen = (_part(into // 3, random, 0.15) for _ in range(2))
    write = _part(into // 3, random, 0.4)
    thought, spoken, drawn = (_part(out // 3, random, chance) for chance in (0.5, 0.15, 0.15))
    return Quantities(
        input=into,
        cache_read=_part(into - heard - seen - write, random, 0.6),
        cache_write=write,
        cache_write_1h=_part(write, random, 0.5),
        audio_input=heard,
        image_input=seen,
        output=out,
        reasoning=thought,
        audio_output=spoken,
        image_output=drawn,
        requests=1,
        web_searches=_searches(lines, random),
    )


def _size(lines: Sequence[Rate], random: Random) -> int:
    """Often at a size from which on the price is another one."""
    steps = [line.context_above for line in lines if line.context_above]
    if steps and random.random() < 0.6:
        return random.choice(steps) + random.choice((-1, 0, 1, 1000))
    return random.choice((0, random.randrange(1, 3_000), random.randrange(1, 100_000), random.randrange(1, 1_000_000)))


def _part(whole: int, random: Random, chance: float) -> int:
    return random.choice((whole, random.randint(0, whole))) if random.random() < chance else 0


def _searches(lines: Sequence[Rate], random: Random) -> int:
    is_priced = all(line.web_search_per_1k is not None for line in lines)
    return random.randrange(1, 20) if is_priced and random.random() < 0.3 else 0
