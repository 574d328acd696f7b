from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.errors import ConfigurationError
from accounting.periods import (
    Days,
    Period,
    billed_on,
    midnight,
    moment,
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
def test_no_two_instants_are_told_alike(one: datetime, other: datetime) -> None:
    assert (moment(one) == moment(other)) == (one == other)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-03-01T00:00+00:00", "2026-03-01 00:00Z"),
        ("2026-03-01T00:00+08:00", "2026-02-28 16:00Z"),
        ("2026-03-01T00:00:30+00:00", "2026-03-01 00:00:30Z"),
        ("2026-03-01T00:00:00.000001+00:00", "2026-03-01 00:00:00.000001Z"),
    ],
)
def test_an_instant_is_told_to_the_minute_or_as_exactly_as_it_is(at: str, told: str) -> None:
    assert moment(datetime.fromisoformat(at)) == told


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


CHANGES = st.lists(st.tuples(DATES, ZONES), max_size=3, unique_by=lambda change: change[0]).map(
    lambda changes: tuple(sorted(changes, key=lambda change: change[0]))
)
CALENDARS = st.builds(Days, ZONES, CHANGES)


@st.composite
def instants_near_a_change(draw: st.DrawFn, days: Days) -> datetime:
    border = draw(st.sampled_from([first for first, _ in days.changes] or [date(2026, 11, 1)]))
    return datetime(border.year, border.month, border.day, tzinfo=UTC) + draw(
        st.timedeltas(timedelta(days=-4), timedelta(days=4))
    )


@given(st.data(), CALENDARS)
def test_days_never_go_back_though_the_zone_changes(data: st.DataObject, days: Days) -> None:
    one, other = sorted(data.draw(st.tuples(*[instants_near_a_change(days)] * 2)))
    assert days.of(one) <= days.of(other)


@given(st.data(), CALENDARS)
def test_an_instant_lies_within_its_day_though_the_zone_changes(data: st.DataObject, days: Days) -> None:
    at = data.draw(instants_near_a_change(days))
    assert days.start(days.of(at)) <= at < days.start(days.of(at) + timedelta(days=1))


@given(ZONES, ZONES, DATES)
def test_a_new_zone_begins_as_its_first_day_is_reached_in_the_old_one(old: ZoneInfo, new: ZoneInfo, day: date) -> None:
    days, border = Days(old, ((day, new),)), midnight(day, old)
    assert days.start(day) == border
    assert days.of(border - MICROSECOND) == billed_on(border - MICROSECOND, old) < day
    assert days.of(border) == max(day, billed_on(border, new))
    assert (days.zone_on(day - timedelta(days=1)), days.zone_on(day)) == (old, new)


@given(ZONES, DATES, INSTANTS)
def test_a_change_to_the_same_zone_changes_no_day(where: ZoneInfo, day: date, at: datetime) -> None:
    assert Days(where, ((day, where),)).of(at) == billed_on(at, where)


@pytest.mark.parametrize(("old", "new", "hours"), [
    ("Asia/Shanghai", "America/Los_Angeles", 40),  # 24 h, and 16 more until the west has its midnight
    ("America/Los_Angeles", "Asia/Shanghai", 8),
    ("Pacific/Pago_Pago", "Pacific/Kiritimati", 0),  # 25 h apart: the day is over in the east as it begins
])  # fmt: skip
def test_the_first_day_of_a_new_zone_is_longer_in_the_west(old: str, new: str, hours: int) -> None:
    day = date(2026, 12, 1)
    days = Days(ZoneInfo(old), ((day, ZoneInfo(new)),))
    # Of no length, the day begins an hour into the next one: that one lacks it.
    assert max(days.start(day + timedelta(days=1)) - days.start(day), timedelta(0)) == timedelta(hours=hours)
