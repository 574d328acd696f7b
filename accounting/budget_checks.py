"""How budgets are: money held for long, calls left out of what is spent, and leases that nobody ends."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa

from accounting.contributions import REFUSAL
from accounting.decisions import Mode
from accounting.money import EXACT, ZERO
from accounting.rates import UNPRICED
from accounting.settling import HELD, RESERVED
from accounting.sheets import amount, counted
from accounting.store.tables import budget_periods, budgets, reservations, spend_by_tag
from accounting.symptoms import Bench, looking
from accounting.verdicts import LOOK, OK, Check, Verdict

HELD_LOOK = timedelta(days=1)
"""Since a call was reserved of which nobody knows yet what it cost."""

LAPSED_LOOK = timedelta(minutes=10)
"""Since a lease ended; the scheduler's job holds what is left of it within a minute or two."""

REFUSED_DAYS = 7
"""Refusals of so many days are looked at."""

_NAMED = 3
_ROWS_AT_ONCE = 1_000
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HeldLong:
    """What a budget holds for calls that were reserved more than `HELD_LOOK` ago."""

    budget: str
    currency: str
    amount: Decimal
    calls: int
    since: datetime


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Calls of a hard budget's running period that are in the books, and not in what is spent."""

    budget: str
    unpriced: int
    foreign_calls: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Calls that a budget refused lately; `unpriced` of them have no rate."""

    budget: str
    calls: int
    unpriced: int


def held_long(bench: Bench) -> tuple[HeldLong, ...]:
    """Of each budget that holds something for so long, by name."""
    with looking(bench.engine) as conn:
        old = sa.and_(reservations.c.state == HELD, reservations.c.reserved_at < bench.now - HELD_LOOK)
        columns = (budgets.c.name, budgets.c.currency, reservations.c.amount, reservations.c.reserved_at)
        query = sa.select(*columns).select_from(_PERIODS.join(reservations)).where(old, _IN_FORCE)
        found: dict[str, HeldLong] = {}
        with conn.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE}) as rows:
            for row in rows:
                one = found.get(row.name) or HeldLong(row.name, row.currency, ZERO, 0, row.reserved_at)
                since = min(one.since, row.reserved_at)
                found[row.name] = HeldLong(
                    one.budget, one.currency, EXACT.add(one.amount, row.amount), one.calls + 1, since
                )
    return tuple(found[name] for name in sorted(found))


def lapsed(bench: Bench) -> int:
    """Of how many calls the lease ended long ago, and what is set aside is not held yet."""
    with looking(bench.engine) as conn:
        due = sa.and_(reservations.c.state == RESERVED, reservations.c.leased_until < bench.now - LAPSED_LOOK)
        return conn.scalar(sa.select(sa.func.count(reservations.c.call_id.distinct())).where(due)) or 0


def left_out(bench: Bench) -> tuple[LeftOut, ...]:
    """Of the hard budgets' periods that are running, by name."""
    today = bench.now.date()
    # A day apart from it in UTC it is still today somewhere.
    running = sa.and_(
        budget_periods.c.begins_on <= today + _DAY,
        sa.or_(budget_periods.c.ends_on.is_(None), budget_periods.c.ends_on >= today),
    )
    lacking = sa.or_(budget_periods.c.unpriced > 0, budget_periods.c.foreign_calls > 0)
    latest = sa.func.max(budget_periods.c.begins_on)
    columns = (budgets.c.name, budget_periods.c.begins_on, budget_periods.c.unpriced, budget_periods.c.foreign_calls)
    with looking(bench.engine) as conn:
        newest = sa.select(budget_periods.c.budget_id, latest.label("day")).where(running).group_by("budget_id").cte()
        is_newest = sa.and_(newest.c.budget_id == budgets.c.id, newest.c.day == budget_periods.c.begins_on)
        query = sa.select(*columns).select_from(_PERIODS.join(newest, is_newest))
        rows = conn.execute(query.where(lacking, _IN_FORCE, budgets.c.mode != Mode.SOFT).order_by(budgets.c.name))
        return tuple(LeftOut(row.name, row.unpriced, row.foreign_calls) for row in rows)


