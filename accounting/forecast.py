"""What a budget will likely have spent by the end of its period: by the weekdays of past weeks, not by a straight line.

A forecast is no money in the books: its amounts are rounded. Nothing here reads the clock.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal, FloatOperation, InvalidOperation, Overflow, localcontext
from itertools import pairwise

from accounting.cycles import Span
from accounting.money import EXACT, ZERO

HORIZON = 90
"""So many days ahead a budget is looked at that never begins anew."""

LOOKED_BACK = 56
"""So many days before today tell of the days to come. As many of each weekday."""

_WEEK = 7
_WEEKS = LOOKED_BACK // _WEEK
_DAY = timedelta(days=1)
_ONE = Decimal(1)
_PERCENT = Decimal(100)

_ROUGH = Context(prec=50, traps=[FloatOperation, InvalidOperation, Overflow])

_DOUBT = Decimal("1.5")
"""Weeks must differ by so much more than chance would have it, in squares, before the level is taken to drift: they are
few, and without this a level that stands still would be given too wide a range."""

_SLIP = 2
"""A day that took more than so many times what any other took, a loop over a night say, is taken for no more."""


@dataclass(frozen=True, slots=True)
class Now:
    """The day that it is where the budget's days are, and how much of it is gone: 0 at its start, 1 at its end."""

    day: date
    gone: Decimal


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a period's limit goes, in the budget's currency.

    `per_day` was spent a day until now, or lately where the budget never begins anew; `left_per_day` is what may be
    used a day until the period ends. Both are None for less than a day: a first hour, or a last one, would make them
    any amount. Used up evenly, the limit would be `even_per_day`, None where it is that of one day, and would have come
    to `even_by_now`; `percent` is what was spent of that. What has no meaning yet, or for a budget that never begins
    anew, is None.
    """

    per_day: Decimal | None
    left_per_day: Decimal | None = None
    even_per_day: Decimal | None = None
    even_by_now: Decimal | None = None
    percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will be used by `until`, left out: the end of the period, or `HORIZON` days from now where it has none.

    Used is what is spent, reserved or held. Four in five times it will lie from `low` to `high`. On the day `runs_out`
    the limit is passed, if it goes as expected; None: not until then. `basis` says for people by what all that was
    found. While nothing is known the amounts are None, and the range while nothing tells how days differ.
    """

    until: date
    expected: Decimal | None
    low: Decimal | None
    high: Decimal | None
    runs_out: date | None
    basis: str
    pace: Pace


def forecast(
    daily: Mapping[date, Decimal], span: Span, limit: Decimal, spent: Decimal, set_aside: Decimal, now: Now
) -> Forecast:
    """The forecast of a budget in the period.

    `daily` is what its scope spent in past days, in the budget's currency, also before the budget and the period: days
    without an amount spent nothing, and before the first amount the scope had not begun. `set_aside` is what is
    reserved and held. Of today the rest is expected by the share of it that is left.
    """
    used = EXACT.add(spent, set_aside)
    until = now.day + HORIZON * _DAY if span.end is None else span.end
    with localcontext(_ROUGH):
        pattern = _pattern(_known(daily, now.day))
        ahead = list(_ahead(now, span.first, until))
        pace = _pace(span, limit, spent, used, now, daily)
        if pattern is None:
            runs_out = now.day if used >= limit else None
            return Forecast(until, None, None, None, runs_out, "nothing known yet", pace)
        low, high = _range(pattern, ahead)
        return Forecast(
            until=until,
            expected=_by_then(used, pattern.expected(ahead)),
            low=None if low is None else _by_then(used, low),
            high=None if high is None else _by_then(used, high),
            runs_out=_runs_out(pattern, ahead, used, limit, now.day),
            basis=pattern.basis,
            pace=pace,
        )


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A day to come, or the `share` that is left of one."""

    day: date
    share: Decimal


@dataclass(frozen=True, slots=True)
class _Past:
    """What a past day spent. A day of the newest week has the weight 8, one of the oldest 1."""

    day: date
    amount: Decimal
    weight: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What days likely spend: by weekday where it `is_weekly`, all alike where not.

    `worth` says of how many equal days each mean would be as sure. `variation` is the variance of a day, of its mean's
    square; `freedom` is by how many days that is known, 0 where one day is all there is. `unsure` is the variance of
    the level, of its square, that all days have in common, and `drift` what a week adds to that.
    """

    basis: str
    is_weekly: bool
    means: Mapping[int, Decimal]
    worth: Mapping[int, Decimal]
    variation: Decimal
    freedom: int
    unsure: Decimal
    drift: Decimal

    def mean(self, day: date) -> Decimal:
        return self.means[_group(day, self.is_weekly)]

    def expected(self, ahead: Sequence[_Ahead]) -> Decimal:
        return sum((each.share * self.mean(each.day) for each in ahead), ZERO)

    def variance(self, ahead: Sequence[_Ahead]) -> Decimal:
        """Of what the days come to: each differs from its mean, the means may be wrong, and so may their level."""
        days: dict[int, Decimal] = {}
        for each in ahead:
            group = _group(each.day, self.is_weekly)
            days[group] = days.get(group, ZERO) + each.share
        parts = (self.means[group] ** 2 * (count + count**2 / self.worth[group]) for group, count in days.items())
        # The mean of a walk has a third of the variance of its end.
        level = self.unsure + self.drift * (_ONE + Decimal(len(ahead)) / (3 * _WEEK))
        return self.variation * sum(parts, ZERO) + level * self.expected(ahead) ** 2


