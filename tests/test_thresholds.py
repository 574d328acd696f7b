from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import thresholds
from accounting.decisions import BudgetState, Mode
from accounting.thresholds import MOST_WATCHED, Watch
from tests.books import NOON
from tests.capture.gates import SOFT, TEAM
from tests.warehouse import started

STATE = BudgetState(
    budget="team",
    scope="everything",
    mode=Mode.HARD,
    currency="CNY",
    limit=Decimal(100),
    spent=Decimal(0),
    reserved=Decimal(0),
    held=Decimal(0),
    begins_on=date(2026, 11, 1),
    thresholds=(Decimal(50), Decimal(80), Decimal(100)),
)


def one(state: BudgetState, percent: Decimal) -> None: ...


def other(state: BudgetState, percent: Decimal) -> None: ...


@given(st.lists(st.integers(0, 120)))
def test_each_threshold_is_told_once_by_the_first_who_reaches_it(spent: list[int]) -> None:
    watch, told = Watch(), []
    for amount in spent:
        told += [percent for _, percent in watch.news(one, [replace(STATE, spent=Decimal(amount))])]
    assert told == sorted(told)
    assert told == [percent for percent in STATE.thresholds if percent <= max(spent, default=0)]


def test_another_period_another_budget_and_another_callback_are_told_anew() -> None:
    watch, full = Watch(), replace(STATE, reserved=Decimal(60), held=Decimal(20))
    next_month, another = replace(full, begins_on=date(2026, 12, 1)), replace(full, budget="another")

    def told(callback: Any, *states: BudgetState) -> list[tuple[str, date, Decimal]]:
        return [(state.budget, state.begins_on, percent) for state, percent in watch.news(callback, states)]

    assert told(one, full) == [("team", full.begins_on, Decimal(50)), ("team", full.begins_on, Decimal(80))]
    assert told(one, full) == []
    assert len(told(one, next_month, another)) == 4
    assert len(told(other, full)) == 2


def test_calls_that_the_same_budgets_cover_are_asked_about_once_and_as_if_made_now() -> None:
    watch = Watch()
    for call in (started(), started()):
        watch.see(one, call, [TEAM, SOFT])
    watch.see(other, started(), [TEAM, SOFT])
    watch.see(one, started(), [])
    asked = list(watch.asking(NOON))
    assert [callback for callback, _ in asked] == [one, other]
    assert {call.started_at for _, call in asked} == {NOON}


def test_only_so_many_sets_of_budgets_are_asked_about() -> None:
    watch = Watch()
    for number in range(MOST_WATCHED + 10):
        watch.see(one, started(), [replace(TEAM, id=number)])
    assert len(list(watch.asking())) == MOST_WATCHED


def test_only_so_many_thresholds_are_known_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "MOST_TOLD", 30)
    watch, full = Watch(), replace(STATE, spent=Decimal(100))
    for _ in range(100):  # as of a program that makes a client, with a callback of its own, for each call
        assert len(list(watch.news(lambda *_: None, [full]))) == 3
        list(watch.news(one, [full]))
    assert len(watch._told) == 30
    assert list(watch.news(one, [full])) == [], "what is reached again and again stays told"
