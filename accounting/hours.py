"""Hours of the week in a zone, at which a price holds that holds at no others: `mon-fri 00:30-08:30 Asia/Shanghai`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from accounting import periods
from accounting.errors import ConfigurationError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DAY = 24 * 60
_WEEK = 7 * _DAY
_EXPECTED = 'expected hours and a zone, like "mon-fri 00:30-08:30 Asia/Shanghai" or "16:30-00:30 UTC"'
_FORM = re.compile(r"(?:(?P<days>[a-z,-]+) )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>\S+)")


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start`, included, to `end`, left out, in minutes of the day, on each of the days (0: Monday).

    They go over midnight where `end` is not after `start`, and belong to the day on which they begin; those that end
    at midnight end at 24:00. By the clock of the zone: where it is put forward or back, they are shorter or longer.
    """

    days: tuple[int, ...]
    start: int
    end: int
    zone: str

    def __contains__(self, at: datetime) -> bool:
        local = self.local(at)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return self.start <= minute < self.end and day in self.days
        return (self.start <= minute and day in self.days) or (minute < self.end and (day - 1) % 7 in self.days)

    def local(self, at: datetime) -> datetime:
        """The instant by the clock of the zone; raises `ConfigurationError` where this host doesn't know the zone."""
        try:
            return at.astimezone(_zone(self.zone))
        except ConfigurationError as error:
            raise ConfigurationError(
                f"A price holds {self}, and this host knows no zone {self.zone}. Bring its zones up to date: "
                "pip install --upgrade tzdata"
            ) from error

    def may_meet(self, other: "Hours") -> bool:
        """Whether both can hold at one instant. Of other zones that is not known, as their clocks drift apart."""
        if self.zone != other.zone:
            return True
        mine, theirs = self._minutes(), other._minutes()
        return any(one < end and first < last for one, last in mine for first, end in theirs)

    def _minutes(self) -> list[tuple[int, int]]:
        """Of the week, each stretch within it."""
        length = (self.end - self.start) % _DAY or _DAY
        begins = [day * _DAY + self.start for day in self.days]
        whole = [(begin, begin + length) for begin in begins]
        return [piece for first, end in whole for piece in ((first, min(end, _WEEK)), (0, end - _WEEK)) if piece[1] > 0]

    def __str__(self) -> str:
        named = "" if len(self.days) == 7 else f"{_days_text(self.days)} "
        return f"{named}{_clock(self.start)}-{_clock(self.end)} {self.zone}"


def hours(text: str) -> Hours:
    """Read hours as cards write them; raises `ValueError`, and `ConfigurationError` for a zone that nobody knows."""
    found = kept(text)
    return replace(found, zone=_zone(found.zone).key)


def kept(text: str) -> Hours:
    """The same without a look at the zone, of hours in the books: another host may have known it that wrote them down.

    Where this one doesn't, only calls that are held against these hours can't be priced.
    """
    found = _FORM.fullmatch(" ".join(text.lower().split()[:-1] + text.split()[-1:]))
    if found is None:
        raise ValueError(f"{text!r} are no hours; {_EXPECTED}.")
    start, end = _minute(found["start"], text), _minute(found["end"], text)
    if start in (_DAY, end):
        raise ValueError(f"{text!r} begin and end at once; {_EXPECTED}. The whole day is 00:00-24:00.")
    return Hours(_days(found["days"], text), start, end or _DAY, found["zone"])


def _zone(name: str) -> ZoneInfo:
    """Also of one in small letters, which some systems take as they are."""
    return periods.zone(_spelt().get(name.lower(), name))


@cache
def _spelt() -> Mapping[str, str]:
    return {name.lower(): name for name in available_timezones()}


def _minute(text: str, whole: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY:
        raise ValueError(f"{whole!r}: {text} is no time of a day; {_EXPECTED}.")
    return hour * 60 + minute


def _days(text: str | None, whole: str) -> tuple[int, ...]:
    if text is None:
        return tuple(range(7))
    try:
        spans = [[DAYS.index(name) for name in part.split("-", 1)] for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{whole!r}: {text} are no days; expected some of {', '.join(DAYS)}, like mon-fri.") from error
    return tuple(sorted({day for first, *last in spans for day in _from_to(first, last[0] if last else first)}))


def _from_to(first: int, last: int) -> list[int]:
    """Also over the end of a week: sat-mon."""
    return [(first + n) % 7 for n in range((last - first) % 7 + 1)]


def _days_text(days: tuple[int, ...]) -> str:
    if len(days) > 2 and days == tuple(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)


def _clock(minute: int) -> str:
    at = timedelta(minutes=minute)
    return f"{at // timedelta(hours=1):02}:{minute % 60:02}"
