import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from math import exp, log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.cycles import Cycle, Every, Span
from accounting.forecast import HORIZON, Forecast, Now, forecast
from accounting.money import EXACT

DAY = timedelta(days=1)
MONDAY = date(2026, 11, 2)
NOVEMBER = Span(date(2026, 11, 1), date(2026, 12, 1))
NOTHING = Decimal(0)
ONE_A_DAY = dict.fromkeys(range(7), Decimal(1))


def days(first: date, end: date, by_weekday: Mapping[int, Decimal] = ONE_A_DAY) -> dict[date, Decimal]:
    """The same every week."""
    count = (end - first).days
    return {day: by_weekday[day.weekday()] for day in (first + number * DAY for number in range(count))}


def said(
    daily: Mapping[date, Decimal],
    today: date,
    span: Span = NOVEMBER,
    limit: int | Decimal = 100,
    gone: str = "0",
    set_aside: Decimal = NOTHING,
) -> Forecast:
    """The forecast for a budget that spent, in its period, what its scope spent by then."""
    spent = sum((amount for day, amount in daily.items() if day in span), NOTHING)
    return forecast(daily, span, Decimal(limit), spent, set_aside, Now(today, Decimal(gone)))


def test_each_day_to_come_is_taken_for_its_weekday() -> None:
    by_weekday = {0: 10, 1: 11, 2: 12, 3: 13, 4: 14, 5: 1, 6: 0}
    daily = days(date(2026, 9, 21), date(2026, 11, 28), {day: Decimal(each) for day, each in by_weekday.items()})
    found = said(daily, date(2026, 11, 28), limit=300)
    whole = days(NOVEMBER.first, date(2026, 12, 1), {day: Decimal(each) for day, each in by_weekday.items()})
    assert found.expected == found.low == found.high == sum(whole.values())
    assert found.basis == "by weekdays of 8 weeks"
    assert found.until == date(2026, 12, 1)


def test_of_today_as_much_is_to_come_as_is_left_of_it() -> None:
    daily = days(date(2026, 9, 1), date(2026, 11, 30))
    assert said(daily, date(2026, 11, 30), gone="0").expected == 30
    assert said(daily, date(2026, 11, 30), gone="0.75").expected == Decimal("29.25")


def test_what_is_set_aside_counts_as_used() -> None:
    daily = days(date(2026, 9, 1), date(2026, 11, 21))
    found = said(daily, date(2026, 11, 21), limit=30, set_aside=Decimal(3))
    assert found.expected == 33
    assert found.runs_out == date(2026, 11, 28)  # 20 spent, 3 aside; the 27th makes it 30, which is the limit itself


def test_it_runs_out_on_the_day_that_passes_the_limit_and_not_at_all_where_none_does() -> None:
    daily = days(date(2026, 9, 1), date(2026, 11, 11))
    assert said(daily, date(2026, 11, 11), limit=Decimal("20.5")).runs_out == date(2026, 11, 21)
    assert said(daily, date(2026, 11, 11), limit=30).runs_out is None
    assert said(daily, date(2026, 11, 11), limit=10).runs_out == date(2026, 11, 11)  # it is used up already


def test_before_two_weeks_are_known_all_days_are_alike_and_that_is_said() -> None:
    daily = {MONDAY + number * DAY: Decimal(amount) for number, amount in enumerate((2, 4, 2, 4))}
    found = said(daily, date(2026, 11, 6))
    assert found.basis == "by the mean of 4 days: fewer than two weeks are known"
    assert found.expected == 12 + 25 * 3
    assert found.low is not None
    assert found.high is not None
    assert 12 < found.low < found.expected < found.high


def test_of_two_days_the_range_is_that_of_two_days() -> None:
    """Their variance 2 is 2/9 of the squared mean, half as much again as the mean itself is that unsure; and Student's
    t of one degree of freedom is 3.078."""
    spread = log(1 + 2 / 9 * (1 + 1 / 2))
    found = said({MONDAY: Decimal(2), MONDAY + DAY: Decimal(4)}, MONDAY + 2 * DAY, Span(MONDAY, MONDAY + 3 * DAY))
    assert found.expected == 6 + 3
    for bound, sign in ((found.low, -1), (found.high, 1)):
        assert bound == round(Decimal(6 + 3 * exp(-spread / 2 + sign * 3.078 * sqrt(spread))), 2)


def test_one_day_tells_a_mean_and_no_range() -> None:
    found = said({MONDAY: Decimal(3)}, MONDAY + DAY)
    assert found.expected == 3 + 28 * 3
    assert (found.low, found.high) == (None, None)
    assert found.basis == "by the mean of 1 day: fewer than two weeks are known"


def test_nothing_known_is_nothing_said() -> None:
    today = date(2026, 11, 24)
    for daily in ({}, {today: Decimal(7)}, {MONDAY: NOTHING}):
        found = said(daily, today)
        assert (found.expected, found.low, found.high, found.runs_out) == (None, None, None, None)
        assert found.basis == "nothing known yet"
    assert said({today: Decimal(100)}, today).runs_out == today


