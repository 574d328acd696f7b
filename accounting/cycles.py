"""How often a budget begins anew: the stretch of days that a day of the books lies in. Nothing here reads the clock."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from accounting.periods import EARLIEST, next_month


class Every(StrEnum):
    """A week begins on Monday. `DAYS` are so many at a time; `TOTAL` never begins anew."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    DAYS = "days"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first`, included, to `end`, left out; None: without end."""

    first: date
    end: date | None

    def __contains__(self, day: date) -> bool:
        return self.first <= day and (self.end is None or day < self.end)


@dataclass(frozen=True, slots=True)
class Cycle:
    """`days` and `since` say of `Every.DAYS` how many, and on which day a stretch began; `since` also of a total."""

    every: Every
    days: int = 0
    since: date | None = None

    def span(self, day: date) -> Span:
        """The stretch that the day lies in."""
        match self.every:
            case Every.DAY:
                return Span(day, day + timedelta(days=1))
            case Every.WEEK:
                monday = day - timedelta(days=day.weekday())
                return Span(monday, monday + timedelta(days=7))
            case Every.MONTH:
                return Span(day.replace(day=1), next_month(day))
            case Every.QUARTER:
                first = date(day.year, day.month - (day.month - 1) % 3, 1)
                return Span(first, next_month(next_month(next_month(first))))
            case Every.YEAR:
                return Span(date(day.year, 1, 1), date(day.year + 1, 1, 1))
            case Every.DAYS:
                since = self.since or EARLIEST
                first = since + timedelta(days=(day - since).days // self.days * self.days)
                return Span(first, first + timedelta(days=self.days))
            case Every.TOTAL:
                return Span(self.since or EARLIEST, None)

    def __str__(self) -> str:
        match self.every:
            case Every.DAYS:
                return f"{self.days} days from {self.since}"
            case Every.TOTAL:
                return "total" if self.since is None else f"total from {self.since}"
            case _:
                return str(self.every)
