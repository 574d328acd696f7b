from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.errors import ConfigurationError
from accounting.periods import (
    Period,
    billed_on,
    midnight,
    next_month,
    parse_day,
    parse_month,
    quarter,
    zone,
)

BERLIN = ZoneInfo("Europe/Berlin")
MICROSECOND = timedelta(microseconds=1)
NAMES = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("posix", "right")))
ZONES = st.sampled_from(NAMES).map(ZoneInfo)
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2036, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - gets it
DATES = st.dates(date(2024, 1, 1), date(2036, 12, 31))


@given(INSTANTS, st.timedeltas(MICROSECOND, timedelta(days=400)))
def test_a_period_holds_its_start_and_leaves_out_its_end(start: datetime, length: timedelta) -> None:
    period = Period(start, start + length)
    assert start in period
    assert start - MICROSECOND not in period
    assert start + length - MICROSECOND in period
    assert start + length not in period


@given(INSTANTS, INSTANTS)
def test_a_period_and_the_next_share_no_instant_and_leave_none_out(border: datetime, at: datetime) -> None:
    assert (at in Period(None, border)) != (at in Period(border, None))


@given(INSTANTS, ZONES)
def test_an_instant_lies_within_the_day_it_is_billed_on(at: datetime, where: ZoneInfo) -> None:
    day = billed_on(at, where)
    assert midnight(day, where) <= at < midnight(day + timedelta(days=1), where)


@given(DATES, ZONES)
def test_days_begin_on_a_quarter_hour_in_every_zone(day: date, where: ZoneInfo) -> None:
    start = midnight(day, where)
    assert quarter(start) == start


@given(INSTANTS)
def test_an_instant_lies_within_its_quarter_hour(at: datetime) -> None:
    assert quarter(at) <= at < quarter(at) + timedelta(minutes=15)
    assert quarter(at.astimezone(ZoneInfo("Asia/Kathmandu"))) == quarter(at)


@pytest.mark.parametrize(("day", "hours"), [
    (date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 23), 24),
])  # fmt: skip
def test_a_day_is_as_long_as_its_clocks_say(day: date, hours: int) -> None:
    start, end = midnight(day, BERLIN), midnight(day + timedelta(days=1), BERLIN)
    assert end - start == timedelta(hours=hours)
    assert {billed_on(start + timedelta(hours=hour), BERLIN) for hour in range(hours)} == {day}


def test_the_repeated_hour_belongs_to_the_one_day() -> None:
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert first.astimezone(BERLIN).time() == second.astimezone(BERLIN).time()
    assert billed_on(first, BERLIN) == billed_on(second, BERLIN) == date(2026, 10, 25)


def test_a_day_whose_midnight_is_skipped_begins_with_its_first_instant() -> None:
    cairo = ZoneInfo("Africa/Cairo")
    start = midnight(date(2026, 4, 24), cairo)
    assert start.astimezone(cairo).isoformat() == "2026-04-24T01:00:00+03:00"
    assert billed_on(start - MICROSECOND, cairo) == date(2026, 4, 23)


@given(DATES)
def test_a_month_is_its_days(day: date) -> None:
    first, end = parse_month(f"{day:%Y-%m}")
    assert first <= day < end == next_month(day)
    assert first == day.replace(day=1)
    assert (end - timedelta(days=1)).month == day.month
    assert end.day == 1


def test_days_are_written_in_either_way() -> None:
    assert parse_day("2026-11-23") == parse_day("20261123") == date(2026, 11, 23)


@pytest.mark.parametrize("text", ["", "2026-02-30", "23.11.2026", "today", "2026-11-23T12:00"])
def test_what_is_no_day_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected YYYY-MM-DD"):
        parse_day(text)


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-1", "2026-11-23"])
def test_what_is_no_month_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected YYYY-MM"):
        parse_month(text)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "Europe", "/etc/localtime", "UTC\0"])
def test_what_is_no_zone_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match="expected an IANA name"):
        zone(name)