def test_days_without_spend_are_days_of_none_once_there_was_some() -> None:
    daily = {date(2026, 11, 4): Decimal(4), date(2026, 11, 7): Decimal(4)}
    assert said(daily, date(2026, 11, 8)).basis.startswith("by the mean of 4 days")
    assert said(daily, date(2026, 11, 8)).expected == 8 + 23 * 2


def test_newer_weeks_tell_more() -> None:
    rising = days(date(2026, 9, 28), date(2026, 10, 26)) | days(
        date(2026, 10, 26), date(2026, 11, 23), dict.fromkeys(range(7), Decimal(3))
    )
    found = said(rising, date(2026, 11, 23), Span(date(2026, 11, 23), date(2026, 11, 30)))
    assert found.expected is not None
    assert 18 < found.expected < 21  # the mean of all would be 14


def test_one_odd_day_hardly_moves_it() -> None:
    daily = days(date(2026, 9, 28), date(2026, 11, 23))
    week = Span(date(2026, 11, 23), date(2026, 11, 30))
    odd = said({**daily, date(2026, 11, 11): Decimal(1000)}, date(2026, 11, 23), week)
    assert said(daily, date(2026, 11, 23), week).expected == 7
    assert odd.expected is not None
    assert 7 < odd.expected < Decimal("7.6")


def test_a_total_is_looked_at_for_some_months() -> None:
    daily = days(date(2026, 9, 1), date(2026, 11, 24))
    ever = Cycle(Every.TOTAL).span(date(2026, 11, 24))
    found = said(daily, date(2026, 11, 24), ever, limit=100)
    assert found.until == date(2026, 11, 24) + HORIZON * DAY
    assert found.expected == 84 + HORIZON
    assert found.runs_out == date(2026, 12, 10)
    assert found.pace.percent is None
    assert found.pace.per_day == 1  # since the first spend, not since 1970


def test_a_budget_of_a_day_is_about_the_rest_of_it() -> None:
    daily = {**days(date(2026, 9, 1), date(2026, 11, 24)), date(2026, 11, 24): Decimal("0.9")}
    found = said(daily, date(2026, 11, 24), Cycle(Every.DAY).span(date(2026, 11, 24)), limit=1, gone="0.5")
    assert found.expected == Decimal("1.4")
    assert found.runs_out == date(2026, 11, 24)
    assert found.pace.percent == 180


def test_the_pace_is_held_against_an_even_one() -> None:
    daily = days(NOVEMBER.first, date(2026, 11, 16), dict.fromkeys(range(7), Decimal(4)))
    pace = said(daily, date(2026, 11, 16), limit=90, set_aside=Decimal(3)).pace
    assert [pace.per_day, pace.even_per_day] == [4, 3]
    assert [pace.even_by_now, pace.percent] == [45, 133]
    assert pace.left_per_day == Decimal("1.8")


def test_at_the_first_instant_of_a_period_there_is_no_pace_yet() -> None:
    pace = said({}, NOVEMBER.first).pace
    assert (pace.per_day, pace.percent, pace.left_per_day) == (None, None, Decimal("3.33"))


@pytest.mark.parametrize("every", [Every.DAY, Every.MONTH, Every.TOTAL])
@pytest.mark.parametrize("gone", ["0", "0.001", "0.5", "0.999"])
def test_less_than_a_day_tells_nothing_of_days(every: Every, gone: str) -> None:
    first = date(2026, 11, 1)
    pace = said({first: Decimal(3)}, first, Cycle(every).span(first), gone=gone).pace
    assert pace.per_day is None
    last = date(2026, 11, 30)
    assert said({last: Decimal(3)}, last, Cycle(every).span(last), gone=gone).pace.left_per_day is None or gone == "0"


def test_a_day_has_no_figures_by_the_day() -> None:
    pace = said({MONDAY: Decimal(3)}, MONDAY, Cycle(Every.DAY).span(MONDAY), gone="0.5").pace
    assert (pace.per_day, pace.left_per_day, pace.even_per_day) == (None, None, None)
    assert [pace.even_by_now, pace.percent] == [50, 6]


def test_a_total_that_is_to_begin_has_no_pace() -> None:
    daily = days(date(2026, 9, 1), date(2026, 10, 20))
    assert said(daily, date(2026, 10, 20), Span(NOVEMBER.first, None), gone="0.5").pace.per_day is None


def test_before_a_period_begins_all_of_it_is_to_come() -> None:
    daily = days(date(2026, 9, 1), date(2026, 10, 20))
    found = said(daily, date(2026, 10, 20), limit=60)
    assert found.expected == 30
    assert [found.pace.left_per_day, found.pace.even_by_now] == [2, 0]
    assert (found.pace.per_day, found.pace.percent) == (None, None)


