from datetime import date, timedelta

import pytest

from accounting.cycles import Cycle, Every, Span
from accounting.periods import EARLIEST

NOV = date(2026, 11, 24)  # a Tuesday


@pytest.mark.parametrize(
    ("cycle", "first", "end"),
    [
        (Cycle(Every.DAY), NOV, date(2026, 11, 25)),
        (Cycle(Every.WEEK), date(2026, 11, 23), date(2026, 11, 30)),
        (Cycle(Every.MONTH), date(2026, 11, 1), date(2026, 12, 1)),
        (Cycle(Every.QUARTER), date(2026, 10, 1), date(2027, 1, 1)),
        (Cycle(Every.YEAR), date(2026, 1, 1), date(2027, 1, 1)),
        (Cycle(Every.DAYS, 10, date(2026, 11, 14)), NOV, date(2026, 12, 4)),
        (Cycle(Every.DAYS, 10, date(2026, 12, 1)), date(2026, 11, 21), date(2026, 12, 1)),
        (Cycle(Every.TOTAL), EARLIEST, None),
        (Cycle(Every.TOTAL, since=date(2026, 3, 1)), date(2026, 3, 1), None),
    ],
    ids=str,
)
def test_a_day_lies_in_one_stretch(cycle: Cycle, first: date, end: date | None) -> None:
    assert cycle.span(NOV) == Span(first, end)


@pytest.mark.parametrize("cycle", [*(Cycle(every) for every in Every if every not in ("days", "total")),
                                   Cycle(Every.DAYS, 3, date(2027, 1, 1))], ids=str)  # fmt: skip
def test_stretches_follow_each_other_without_a_gap(cycle: Cycle) -> None:
    day = date(2025, 12, 1)
    for _ in range(800):
        span, after = cycle.span(day), cycle.span(day + timedelta(days=1))
        assert day in span
        assert after == span or after.first == span.end == day + timedelta(days=1)
        day += timedelta(days=1)
