from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection

from accounting import backfill, budgets, reservations, settling, stamps, storegate
from accounting.budgets import Budget
from accounting.cycles import Cycle, Every
from accounting.decisions import Grant, Mode, Refusal, Why
from accounting.scopes import Kind, Scope
from accounting.store import reading, transact
from accounting.store.tables import calls
from accounting.store.tables import reservations as rows
from accounting.usage import Outcome, Usage, UsageSource
from accounting.verify import verify
from tests.books import NOON, Books, at, used
from tests.budgeted import (
    CARD,
    DOLLARS,
    EVERYTHING,
    amounts,
    asks,
    budget,
    ended,
    exposed,
    periods,
    project,
    reserve,
    running,
)


@pytest.fixture(autouse=True)
def _prices(books: Books) -> None:
    books.load(CARD)
    books.load(DOLLARS)


def whys(decisions: list[Any]) -> list[Why | None]:
    return [each.why if isinstance(each, Refusal) else None for each in decisions]


def test_what_fits_is_set_aside_and_what_does_not_is_refused(books: Books) -> None:
    cap = budget(books, "7")
    assert whys(reserve(books, *(running(number) for number in range(1, 5)))) == [None, None, Why.OVER, Why.OVER]
    assert amounts(books, cap) == (0, 6, 0)


def test_a_call_costs_what_its_provider_says_once_it_is_in_the_books(books: Books) -> None:
    cap, call = budget(books, "7"), running()
    reserve(books, call)
    books.deliver(ended(call, tokens_in=500))
    assert amounts(books, cap) == (Decimal("2.5"), 0, 0)
    assert books.rows(rows) == []


def test_a_call_that_is_delivered_twice_is_settled_once(books: Books) -> None:
    cap, call = budget(books, "7"), running()
    reserve(books, call)
    books.deliver(ended(call))
    books.deliver(ended(call))
    books.deliver(ended(call), ended(running(2)))
    assert amounts(books, cap) == (6, 0, 0)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"outcome": Outcome.FAILED, "http_status": None, "usage": Usage()}, (0, 0, 0)),
        ({"outcome": Outcome.FAILED, "http_status": 429, "usage": Usage()}, (0, 0, 0)),
        ({"outcome": Outcome.FAILED, "http_status": 200, "usage": Usage()}, (0, 0, 3)),
        ({"outcome": Outcome.FAILED, "http_status": 200, "usage": used(100, 20)}, (Decimal("0.3"), 0, 0)),
        ({"outcome": Outcome.UNKNOWN, "http_status": None, "usage": Usage()}, (0, 0, 3)),
        ({"outcome": Outcome.INTERRUPTED, "usage": Usage()}, (0, 0, 3)),
        ({"outcome": Outcome.FINISHED, "usage": Usage()}, (0, 0, 3)),
        (
            {"outcome": Outcome.INTERRUPTED, "usage": used(1000, 50)._replace(source=UsageSource.PARTIAL)},
            (Decimal("1.5"), 0, Decimal("1.5")),
        ),
        ({"outcome": Outcome.FINISHED, "usage": used(1000, 200), "response_model": "nobody's"}, (0, 0, 3)),
    ],
)
def test_only_what_can_not_be_charged_is_free_again(
    books: Books, end: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    cap, call = budget(books, "7"), running()
    reserve(books, call)
    books.deliver(ended(call, **end))
    assert amounts(books, cap) == expected


def test_what_is_held_ends_when_a_later_outcome_says_what_was_used(books: Books) -> None:
    cap, call = budget(books, "7"), running()
    reserve(books, call)
    books.deliver(ended(call, outcome=Outcome.UNKNOWN, http_status=None, usage=Usage()))
    assert amounts(books, cap) == (0, 0, 3)
    books.deliver(ended(call, tokens_in=400))
    assert amounts(books, cap) == (Decimal("2.4"), 0, 0)


def test_a_lapsed_lease_holds_what_was_set_aside_until_the_call_comes_in(books: Books) -> None:
    cap, call = budget(books, "7"), running()
    reserve(books, call, lease=timedelta(days=-400))
    assert transact(books.engine, reservations.lapse) == 1
    assert transact(books.engine, reservations.lapse) == 0
    assert amounts(books, cap) == (0, 0, 3)
    assert whys(reserve(books, running(2), running(3))) == [None, Why.OVER]
    books.deliver(ended(call))
    assert amounts(books, cap) == (3, 3, 0)


def test_a_lease_that_runs_lapses_not(books: Books) -> None:
    cap = budget(books, "7")
    reserve(books, running(), lease=timedelta(days=400))
    assert transact(books.engine, reservations.lapse) == 0
    assert amounts(books, cap) == (0, 3, 0)


def lowered(books: Books, cap: Budget, limit: str, now: datetime = NOON) -> Budget:
    terms = replace(cap.terms, limit=Decimal(limit))
    return stamps.decide(books.engine, lambda conn: budgets.edit(conn, cap, terms, now, "ann@desk"))


def test_a_period_begins_with_the_limit_that_holds_now_whatever_who_asks_knows_of_it(books: Books) -> None:
    cap = budget(books, "100", cycle=Cycle(Every.DAY))
    with reading(books.engine) as conn:
        known = storegate.knowledge(conn)
    lowered(books, cap, "4")
    asked = asks([running(1), running(2)])
    assert whys(transact(books.engine, lambda conn: reservations.reserve(conn, known, asked, NOON))) == [None, Why.OVER]


def test_a_new_limit_holds_in_a_period_that_begins_meanwhile(books: Books) -> None:
    cap = budget(books, "100", cycle=Cycle(Every.DAY))
    begun, go_on = Event(), Event()

    def reserving(conn: Connection) -> None:
        reservations.reserve(conn, storegate.knowledge(conn), asks([running()]), NOON)
        begun.set()
        go_on.wait(10)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(transact, books.engine, reserving)
        assert begun.wait(10)
        second = pool.submit(lowered, books, cap, "4")
        with suppress(TimeoutError):
            second.result(0.2)
        go_on.set()
        first.result(10), second.result(10)
    assert [period.limit for period in periods(books, cap)] == [4]


def test_calls_that_come_in_late_count_in_a_period_with_the_limit_that_it_had(books: Books) -> None:
    cap = budget(books, "100", cycle=Cycle(Every.DAY), now=NOON - 5 * A_DAY)
    for at_, limit in ((NOON - 3 * A_DAY, "200"), (NOON - 25 * AN_HOUR, "300"), (NOON - A_DAY, "400")):
        cap = lowered(books, cap, limit, at_)
    books.deliver(*(ended(running(ago, NOON - ago * A_DAY)) for ago in range(7)))
    # Until a day is over in all zones on earth, at noon by UTC, it has the limit that is set then.
    limits = {(NOON.date() - period.place.begins_on).days: period.limit for period in periods(books, cap)}
    assert limits == {5: 100, 4: 100, 3: 200, 2: 300, 1: 400, 0: 400}
    assert verify(books.engine).differences == ()


A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)


