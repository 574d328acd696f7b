"""Faults in budgets that the program hasn't, planted into it one at a time: see `planted`."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import backfill, budgetperiods, budgets, projects, reservations, scoped, settling, storegate, versions
from accounting.budgetlimits import Limits
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.coverage import Coverage
from accounting.cycles import Cycle, Span
from accounting.decisions import Ask
from accounting.entries import Read
from accounting.money import Money
from accounting.ports import Verdict
from accounting.reservations import Knowledge
from accounting.scopes import Kind, Scopes, Subject
from accounting.settling import Budgets
from accounting.stamps import Stamps
from accounting.store import database_now, editions
from accounting.store.tables import budget_periods
from accounting.store.tables import reservations as rows
from accounting.usage import Call, Outcome, id_time
from tests.planted import Plant

_settle, _place, _meet, _known = settling.settle, budgetperiods.place, versions.meet, budgets.known

Row = Mapping[Any, Any]


def a_lapsed_lease_is_free_again(patch: pytest.MonkeyPatch) -> None:
    def lapse(conn: Connection) -> int:
        is_over = sa.and_(rows.c.state == settling.RESERVED, rows.c.leased_until <= database_now(conn))
        return len({one.call_id for one in reservations._take(conn, is_over)})

    patch.setattr(reservations, "lapse", lapse)


def a_lease_never_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reservations, "lapse", lambda _conn: 0)


def what_is_settled_stays_set_aside(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "_write", lambda *_: None)


def what_is_settled_stays_in_the_sums(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "_ended", lambda periods, _ends: periods.values())


def a_call_that_comes_again_is_spent_again(patch: pytest.MonkeyPatch) -> None:
    def meet(conn: Connection, source: int, batch: int, read: Sequence[Read], stamps: Stamps, now: Any) -> Any:
        met = _meet(conn, source, batch, read, stamps, now)
        again = [stamps.row(each.call) for each in read if met.verdicts[each.number] is Verdict.DUPLICATE]
        _settle(conn, settling.load(conn), [], again)
        return met

    patch.setattr(versions, "meet", meet)


def a_call_is_spent_on_its_day_in_utc(patch: pytest.MonkeyPatch) -> None:
    def settle(conn: Connection, known: Budgets, *both: Sequence[Row]) -> None:
        _settle(conn, known, *([{**row, "billed_on": id_time(row["id"]).date()} for row in each] for each in both))

    patch.setattr(settling, "settle", settle)


def a_call_is_asked_for_on_its_day_in_utc(patch: pytest.MonkeyPatch) -> None:
    def day(_known: Knowledge, ask: Ask) -> date:
        return ask.call.started_at.date()

    patch.setattr(reservations, "_day", day)


def every_currency_is_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Budget, "converted", lambda _budget, cost: cost.amount)


def no_exchange_rate_is_one(patch: pytest.MonkeyPatch) -> None:
    def converted(budget: Budget, cost: Money) -> Decimal | None:
        return cost.amount if cost.currency == budget.currency else None

    patch.setattr(Budget, "converted", converted)


_wanted, _over = reservations._wanted, reservations._over


def only_the_first_budget_is_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reservations, "_wanted", lambda *given: islice(_wanted(*given), 1))


def only_the_first_budget_sets_aside(patch: pytest.MonkeyPatch) -> None:
    """All of them are asked."""
    granted: dict[UUID, int] = {}

    def row(ask: Ask, one: Any, period: Period, *given: Any) -> dict[str, object]:
        found = _row(ask, one, period, *given)
        is_first = granted.setdefault(ask.call.id, period.id) == period.id
        return found if is_first else found | {"amount": Decimal(0)}

    patch.setattr(reservations, "_row", row)


_row = reservations._row


def what_is_held_leaves_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Period, "remaining", property(lambda period: period.limit - period.spent - period.reserved))


def calls_asked_for_together_see_the_same_room(patch: pytest.MonkeyPatch) -> None:
    first: dict[Place, Period] = {}

    def over(known: Knowledge, ask: Ask, wanted: Sequence[Any], periods: Mapping[Place, Period]) -> Any:
        return _over(known, ask, wanted, {place: first.setdefault(place, one) for place, one in periods.items()})

    def lock(conn: Connection, *given: Any) -> Any:
        first.clear()
        return _lock(conn, *given)

    patch.setattr(reservations, "_over", over)
    patch.setattr(budgetperiods, "lock", lock)


_lock = budgetperiods.lock


def interrupted_calls_are_free(patch: pytest.MonkeyPatch) -> None:
    _free(patch, lambda row: row["outcome"] in (Outcome.FAILED, Outcome.INTERRUPTED))


def unknown_calls_are_free(patch: pytest.MonkeyPatch) -> None:
    _free(patch, lambda row: row["outcome"] in (Outcome.FAILED, Outcome.UNKNOWN) and row["http_status"] != 200)


def all_that_failed_is_free(patch: pytest.MonkeyPatch) -> None:
    _free(patch, lambda row: row["outcome"] == Outcome.FAILED)


def refused_calls_are_held(patch: pytest.MonkeyPatch) -> None:
    _free(patch, lambda row: row["outcome"] == Outcome.FAILED and row["http_status"] is None)


def _free(patch: pytest.MonkeyPatch, is_free: Callable[[Row], bool]) -> None:
    patch.setattr(settling, "_is_free", is_free)


def a_later_outcome_moves_no_budget(patch: pytest.MonkeyPatch) -> None:
    _unsettled(patch, lambda before, after: before["outcome"] != after["outcome"])


def a_restatement_moves_no_budget(patch: pytest.MonkeyPatch) -> None:
    _unsettled(patch, lambda before, after: before["outcome"] == after["outcome"])


def _unsettled(patch: pytest.MonkeyPatch, is_left_out: Callable[[Row, Row], bool]) -> None:
    def settle(conn: Connection, known: Budgets, before: Sequence[Row], after: Sequence[Row]) -> None:
        was = {row["id"]: row for row in before}
        kept = [row for row in after if row["id"] not in was or not is_left_out(was[row["id"]], row)]
        ids = {row["id"] for row in kept}
        _settle(conn, known, [row for row in before if row["id"] in ids], kept)

    patch.setattr(settling, "settle", settle)


def what_a_call_said_before_is_not_taken_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "settle", lambda conn, known, _before, after: _settle(conn, known, [], after))


def days_before_a_budget_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(budgetperiods, "place", lambda budget, day: _place(replace(budget, counted_from=date.min), day))


def weeks_begin_on_sunday(patch: pytest.MonkeyPatch) -> None:
    def span(cycle: Cycle, day: date) -> Span:
        found = _span(cycle, day)
        return Span(date.fromordinal(found.first.toordinal() - 1), found.end) if cycle.every == "week" else found

    patch.setattr(Cycle, "span", span)


_span, _covering = Cycle.span, Scopes.covering


def a_model_goes_by_one_name(patch: pytest.MonkeyPatch) -> None:
    def covering(found: Scopes[Any], subject: Subject) -> list[Any]:
        return _covering(found, replace(subject, models=subject.models[:1]))

    patch.setattr(Scopes, "covering", covering)


def tags_are_looked_for_by_name_alone(patch: pytest.MonkeyPatch) -> None:
    def covering(found: Scopes[Any], subject: Subject) -> list[Any]:
        values = {scope.value for scope in found._named if scope.kind is Kind.TAG}
        alike = [replace(subject, tags=dict.fromkeys(subject.tags, value)) for value in values]
        some = [one for each in (subject, *alike) for one in _covering(found, each)]
        return [one for place, one in enumerate(some) if one not in some[:place]]

    patch.setattr(Scopes, "covering", covering)


def a_new_budget_knows_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backfill, "fill", lambda *_: None)


def a_new_budget_knows_what_is_rolled_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoped, "_waiting", lambda *_: [])


def a_new_budget_knows_what_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoped, "_rolled", lambda *_: [])


def the_running_period_keeps_its_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(budgets, "_going_on", lambda *_: (sa.false(),))


def periods_that_are_over_get_the_new_limit(patch: pytest.MonkeyPatch) -> None:
    its = budget_periods.c.budget_id
    patch.setattr(budgets, "_going_on", lambda _conn, budget, _now: (its == budget.id,))


def periods_that_begin_late_get_the_limit_of_today(patch: pytest.MonkeyPatch) -> None:
    def of(limits: Limits, _ends_on: date | None) -> Decimal:
        return limits.later[-1][1] if limits.later else limits.first

    patch.setattr(Limits, "of", of)


def nobody_hears_of_a_change(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(editions, "budgets_changed", lambda _conn: None)


def paused_budgets_stop_calls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(budgets, "known", lambda conn: [replace(budget, paused_at=None) for budget in _known(conn)])


def whoever_names_no_project_is_nobody(patch: pytest.MonkeyPatch) -> None:
    def payer(coverage: Coverage, call: Call) -> int | None:
        return coverage.projects.get(call.project or "")

    patch.setattr(Coverage, "_payer", payer)


def former_names_are_nobodys(patch: pytest.MonkeyPatch) -> None:
    def names(conn: Connection, ids: Collection[int]) -> dict[str, int]:
        return {project.name: project.id for project in projects.known(conn) if project.id in ids}

    patch.setattr(storegate, "_names", names)


def a_release_gives_back_in_one_budget(patch: pytest.MonkeyPatch) -> None:
    def move(conn: Connection, some: Iterable[Any], off: Any) -> None:
        _move(conn, list(some)[:1], off)

    patch.setattr(reservations, "_move", move)


_move = reservations._move


def overrun_is_not_told(patch: pytest.MonkeyPatch) -> None:
    def moved(period: Period, *, overrun: Decimal = Decimal(0), **by: Any) -> Period:
        return _moved(period, **by)

    patch.setattr(Period, "moved", moved)


_moved = Period.moved


def every_fault() -> Iterator[Plant]:
    yield a_lapsed_lease_is_free_again
    yield a_lease_never_ends
    yield what_is_settled_stays_set_aside
    yield what_is_settled_stays_in_the_sums
    yield a_call_that_comes_again_is_spent_again
    yield a_call_is_spent_on_its_day_in_utc
    yield a_call_is_asked_for_on_its_day_in_utc
    yield every_currency_is_the_same
    yield no_exchange_rate_is_one
    yield only_the_first_budget_is_asked
    yield only_the_first_budget_sets_aside
    yield what_is_held_leaves_room
    yield calls_asked_for_together_see_the_same_room
    yield interrupted_calls_are_free
    yield unknown_calls_are_free
    yield all_that_failed_is_free
    yield refused_calls_are_held
    yield a_later_outcome_moves_no_budget
    yield a_restatement_moves_no_budget
    yield what_a_call_said_before_is_not_taken_out
    yield days_before_a_budget_count
    yield weeks_begin_on_sunday
    yield a_model_goes_by_one_name
    yield tags_are_looked_for_by_name_alone
    yield a_new_budget_knows_nothing
    yield a_new_budget_knows_what_is_rolled_up
    yield a_new_budget_knows_what_waits
    yield the_running_period_keeps_its_limit
    yield periods_that_are_over_get_the_new_limit
    yield periods_that_begin_late_get_the_limit_of_today
    yield nobody_hears_of_a_change
    yield paused_budgets_stop_calls
    yield whoever_names_no_project_is_nobody
    yield former_names_are_nobodys
    yield a_release_gives_back_in_one_budget
    yield overrun_is_not_told


PLANTS = tuple(every_fault())
