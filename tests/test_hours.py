"""Hours of the week at which a price holds."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accounting.errors import ConfigurationError
from accounting.hours import DAYS, Hours, hours, kept
from tests.books import NOON, at

MICROSECOND = timedelta(microseconds=1)
ZONES = ("UTC", "Asia/Shanghai", "Asia/Kathmandu", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe",
         "Pacific/Apia", "Africa/Casablanca", "America/Santiago")  # fmt: skip
CLOCKS_CHANGE = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/St_Johns": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "America/Santiago": (date(2026, 4, 4), date(2026, 9, 6)),  # at midnight: a day begins with 01:00
}


@st.composite
def some_hours(draw: st.DrawFn, *zones: str) -> Hours:
    """Over midnight or not, on the days that many cards name and on any."""
    days = draw(st.sampled_from([(0, 1, 2, 3, 4), (5, 6), tuple(range(7))]) | st.sets(st.integers(0, 6), min_size=1))
    start, end = draw(st.integers(0, 24 * 60 - 1)), draw(st.integers(1, 24 * 60))
    assume(start != end)
    return Hours(tuple(sorted(days)), start, end, draw(st.sampled_from(zones or ZONES)))


def by_days(own: Hours, at: datetime) -> bool:
    """By the days on which they begin, one after the other, and what a clock on the wall says."""
    wall = at.astimezone(ZoneInfo(own.zone)).replace(tzinfo=None)
    days = (wall.date() + timedelta(days=back) for back in (-1, 0))
    begins = (datetime.combine(day, datetime.min.time()) for day in days if day.weekday() in own.days)
    length = own.end - own.start + (24 * 60 if own.end <= own.start else 0)
    return any(
        begin + timedelta(minutes=own.start) <= wall < begin + timedelta(minutes=own.start + length) for begin in begins
    )


def borders(own: Hours, days: list[date]) -> Iterator[datetime]:
    """The instants at which the hours begin and end on the days, those beside them, and all quarter hours."""
    zone = ZoneInfo(own.zone)
    for day in days:
        for fold, minute in ((fold, minute) for fold in (0, 1) for minute in (own.start, own.end % (24 * 60))):
            wall = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone, fold=fold)
            yield from (wall.astimezone(UTC) + beside for beside in (-MICROSECOND, timedelta(0), MICROSECOND))
        first = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        yield from (first + timedelta(minutes=15 * quarter) for quarter in range(25 * 4))


@given(some_hours(), st.dates(date(2026, 1, 2), date(2026, 12, 30)))
def test_hours_hold_from_their_start_and_end_before_their_end_to_the_microsecond(own: Hours, day: date) -> None:
    for instant in borders(own, [day, day + timedelta(days=1)]):
        assert (instant in own) == by_days(own, instant), instant


@given(st.sampled_from(sorted(CLOCKS_CHANGE)).flatmap(some_hours))
def test_they_are_by_the_clock_where_it_is_put_forward_or_back(own: Hours) -> None:
    for day in CLOCKS_CHANGE[own.zone]:
        for instant in borders(own, [day - timedelta(days=1), day, day + timedelta(days=1)]):
            assert (instant in own) == by_days(own, instant), instant


@pytest.mark.parametrize(("text", "holds", "not_any_more"), [
    ("mon-fri 00:30-08:30 Asia/Shanghai", "2026-11-23 00:30+08:00", "2026-11-23 08:30+08:00"),
    ("16:30-00:30 UTC", "2026-11-22 16:30", "2026-11-23 00:30"),
    ("fri 22:00-06:00 Europe/Berlin", "2026-11-20 22:00+01:00", "2026-11-21 06:00+01:00"),
    ("sun 22:00-06:00 UTC", "2026-11-22 22:00", "2026-11-23 06:00"),  # over the end of the week
    ("sun 01:30-02:30 Europe/Berlin", "2026-03-29 01:30+01:00", "2026-03-29 03:00+02:00"),  # half of it is no time
    ("sun 02:00-03:00 Europe/Berlin", "2026-10-25 02:00+02:00", "2026-10-25 03:00+01:00"),  # two hours long
    ("00:00-24:00 UTC", "0001-01-01", "9999-12-31 23:59:59.999999"),
])  # fmt: skip
def test_their_first_and_their_last_microsecond(text: str, holds: str, not_any_more: str) -> None:
    own, first, end = hours(text), at(holds), at(not_any_more)
    assert first in own
    if text == "00:00-24:00 UTC":
        assert end in own
        return
    assert first - MICROSECOND not in own
    assert end - MICROSECOND in own
    assert end not in own


def test_hours_over_midnight_are_of_the_day_on_which_they_begin() -> None:
    own = hours("mon 22:00-02:00 UTC")
    found = [at(f"2026-11-{day} {clock}") in own for day in (23, 24) for clock in ("01:00", "23:00")]
    assert found == [False, True, True, False]


@given(some_hours())
def test_what_hours_say_of_themselves_reads_as_the_same_hours(own: Hours) -> None:
    assert hours(str(own)) == own
    assert hours(f"  {str(own).replace(' ', '   ')} ") == own


@pytest.mark.parametrize(("text", "same"), [
    ("MON-FRI 00:30-08:30 Asia/Shanghai", "mon-fri 00:30-08:30 Asia/Shanghai"),
    ("mon,tue,wed,thu,fri 00:30-08:30 UTC", "mon-fri 00:30-08:30 UTC"),
    ("sat-mon 00:30-08:30 UTC", "mon,sat,sun 00:30-08:30 UTC"),
    ("mon-sun 00:30-08:30 UTC", "00:30-08:30 UTC"),
    ("16:00-00:00 UTC", "16:00-24:00 UTC"),
])  # fmt: skip
def test_two_ways_to_write_the_same_hours_are_one(text: str, same: str) -> None:
    assert hours(text) == hours(same)
    assert str(hours(text)) == same


@given(some_hours("UTC", "Europe/Berlin"), some_hours("UTC", "Europe/Berlin"))
def test_hours_of_one_zone_may_meet_where_some_minute_of_the_week_is_in_both(one: Hours, other: Hours) -> None:
    week = datetime(2026, 11, 16, tzinfo=ZoneInfo(one.zone))
    minutes = ((week + timedelta(minutes=minute)).astimezone(UTC) for minute in range(7 * 24 * 60))
    if one.zone == other.zone:
        assert one.may_meet(other) == other.may_meet(one) == any(at in one and at in other for at in minutes)
    else:
        assert one.may_meet(other)


@given(st.text(max_size=40) | st.lists(st.sampled_from((*DAYS, "-", ",", " ", "00:30", "24:00", "UTC"))).map("".join))
def test_whatever_is_no_hours_is_refused_with_what_was_found(text: str) -> None:
    try:
        own = hours(text)
    except ConfigurationError:
        return
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
        assert hours(str(own)) == own
    assert not refused or repr(text) in refused


def test_a_zone_is_written_as_its_own_name_is() -> None:
    assert hours("00:00-08:00 asia/SHANGHAI") == hours("00:00-08:00 Asia/Shanghai")
    assert str(hours("00:00-08:00 utc")) == "00:00-08:00 UTC"


def test_hours_that_another_host_wrote_down_are_read_and_miss_their_zone_where_they_count() -> None:
    found = kept("00:00-08:00 America/Coyhaique2")
    assert str(found) == "00:00-08:00 America/Coyhaique2"
    with pytest.raises(ConfigurationError, match=r"this host knows no zone America/Coyhaique2\. .*upgrade tzdata"):
        assert NOON in found
    assert at("2026-11-23 00:30") in kept("08:00-09:00 asia/shanghai")
