"""Half-open stretches of time, and the date a call is billed on.

Instants are aware datetimes in UTC; days and months belong to a zone. Nothing here reads the clock.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from accounting.errors import ConfigurationError

EARLIEST, LATEST = date(1970, 1, 1), date(9998, 12, 31)
"""Days outside of which a midnight in some zone is no date; no call is of them."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start`, included, to `end`, left out. Either may be open (None)."""

    start: datetime | None
    end: datetime | None

    def __contains__(self, at: datetime) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name; raises `ConfigurationError` for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{name!r} is no time zone; expected an IANA name like UTC, Asia/Shanghai or Europe/Berlin."
        ) from error


def billed_on(at: datetime, where: ZoneInfo) -> date:
    """The calendar day of the instant, in the zone."""
    return at.astimezone(where).date()


def moment(at: datetime) -> str:
    """The instant in UTC, to the minute, or as exactly as it is: 2026-03-01 00:00Z, 2026-03-01 00:00:30.000001Z."""
    utc = at.astimezone(UTC)
    exactly = "minutes" if not (utc.second or utc.microsecond) else "auto"
    return f"{utc.replace(tzinfo=None).isoformat(' ', exactly)}Z"


@dataclass(frozen=True, slots=True)
class Days:
    """Days in a zone, and, from later days on, in other zones: the earliest of `changes` first.

    Each instant has one day, and days never go back. A change to a zone further west makes its first day longer, one
    to the east makes it shorter; where the zones are more than a day apart, it may have no instant at all.
    """

    zone: ZoneInfo
    changes: tuple[tuple[date, ZoneInfo], ...] = ()

    def of(self, at: datetime) -> date:
        """The day of the instant."""
        day = billed_on(at, self.zone)
        for first, where in self.changes:
            if day < first:
                break
            day = max(first, billed_on(at, where))
        return day

    def start(self, day: date) -> datetime:
        """The first instant, in UTC, that is not of a day before."""
        *before, (since, where) = self._zones()
        while before and day <= since:
            *before, (since, where) = before
        if not before:
            return midnight(day, where)
        return max(midnight(day, where), self.start(since))

    def zone_on(self, day: date) -> ZoneInfo:
        """The zone that the day is in."""
        return [where for since, where in self._zones() if since <= day][-1]

    def _zones(self) -> list[tuple[date, ZoneInfo]]:
        return [(date.min, self.zone), *self.changes]


def shifted(at: datetime, by: timedelta) -> datetime:
    """The instant so much later, or the first or last that there is: what people typed may lie at the end of time."""
    try:
        return at + by
    except OverflowError:
        return _LAST if by > timedelta(0) else _FIRST


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def quarter(at: datetime) -> datetime:
    """The start of the quarter hour (UTC) that the instant lies in.

    Every zone in use is a whole number of quarter hours from UTC, so quarter hours add up to anybody's days.
    """
    utc = at.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def midnight(day: date, where: ZoneInfo) -> datetime:
    """The instant the day begins in the zone, in UTC.

    Where clocks skip midnight the day begins with the first instant that exists.
    """
    return datetime.combine(day, time.min, where).astimezone(UTC)


def parse_day(text: str) -> date:
    """`2026-11-23` or `20261123`."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no date; expected YYYY-MM-DD or YYYYMMDD.") from error


def parse_month(text: str) -> tuple[date, date]:
    """`2026-11`: the month's first day, and the next month's."""
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no month; expected YYYY-MM.") from error
    return first, next_month(first)


def next_month(day: date) -> date:
    """The first day of the month after the day's."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