def refused(bench: Bench) -> tuple[Refused, ...]:
    """By the budgets in force that refused calls without a rate, as far as the sums have them; by name."""
    of, table = spend_by_tag.c.value, spend_by_tag.c
    unpriced = sa.func.sum(sa.case((table.rate_id == UNPRICED, table.calls), else_=0))
    since = (bench.now - timedelta(days=REFUSED_DAYS)).date()
    query = sa.select(of, sa.func.sum(table.calls), unpriced).join(budgets, sa.and_(budgets.c.name == of, _IN_FORCE))
    chosen = query.where(table.tag == REFUSAL, table.billed_on >= since).group_by(of).having(unpriced > 0)
    with looking(bench.engine) as conn:
        return tuple(Refused(name, int(calls), int(some)) for name, calls, some in conn.execute(chosen.order_by(of)))


_PERIODS = budget_periods.join(budgets)
_IN_FORCE = budgets.c.removed_at.is_(None)


def held(seen: Sequence[HeldLong], _now: datetime) -> Verdict:
    """Money that no call can have, while nobody knows whether it was charged."""
    if not seen:
        return Verdict(OK, "No budget has held money for more than a day.")
    named = "; ".join(
        f"{one.budget} {amount(one.amount)} {one.currency} for {counted(one.calls, 'call')}, the oldest since "
        f"{one.since:%Y-%m-%d %H:%M}Z"
        for one in seen[:_NAMED]
    )
    more = f"; and {counted(len(seen) - _NAMED, 'other budget')}" if len(seen) > _NAMED else ""
    command = shlex.join(["accounting", "budgets", "release", seen[0].budget, "--all-held", "--why", "…"])
    return Verdict(
        LOOK,
        f"Held for calls of which nobody said what they cost: {named}{more}.",
        f"Journals that still wait bring it in (accounting deliver); what was surely not charged: {command}",
    )


def leases(seen: int, _now: datetime) -> Verdict:
    if not seen:
        return Verdict(OK, "What is set aside is for calls that may be running.")
    return Verdict(
        LOOK,
        f"{counted(seen, 'call')} ended or died more than {LAPSED_LOOK.seconds // 60} minutes after being reserved, "
        "and nobody took note: what is set aside for them can't be released by command.",
        "accounting work",
    )


def outside(seen: Sequence[LeftOut], _now: datetime) -> Verdict:
    """A hard budget holds what it can count: it has more room than its money."""
    if not seen:
        return Verdict(OK, "Every call of a hard budget counts in what it has spent.")
    named = "; ".join(f"{one.budget} {_which(one)}" for one in seen[:_NAMED])
    more = f"; and {counted(len(seen) - _NAMED, 'other budget')}" if len(seen) > _NAMED else ""
    first = seen[0]
    advice = (
        "accounting report --by model names those without a rate; then accounting rates add, and they count."
        if first.unpriced
        else f"{shlex.join(['accounting', 'budgets', 'edit', first.budget, '--fx'])} CODE=RATE has them count; "
        f"in which currency they are: {shlex.join(['accounting', 'budgets', 'show', first.budget])}"
    )
    return Verdict(
        LOOK,
        "Hard budgets that leave calls out of what is spent in their period, and in force refuse such calls: "
        f"{named}{more}.",
        advice,
    )


def _which(one: LeftOut) -> str:
    unpriced = f"{one.unpriced:,} without a rate" if one.unpriced else ""
    foreign = f"{one.foreign_calls:,} in another currency" if one.foreign_calls else ""
    return " and ".join(filter(None, (unpriced, foreign)))


def priceless(seen: Sequence[Refused], _now: datetime) -> Verdict:
    """Calls that a rate alone would let pass."""
    if not seen:
        return Verdict(OK, f"In {REFUSED_DAYS} days no hard budget refused a call for want of a rate.")
    named = "; ".join(f"{one.budget} {one.unpriced:,} of {counted(one.calls, 'call')}" for one in seen[:_NAMED])
    more = f"; and {counted(len(seen) - _NAMED, 'other budget')}" if len(seen) > _NAMED else ""
    which = shlex.join(["accounting", "calls", "--refused-by", seen[0].budget])
    return Verdict(
        LOOK,
        f"Of the calls refused in {REFUSED_DAYS} days some have no rate: {named}{more}.",
        f"{which} names their models; then accounting rates add.",
    )


CHECKS = (
    Check("held", held_long, held),
    Check("leases", lapsed, leases),
    Check("budgets", left_out, outside),
    Check("refusals", refused, priceless),
)
