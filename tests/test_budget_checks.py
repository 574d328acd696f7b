"""What doctor says of budgets."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from accounting import budget_checks, budgets, doctor, stamps
from accounting.decisions import Mode
from accounting.reservations import lapse
from accounting.sources import Source
from accounting.store import transact, writing
from accounting.store.tables import reservations as asides
from accounting.symptoms import Bench, SourcesSeen
from accounting.usage import Outcome, Usage
from accounting.verdicts import LOOK, OK, Verdict
from tests.books import NOON, Books
from tests.budgeted import CARD, DOLLARS, budget, ended, reserve, running
from tests.test_doctor import SOURCE

UNKNOWN: dict[str, Any] = {"outcome": Outcome.UNKNOWN, "http_status": None, "usage": Usage()}


@pytest.fixture(autouse=True)
def _prices(books: Books) -> None:
    books.load(CARD)
    books.load(DOLLARS)


def verdicts(books: Books, now: Any = NOON) -> dict[str, Verdict]:
    bench = Bench(books.url, books.engine, now)
    return {check.name: doctor.found(check, bench) for check in budget_checks.CHECKS}


def test_without_budgets_all_is_well(books: Books) -> None:
    assert {verdict.state for verdict in verdicts(books).values()} == {OK}


def test_what_was_held_for_a_day_is_told_with_the_command_that_releases_it(books: Books) -> None:
    cap = budget(books, "100", name="the cap")
    reserve(books, running(1), running(2), running(3))
    books.deliver(*(ended(running(number), **UNKNOWN) for number in (1, 2)))
    assert verdicts(books, NOON + timedelta(hours=24))["held"].state is OK
    state, said, advice = verdicts(books, NOON + timedelta(hours=25))["held"]
    assert state is LOOK
    assert "the cap 6 CNY for 2 calls, the oldest since 2026-11-23 12:00Z" in said
    assert "accounting budgets release 'the cap' --all-held" in advice
    stamps.decide(books.engine, lambda conn: budgets.remove(conn, cap, NOON, "ann@desk"))
    assert verdicts(books, NOON + timedelta(days=9))["held"].state is OK


def test_leases_that_nobody_ends_are_told(books: Books) -> None:
    budget(books, "100")
    budget(books, "200", name="other")
    reserve(books, running(1))
    over = NOON + timedelta(minutes=15)
    assert verdicts(books, over + timedelta(minutes=10))["leases"].state is OK
    state, said, advice = verdicts(books, over + timedelta(minutes=11))["leases"]
    assert (state, advice) == (LOOK, "accounting work")
    assert said.startswith("1 call")
    with writing(books.engine) as conn:
        conn.execute(sa.update(asides).values(leased_until=NOON - timedelta(days=999)))
    transact(books.engine, lapse)
    assert verdicts(books, over + timedelta(minutes=11))["leases"].state is OK


@pytest.mark.parametrize(
    ("model", "said", "advice"),
    [
        ("nobody's", "cap 1 without a rate", "accounting rates add"),
        ("dollars", "cap 1 in another currency", "accounting budgets edit cap --fx"),
    ],
)
def test_calls_that_a_hard_budget_leaves_out_are_told(books: Books, model: str, said: str, advice: str) -> None:
    budget(books, "100")
    budget(books, "100", name="soft", mode=Mode.SOFT)
    books.deliver(ended(running(1), response_model=model), ended(running(2)))
    found = verdicts(books)["budgets"]
    assert (found.state, found.said.endswith(f"refuse such calls: {said}."), advice in found.advice) == (
        LOOK,
        True,
        True,
    )
    assert verdicts(books, NOON + timedelta(days=40))["budgets"].state is OK


def test_refusals_for_want_of_a_rate_are_told(books: Books) -> None:
    budget(books, "100")
    no: dict[str, Any] = {"outcome": Outcome.FAILED, "http_status": None, "usage": Usage(), "refused_by": "cap"}
    books.deliver(ended(running(1), **no), ended(running(2), request_model="nobody's", **no))
    books.roll()
    state, said, advice = verdicts(books)["refusals"]
    assert (state, said.endswith(": cap 1 of 2 calls."), "--refused-by cap" in advice) == (LOOK, True, True)
    assert verdicts(books, NOON + timedelta(days=9))["refusals"].state is OK


def test_faults_in_asking_budgets_are_told_in_words() -> None:
    faulty: Source = replace(SOURCE, faults={"budgets.away": 2, "deliver": 1})
    verdict = doctor.faults(SourcesSeen((faulty,)), NOON)
    assert verdict.said == (
        "Metering failed at budgets.away 2×, deliver 1×; calls went on unless a budget refused them: the store could "
        "not be asked in time whether a call fits, and the budget's --when-away decided."
    )


def test_a_program_that_never_knew_its_budgets_is_told_with_the_setting_that_decides() -> None:
    faulty: Source = replace(SOURCE, faults={"budgets.unknown": 3})
    said = doctor.faults(SourcesSeen((faulty,)), NOON).said
    assert said.startswith("Metering failed at budgets.unknown 3×;")
    assert "ACCOUNTING_BUDGETS_REQUIRED" in said