def test_a_forecast_depends_on_no_setting_of_the_thread() -> None:
    daily = {**days(date(2026, 9, 1), date(2026, 11, 11)), MONDAY: Decimal("1.23456")}
    asked = daily, NOVEMBER, Decimal(100), Decimal("10.23456"), NOTHING, Now(date(2026, 11, 11), Decimal("0.3"))
    with localcontext(prec=3):
        found = forecast(*asked)
    assert found == forecast(*asked)


amounts = st.decimals(0, 10**18, places=12, allow_nan=False)
histories = st.dictionaries(st.dates(date(2026, 9, 1), date(2026, 11, 24)), amounts, max_size=80)
cycles = st.sampled_from([Cycle(every) for every in Every if every is not Every.DAYS])


@given(histories, cycles, amounts, amounts, amounts, st.decimals(0, 1, places=3))
def test_whatever_was_spent_the_range_holds_the_expected_and_nothing_is_unspent(
    daily: dict[date, Decimal], cycle: Cycle, limit: Decimal, spent: Decimal, aside: Decimal, gone: Decimal
) -> None:
    today = date(2026, 11, 24)
    found = forecast(daily, cycle.span(today), limit, spent, aside, Now(today, gone))
    assert (found.expected is None) == (not any(daily.get(today - back * DAY) for back in range(1, 57)))
    if found.low is not None and found.high is not None and found.expected is not None:
        assert EXACT.add(spent, aside) <= found.low <= found.expected <= found.high
    if found.runs_out is not None:
        assert today <= found.runs_out < found.until


@dataclass(frozen=True)
class Trial:
    """A month forecast on one of its days, by the weeks known before, and what it came to in the end."""

    found: Forecast
    straight: Decimal
    came_to: Decimal

    @property
    def is_covered(self) -> bool:
        assert self.found.low is not None
        assert self.found.high is not None
        return self.found.low <= self.came_to <= self.found.high


WORKING = (1.0, 1.1, 1.05, 1.0, 0.9, 0.2, 0.1)
"""What an office spends by weekday."""


def trials(seed: int, spread: float, step: float = 0, closed: float = 0, weeks: int = 8) -> Iterator[Trial]:
    """Months of days around a weekday's mean by `spread`, of its mean; the level walks by `step` a week, and a day is
    without any spend with the probability `closed`."""
    rng = random.Random(seed)
    width = sqrt(log(1 + spread**2))
    for _ in range(500):
        month = Cycle(Every.MONTH).span(date(2026, 1, 1) + rng.randrange(300) * DAY)
        assert month.end is not None
        today = month.first + rng.randrange(3, 27) * DAY
        first = min(month.first, today - 7 * weeks * DAY)
        level, daily = 50.0, {}
        for day in (first + number * DAY for number in range((month.end - first).days)):
            level *= exp(rng.gauss(0, step)) if day.weekday() == 0 else 1
            amount = level * WORKING[day.weekday()] * exp(rng.gauss(-(width**2) / 2, width))
            daily[day] = Decimal(0 if rng.random() < closed else round(amount * 10_000)).scaleb(-4)
        past = {day: amount for day, amount in daily.items() if day < today}
        found = said(past, today, month)
        so_far = sum((amount for day, amount in past.items() if day in month), NOTHING)
        straight = so_far / (today - month.first).days * (month.end - month.first).days
        yield Trial(found, straight, sum((each for day, each in daily.items() if day in month), NOTHING))


@pytest.mark.parametrize(
    ("of", "least", "most"),
    [
        ({"spread": 0.1}, 0.75, 0.9),
        ({"spread": 0.3}, 0.75, 0.9),
        ({"spread": 1.0}, 0.75, 0.9),
        ({"spread": 0.3, "weeks": 2}, 0.8, 0.92),
        ({"spread": 0.3, "closed": 0.04}, 0.75, 0.9),
        ({"spread": 0.3, "step": 0.1}, 0.7, 0.85),  # a level that walks by a tenth a week
    ],
)
def test_four_times_in_five_the_month_ends_within_the_range(of: dict[str, float], least: float, most: float) -> None:
    found = [trial.is_covered for trial in trials(7, **of)]  # type: ignore[arg-type]
    assert least <= sum(found) / len(found) <= most


@pytest.mark.parametrize(("spread", "better"), [(0.1, 0.4), (0.3, 0.75), (1.0, 0.9)])
def test_where_weekdays_differ_it_is_nearer_than_a_straight_line(spread: float, better: float) -> None:
    """Errors beside those of what was spent a day until now, times the days of the month."""
    made = list(trials(11, spread))
    ours = sum(abs((trial.found.expected or NOTHING) - trial.came_to) for trial in made)
    assert ours < Decimal(better) * sum(abs(trial.straight - trial.came_to) for trial in made)