def test_a_period_that_was_made_in_a_transaction_that_failed_is_made_again(books: Books) -> None:
    cap = budget(books, "100")
    with reading(books.engine) as conn:
        known = storegate.knowledge(conn)

    def fail(conn: Connection) -> None:
        reservations.reserve(conn, known, asks([running()]), NOON)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        transact(books.engine, fail)
    transact(books.engine, lambda conn: reservations.reserve(conn, known, asks([running()]), NOON))
    assert amounts(books, cap) == (0, 3, 0)


def test_release_gives_back_what_no_call_used(books: Books) -> None:
    cap, one, two = budget(books, "7"), running(1), running(2)
    reserve(books, one, two)
    assert transact(books.engine, lambda conn: reservations.release(conn, [one.id, running(9).id])) == 1
    assert transact(books.engine, lambda conn: reservations.release(conn, [one.id])) == 0
    assert amounts(books, cap) == (0, 3, 0)


def test_all_budgets_that_cover_a_call_agree_or_none_sets_anything_aside(books: Books) -> None:
    wide = budget(books, "100", name="wide")
    narrow = budget(books, "4", project(books, "checkout"), name="narrow")
    one, other = running(1, project="checkout"), running(2, project="checkout")
    decisions = reserve(books, one, other, running(3, project="search"))
    assert whys(decisions) == [None, Why.OVER, None]
    refusal = decisions[1]
    assert isinstance(refusal, Refusal)
    assert refusal.budget == "narrow"
    assert refusal.asked == 3
    assert (amounts(books, wide), amounts(books, narrow)) == ((0, 6, 0), (0, 3, 0))


def test_soft_and_paused_budgets_set_nothing_aside_and_count(books: Books) -> None:
    cap = budget(books, "1", mode=Mode.SOFT)
    assert reserve(books, running()) == [Grant()]
    books.deliver(ended(running()))
    assert amounts(books, cap) == (3, 0, 0)