def _group(day: date, is_weekly: bool) -> int:
    return day.weekday() if is_weekly else 0


def _known(daily: Mapping[date, Decimal], today: date) -> list[_Past]:
    """The days before today that tell something: since the scope began, and not longer ago than `LOOKED_BACK`."""
    days = [today - back * _DAY for back in range(LOOKED_BACK, 0, -1)]
    begun = next((place for place, day in enumerate(days) if daily.get(day, ZERO) > ZERO), len(days))
    amounts = _without_slip([daily.get(day, ZERO) for day in days[begun:]])
    return [
        _Past(day, amount, _WEEKS - ((today - day).days - 1) // _WEEK)
        for day, amount in zip(days[begun:], amounts, strict=True)
    ]


def _without_slip(amounts: Sequence[Decimal]) -> list[Decimal]:
    """Of less than two weeks nobody can say which day is the odd one."""
    if len(amounts) < 2 * _WEEK:
        return list(amounts)
    most = _SLIP * sorted(amounts)[-2]
    return [min(amount, most) for amount in amounts] if most else list(amounts)


def _pattern(known: Sequence[_Past]) -> _Pattern | None:
    if not known:
        return None
    is_weekly = len(known) >= 2 * _WEEK
    groups: dict[int, list[_Past]] = {}
    for past in known:
        groups.setdefault(_group(past.day, is_weekly), []).append(past)
    means = {group: _mean(days) for group, days in groups.items()}
    worth = {group: _worth(days) for group, days in groups.items()}
    variation = _variation(groups.values())
    usual = [means[_group(past.day, is_weekly)] for past in known]
    level, unsure = _level(known, usual) if is_weekly else (_ONE, ZERO)
    return _Pattern(
        basis=_basis(len(known)),
        is_weekly=is_weekly,
        means={group: level * mean for group, mean in means.items()},
        worth=worth,
        variation=variation,
        freedom=round(sum(worth.values(), ZERO)) - len(groups),
        unsure=variation * unsure,
        drift=_drift(known, usual, variation) if is_weekly else ZERO,
    )


def _level(known: Sequence[_Past], usual: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """How much of the usual is spent lately, each week counting for half the next; and its variance, of a day's.

    All weekdays tell of it, so it is sure enough after a week or two, where the pattern takes all eight.
    """
    weights = [Decimal(2) ** past.weight for past in known]
    by_weight = list(zip(known, usual, weights, strict=True))
    whole = sum((weight * mean for _, mean, weight in by_weight), ZERO)
    if not whole:
        return _ONE, ZERO
    level = sum((weight * past.amount for past, _, weight in by_weight), ZERO) / whole
    return level, sum(((weight * mean) ** 2 for _, mean, weight in by_weight), ZERO) / whole**2


def _drift(known: Sequence[_Past], usual: Sequence[Decimal], variation: Decimal) -> Decimal:
    """What the level of one week differs from the next's, squared, beyond what differing days make of it."""
    weeks: dict[int, list[tuple[Decimal, Decimal]]] = {}
    for past, mean in zip(known, usual, strict=True):
        weeks.setdefault(past.weight, []).append((past.amount, mean))
    *_, means = zip(*weeks[_WEEKS], strict=True)
    whole = sum(means, ZERO)
    if not whole:
        return ZERO
    levels = [sum((amount for amount, _ in week), ZERO) / whole for week in weeks.values() if len(week) == _WEEK]
    steps = sum(((after - before) ** 2 for before, after in pairwise(levels)), ZERO) / (len(levels) - 1)
    by_chance = 2 * variation * sum((mean**2 for mean in means), ZERO) / whole**2
    return max(ZERO, steps - _DOUBT * by_chance)


def _basis(days: int) -> str:
    if days >= 2 * _WEEK:
        return f"by weekdays of {days // _WEEK} weeks"
    return f"by the mean of {days} day{'' if days == 1 else 's'}: fewer than two weeks are known"


def _mean(days: Sequence[_Past]) -> Decimal:
    return sum((past.weight * past.amount for past in days), ZERO) / sum(past.weight for past in days)


def _worth(days: Sequence[_Past]) -> Decimal:
    return Decimal(sum(past.weight for past in days) ** 2) / sum(past.weight**2 for past in days)


def _variation(groups: Iterable[Sequence[_Past]]) -> Decimal:
    """Found over all weekdays together: eight Sundays alone say little about how Sundays differ."""
    off, whole = ZERO, ZERO
    for days in groups:
        mean, weight = _mean(days), sum(past.weight for past in days)
        off += sum((past.weight * (past.amount - mean) ** 2 for past in days), ZERO)
        # Days lie nearer to their own mean than to the true one.
        whole += weight * (_ONE - _ONE / _worth(days)) * mean**2
    return off / whole if whole else ZERO


def _ahead(now: Now, first: date, until: date) -> Iterator[_Ahead]:
    day = max(now.day, first)
    while day < until:
        yield _Ahead(day, _ONE - now.gone if day == now.day else _ONE)
        day += _DAY


def _range(pattern: _Pattern, ahead: Sequence[_Ahead]) -> tuple[Decimal | None, Decimal | None]:
    """What one in ten times is not reached, and what one in ten times is passed.

    As if logarithms were normal: spend is never below zero, and its surprises are upwards.
    """
    expected = pattern.expected(ahead)
    if not expected:
        return expected, expected
    if not pattern.freedom:
        return None, None
    spread = (_ONE + pattern.variance(ahead) / expected**2).ln()
    middle, reach = -spread / 2, _reach(pattern.freedom) * spread.sqrt()
    return expected * (middle - reach).exp(), expected * max(_ONE, (middle + reach).exp())


_FEW = tuple(map(Decimal, ("3.078", "1.886", "1.638", "1.533")))
_MANY = Decimal("1.282")


def _reach(freedom: int) -> Decimal:
    """How many deviations leave one in ten above, where these are known by so many days: Student's t."""
    return _FEW[freedom - 1] if freedom <= len(_FEW) else _MANY * (_ONE + Decimal("0.66") / freedom)


def _by_then(used: Decimal, more: Decimal) -> Decimal:
    """Rounding must not make it less than what is used already."""
    return max(used, _rounded(used + more))


def _runs_out(pattern: _Pattern, ahead: Sequence[_Ahead], used: Decimal, limit: Decimal, today: date) -> date | None:
    if used >= limit:
        return today
    for each in ahead:
        used += each.share * pattern.mean(each.day)
        if used > limit:
            return each.day
    return None


def _pace(span: Span, limit: Decimal, spent: Decimal, used: Decimal, now: Now, daily: Mapping[date, Decimal]) -> Pace:
    if span.end is None:
        return Pace(_lately(span, now, daily))
    days = Decimal((span.end - span.first).days)
    gone = min(max((now.day - span.first).days + now.gone, ZERO), days)
    even = limit * gone / days
    return Pace(
        per_day=_rounded(spent / gone) if gone >= _ONE else None,
        left_per_day=_rounded(max(limit - used, ZERO) / (days - gone)) if days > _ONE and days - gone >= _ONE else None,
        even_per_day=_rounded(limit / days) if days > _ONE else None,
        even_by_now=_rounded(even),
        percent=(spent * _PERCENT / even).quantize(_ONE) if even else None,
    )


def _lately(span: Span, now: Now, daily: Mapping[date, Decimal]) -> Decimal | None:
    """What was spent a day since there was any spend, or in the days looked back on where that is longer ago."""
    earliest = max(span.first, now.day - LOOKED_BACK * _DAY)
    known = {day: amount for day, amount in daily.items() if earliest <= day <= now.day and amount}
    gone = (now.day - min(known, default=now.day)).days + now.gone
    return _rounded(sum(known.values(), ZERO) / gone) if gone >= _ONE else None


def _rounded(amount: Decimal) -> Decimal:
    """To hundredths, or to three digits where that is finer."""
    return round(amount, max(2, 2 - amount.adjusted()))
