"""The options that choose days, the same for each command that has them."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection, select

from accounting.errors import ConfigurationError
from accounting.periods import EARLIEST, LATEST, Days, next_month, parse_day, parse_month
from accounting.periods import zone as named_zone
from accounting.spend_sheet import Span
from accounting.store.tables import store

Since = Annotated[
    str | None, typer.Option("--since", "-s", metavar="DAY", help="First day, included: YYYY-MM-DD or YYYYMMDD.")
]
Until = Annotated[str | None, typer.Option("--until", "-u", metavar="DAY", help="Last day, included.")]
Month = Annotated[str | None, typer.Option("--month", "-m", metavar="MONTH", help="One month: YYYY-MM.")]
Zone = Annotated[
    str | None,
    typer.Option("--tz", "-z", metavar="ZONE", help="Whose days: an IANA zone like Asia/Shanghai; else the books'."),
]


def span(since: str | None, until: str | None, month: str | None, zone: str, today: date | None = None) -> Span:
    """The days that the options name; without any, today's month, or all if there is no today."""
    if month is not None:
        if since or until:
            raise ConfigurationError("--month names all its days; leave out --since and --until, or --month.")
        return Span(*_month(month), zone)
    if since is None and until is None and today is not None:
        return Span(today.replace(day=1), next_month(today), zone)
    first = None if since is None else day(since)
    last = None if until is None else day(until)
    if first and last and first > last:
        raise ConfigurationError(f"--since {first} is after --until {last}; exchange them.")
    return Span(first, None if last is None else last + timedelta(days=1), zone)


def books_zone(conn: Connection) -> ZoneInfo:
    """The zone of the books' days, fixed when the store was made."""
    return named_zone(conn.scalars(select(store.c.zone)).one())


def day(text: str) -> date:
    """A day that has a midnight in every zone."""
    return _in_range(parse_day(text))


def moment(text: str, days: Days, option: str) -> datetime:
    """A time with its offset, or a day, which begins as the days do. `option` is where it was said."""
    if "T" not in text and " " not in text.strip():
        return days.start(day(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} {text!r} is no time; expected one like 2026-11-23T10:00+08:00.") from error
    if at.tzinfo is None:
        raise ConfigurationError(f"{option} {text!r} says not where; add the offset, like 2026-11-23T10:00+08:00.")
    day(f"{at:%Y-%m-%d}")  # raises for one so far off that it is no time in UTC
    return at.astimezone(UTC)


def _month(text: str) -> tuple[date, date]:
    if text == "9999-12":  # it has none after it
        _in_range(date.max)
    first, end = parse_month(text)
    return _in_range(first), end


def _in_range(day: date) -> date:
    if not EARLIEST <= day <= LATEST:
        raise ConfigurationError(f"{day} is out of range; expected a day from {EARLIEST} to {LATEST}.")
    return day