def test_a_new_budget_knows_what_was_spent_before(books: Books) -> None:
    books.deliver(*(ended(running(number)) for number in range(1, 4)))
    books.roll()
    books.deliver(ended(running(4)), ended(running(5, NOON - timedelta(days=40))))
    cap = budget(books, "13")
    assert amounts(books, cap) == (12, 0, 0)
    assert [period.place.begins_on for period in periods(books, cap)] == [NOON.date().replace(day=1)]
    assert whys(reserve(books, running(6))) == [Why.OVER]


@pytest.mark.parametrize(
    ("changes", "exposure", "why"),
    [
        ({"request_model": "nobody's"}, exposed(), Why.UNPRICED),
        ({"request_model": "dollars"}, exposed(), Why.CURRENCY),
        ({}, exposed(max_tokens=None), Why.UNBOUNDED),
        ({}, exposed(most_input_tokens=None), Why.UNBOUNDED),
        ({}, exposed(unbounded=("a remote image can cost any amount",)), Why.UNBOUNDED),
    ],
)
def test_a_strict_budget_refuses_what_it_can_not_bound(
    books: Books, changes: dict[str, Any], exposure: Any, why: Why
) -> None:
    cap = budget(books, "1000")
    assert whys(reserve(books, replace(running(), **changes), exposure=exposure)) == [why]
    assert amounts(books, cap) == (0, 0, 0)


def test_another_currency_counts_by_the_rate_that_the_budget_names(books: Books) -> None:
    cap = budget(books, "100", fx={"USD": Decimal("7.5")})
    call = replace(running(), request_model="dollars")
    assert whys(reserve(books, call)) == [None]
    assert amounts(books, cap) == (0, Decimal("22.5"), 0)
    books.deliver(ended(call))
    assert amounts(books, cap) == (Decimal("22.5"), 0, 0)


def test_an_exchange_rate_ends_what_was_set_aside_as_if_the_calls_came_in_now(books: Books) -> None:
    cap = budget(books, "100")
    known, cut = running(1), running(2)
    assert whys(reserve(books, known, cut)) == [None, None]
    said = used(200, 40)._replace(source=UsageSource.PARTIAL)
    books.deliver(ended(known, response_model="dollars"), ended(cut, response_model="dollars", usage=said))
    assert amounts(books, cap) == (0, 0, 6)
    for fx, spent, held in ((2, "7.2", "1.8"), (None, "0", "3"), (3, "10.8", "1.2"), (1, "3.6", "2.4")):
        cap = exchanged(books, cap, {} if fx is None else {"USD": Decimal(fx)})
        assert amounts(books, cap) == (Decimal(spent), 0, Decimal(held))
        assert verify(books.engine).differences == ()
    (period,) = periods(books, cap)
    assert period.overrun == 3  # of the first call, as soon as it was known what it cost


def exchanged(books: Books, cap: Budget, fx: dict[str, Decimal]) -> Budget:
    def work(conn: Connection) -> Budget:
        after = budgets.edit(conn, cap, replace(cap.terms, fx=fx), NOON, "ann@desk")
        backfill.fill(conn, after)
        settling.exchange(conn, cap, after)
        return after

    return stamps.decide(books.engine, work)


def test_calls_that_have_no_part_in_what_is_spent_are_counted(books: Books) -> None:
    cap = budget(books, "100", mode=Mode.SOFT)
    books.deliver(ended(replace(running(1), request_model="dollars")), ended(replace(running(2), request_model="x")))
    (period,) = periods(books, cap)
    assert period.spent == 0
    assert (period.unpriced, period.foreign_calls) == (1, 1)


def test_what_a_call_cost_beyond_its_reservation_is_told(books: Books) -> None:
    cap, call = budget(books, "7", mode=Mode.HARD), running()
    reserve(books, call)
    books.deliver(ended(call, tokens_out=1200))
    (period,) = periods(books, cap)
    assert amounts(books, cap) == (13, 0, 0)
    assert period.overrun == 10


def test_a_removed_budget_forgets_what_was_set_aside(books: Books) -> None:
    cap = budget(books, "7", Scope(Kind.PROVIDER, name="wcode"))
    reserve(books, running())
    transact(books.engine, lambda conn: reservations.forget(conn, cap))
    assert amounts(books, cap) == (0, 0, 0)
    assert books.rows(rows) == []


def test_the_columns_that_settling_reads_are_those_of_calls(books: Books) -> None:
    books.deliver(ended(running()))
    assert set(settling.READ) <= set(books.rows(calls)[0])


def test_each_call_counts_in_the_budgets_that_cover_it_and_in_no_other(books: Books) -> None:
    scopes = {
        "all": EVERYTHING,
        "project": project(books, "checkout"),
        "provider": Scope(Kind.PROVIDER, name="wcode"),
        "model": Scope(Kind.MODEL, name="pla*"),
        "user": Scope(Kind.USER, name="ann"),
        "tag": Scope(Kind.TAG, name="team", value="a"),
    }
    caps = {name: budget(books, "1000", scope, name=name, mode=Mode.SOFT) for name, scope in scopes.items()}
    chances: list[dict[str, Any]] = [
        {"project": one, "provider": by, "request_model": model, "user": user, "tags": tags}
        for one in ("checkout", "search")
        for by in ("wcode", "another")
        for model in ("plain", "dollars")
        for user in ("ann", "ben", None)
        for tags in ({}, {"team": "a"}, {"team": "b", "feature": "a"})
    ]
    books.deliver(*(replace(ended(running(number)), **each) for number, each in enumerate(chances)))
    covered: dict[str, Callable[[dict[str, Any]], bool]] = {
        "all": lambda each: True,
        "project": lambda each: each["project"] == "checkout",
        "provider": lambda each: each["provider"] == "wcode",
        "model": lambda each: each["request_model"] == "plain",
        "user": lambda each: each["user"] == "ann",
        "tag": lambda each: each["tags"].get("team") == "a",
    }
    found = {name: (one.spent, one.unpriced, one.foreign_calls) for name, cap in caps.items() for one in
             periods(books, cap)}  # fmt: skip
    for name, covers in covered.items():
        its = [(each["provider"], each["request_model"]) for each in chances if covers(each)]
        unpriced = sum(by == "another" for by, _ in its)
        spent, foreign = Decimal(3 * its.count(("wcode", "plain"))), its.count(("wcode", "dollars"))
        assert found[name] == (spent, unpriced, foreign), name


def test_a_reservation_that_comes_after_its_call_is_settled_when_it_lapses(books: Books) -> None:
    cap, calls_ = budget(books, "30"), [running(number) for number in range(1, 4)]
    gone: dict[str, Any] = {"outcome": Outcome.FAILED, "http_status": None, "usage": Usage()}
    unknown: dict[str, Any] = {"outcome": Outcome.UNKNOWN, "http_status": None, "usage": Usage()}
    for call, end in zip(calls_, (dict[str, Any](), gone, unknown), strict=True):
        books.deliver(ended(call, **end))
    reserve(books, *calls_, lease=timedelta(days=-400))
    transact(books.engine, reservations.lapse)
    assert amounts(books, cap) == (3, 0, 3)
    assert [row["call_id"] for row in books.rows(rows)] == [calls_[2].id]


def test_a_new_budget_binds_calls_whose_day_is_still_the_one_before(books: Books) -> None:
    """In a zone further west, or by a clock that is slow."""
    cap = budget(books, "3", now=at("2026-12-01 03:00"))
    west = project(books, "west", "America/Los_Angeles")
    call = running(1, at("2026-12-01 03:30"), project="west")
    assert west.id
    assert whys(reserve(books, call, running(2, at("2026-12-01 03:30"), project="west"))) == [None, Why.OVER]
    books.deliver(ended(call), now=at("2026-12-01 04:00"))
    assert amounts(books, cap, date(2026, 12, 1)) == (0, 0, 0)


def test_a_budget_for_days_to_come_binds_nothing_before(books: Books) -> None:
    budget(books, "0", cycle=Cycle(Every.DAYS, 10, NOON.date() + timedelta(days=1)))
    assert whys(reserve(books, running())) == [None]


def test_a_lower_limit_binds_where_the_period_before_is_still_running(books: Books) -> None:
    cap = budget(books, "100")
    project(books, "west", "America/Los_Angeles")
    one, other = (running(number, at("2026-12-01 03:30"), project="west") for number in (1, 2))
    assert whys(reserve(books, one)) == [None]

    def lower(conn: Any) -> None:
        budgets.edit(conn, cap, replace(cap.terms, limit=Decimal(4)), at("2026-12-01 03:00"), "ann@desk")

    stamps.decide(books.engine, lower)
    assert whys(reserve(books, other)) == [Why.OVER]


def test_a_budget_on_a_dated_model_is_asked_for_what_may_be_answered_by_it(books: Books) -> None:
    cap = budget(books, "3", Scope(Kind.MODEL, name="plain-2026-08-01"))
    one, other = running(1), running(2)
    assert whys(reserve(books, one, other, replace(running(3), request_model="plainer"))) == [None, Why.OVER, None]
    books.deliver(ended(one, response_model="plain-2026-08-01"), ended(other, response_model="plain-2026-09-01"))
    assert amounts(books, cap) == (3, 0, 0)
