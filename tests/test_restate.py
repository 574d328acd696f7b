import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, false, true

from accounting import restate as module
from accounting.contributions import SPEND_TABLES
from accounting.errors import SchemaMismatch
from accounting.ingest import ingest
from accounting.money import Money
from accounting.restate import Order, apply, begin, by_job, finish, restate
from accounting.restated import Restated, Row
from accounting.store import reading, writing
from accounting.store.tables import calls, restated_calls, restatements, spend_days
from accounting.usage import Call, Outcome, Usage, UsageSource
from tests.books import NOON, Books, Journal, at, made, used
from tests.spending import emptied, rolled_anew, spending

ORDER = Order("project-moved", {"to": "search"}, "ann@laptop", "the team was split")
LATER = NOON + timedelta(hours=1)
DOLLARS = """
provider = "wcode"
currency = "USD"
source = "test"
[[rate]]
model = "dear"
valid_from = 2026-01-01
input = 0.000000001
cache_read = 0.5
output = 12.3
reasoning = 7
"""

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Changes = Mapping[UUID, Mapping[str, Any]]


def clock() -> datetime:
    return LATER


def said(changes: Changes) -> module.Change:
    def change(_conn: Connection, rows: Sequence[Row]) -> Changes:
        return {row["id"]: changes[row["id"]] for row in rows if row["id"] in changes}

    return change


def to(**values: Any) -> module.Change:
    """Every call is to say so."""

    def change(_conn: Connection, rows: Sequence[Row]) -> Changes:
        return {row["id"]: values for row in rows}

    return change


def by_id(books: Books) -> dict[UUID, dict[str, Any]]:
    return {row["id"]: row for row in books.rows(calls)}


TOKENS = st.none() | st.integers(0, 10**12)
SOURCES = tuple(source.value for source in UsageSource)
CHANGED = st.fixed_dictionaries(
    {},
    optional={
        "project_id": st.integers(1, 3),
        "project_source": st.sampled_from(("key", "default")),
        "key_id": st.integers(1, 3),
        "rate_id": st.integers(0, 3),  # 3 is no rate: something that only verify may name
        "billed_on": st.dates(date(2026, 11, 22), date(2026, 11, 24)),
        "outcome": st.sampled_from([outcome.value for outcome in Outcome]),
        "input_tokens": TOKENS,
        "cache_read_tokens": TOKENS,
        "output_tokens": TOKENS,
        "reasoning_tokens": TOKENS,
        "cache_write_1h_tokens": TOKENS,
        "web_searches": TOKENS,
        "estimated_input_tokens": TOKENS,
        "estimated_output_tokens": TOKENS,
        "parent_id": st.sampled_from((None, made().id)),
        "anomalies": st.lists(st.sampled_from(("hidden_output", "total_mismatch", "")), unique=True),
        "usage_source": st.sampled_from(SOURCES),
        "tags": st.dictionaries(st.sampled_from(("feature", "team", "")), st.sampled_from(("a", "b", "")), max_size=3),
        "end_user": st.none() | st.sampled_from(("u-1", "u-2")),
        "effort": st.sampled_from(("", "high")),
        "model": st.sampled_from(("z-ai/glm-5", "dear")),
        "provider_cost": st.none() | st.decimals(0, 10, places=4),
        "provider_cost_currency": st.sampled_from((None, "USD", "CNY")),
        "stated_as": st.sampled_from((None, "equal", "byok")),
        "digest": st.binary(min_size=32, max_size=32),
    },
)


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """Calls around a midnight, in few enough groups for several to meet in one."""
    return [
        made(
            NOON + timedelta(minutes=15 * draw(st.integers(-60, 60))),
            number,
            request_model=draw(st.sampled_from(("z-ai/glm-5", "dear", "nobody/knows"))),
            project=draw(st.sampled_from(("checkout", "search"))),
            outcome=draw(st.sampled_from(Outcome)),
            tags=draw(st.dictionaries(st.sampled_from(("feature", "team")), st.sampled_from(("a", "b")))),
            user=draw(st.none() | st.sampled_from(("u-1", "u-2"))),
            usage=draw(st.sampled_from((Usage(), used(1000, 200, read=300, thought=7), used(10**12, 10**12))))._replace(
                provider_cost=draw(st.none() | st.builds(Money, st.decimals(0, 10, places=20), st.just("USD")))
            ),
        )
        for number in range(draw(st.integers(1, 8)))
    ]


@few
@given(some=some_calls(), rolled=st.integers(0, 8), changed=st.lists(CHANGED, min_size=8, max_size=8))
def test_restated_calls_add_up_as_if_they_had_come_like_that(
    books: Books, some: list[Call], rolled: int, changed: list[dict[str, Any]]
) -> None:
    emptied(books).load(DOLLARS)
    for part, is_rolled in ((some[:rolled], True), (some[rolled:], False)):
        if part:
            books.deliver(*part)
        if is_rolled:
            books.roll()
    changes = {call.id: values for call, values in zip(some, changed, strict=False)}
    expected = {id_: {**row, **changes[id_]} for id_, row in by_id(books).items()}
    restate(books.engine, ORDER, true(), said(changes), clock)
    books.roll()
    assert by_id(books) == expected
    assert spending(books) == rolled_anew(books)


@few
@given(some=some_calls(), changed=st.lists(CHANGED, min_size=8, max_size=8))
def test_there_and_back_leaves_every_row_as_it_was(
    books: Books, some: list[Call], changed: list[dict[str, Any]]
) -> None:
    emptied(books).load(DOLLARS)
    books.deliver(*some)
    books.roll()
    before, rows = spending(books), by_id(books)
    changes = {call.id: values for call, values in zip(some, changed, strict=False)}
    back = {id_: {name: rows[id_][name] for name in values} for id_, values in changes.items()}
    there = restate(books.engine, ORDER, true(), said(changes), clock)
    returned = restate(books.engine, ORDER, true(), said(back), clock)
    assert (spending(books), by_id(books)) == (before, rows)
    assert (returned.before, returned.after) == (there.after, there.before)


def test_a_rolled_call_moves_to_another_row_of_every_spend_table(books: Books) -> None:
    books.deliver(made(number=1, tags={"feature": "rerank"}, user="u-1"), made(number=2))
    books.roll()
    cost = {"CNY": Decimal("0.018")}
    done = restate(books.engine, ORDER, calls.c.number == 1, to(project_id=7), clock)
    assert done == Restated(seen=1, changed=1, before=cost, after=cost)
    found = {
        table.name: sorted((row["project_id"], row["calls"]) for row in books.rows(table)) for table in SPEND_TABLES
    }
    assert found == {
        "spend_quarters": [(1, 1), (7, 1)],
        "spend_days": [(1, 1), (7, 1)],
        "spend_by_tag": [(7, 1), (7, 1)],
    }


def test_a_call_that_waits_for_the_rollup_changes_and_spend_does_not(books: Books) -> None:
    books.deliver(made(tags={"feature": "rerank"}))
    restate(books.engine, ORDER, true(), to(project_id=7), clock)
    assert [row["project_id"] for row in books.rows(calls)] == [7]
    assert spending(books) == {table.name: {} for table in SPEND_TABLES}
    books.roll()
    assert all(row["project_id"] == 7 for rows in spending(books).values() for row in rows.values())


def test_what_is_unpriced_stays_without_an_amount_and_gets_one_with_its_rate(books: Books) -> None:
    books.deliver(made(number=1, request_model="nobody/knows"), made(number=2, request_model="nobody/knows"))
    books.roll()
    restate(books.engine, ORDER, calls.c.number == 1, to(project_id=7), clock)
    assert [row["amount"] for rows in spending(books).values() for row in rows.values()] == [None] * 4
    done = restate(books.engine, Order("rates", {}, "ann", "late"), calls.c.number == 1, to(rate_id=1), clock)
    assert (done.before, done.after) == ({}, {"CNY": Decimal("0.018")})
    assert {row["project_id"]: row["amount"] for row in books.rows(spend_days)} == {1: None, 7: Decimal("0.018")}


def test_the_log_says_who_when_and_why_and_what_each_call_said_before(books: Books) -> None:
    books.deliver(made(number=1), made(number=2, project="search"))
    restate(books.engine, ORDER, true(), to(project_id=2, billed_on=date(2026, 11, 25)), clock)
    (log,) = books.rows(restatements)
    assert [log[name] for name in ("kind", "what", "who", "why")] == [ORDER.kind, ORDER.what, ORDER.who, ORDER.why]
    assert [log[name] for name in ("began_at", "ended_at", "seen", "changed")] == [LATER, LATER, 2, 2]
    before = {row["call_id"]: row["before"] for row in books.rows(restated_calls)}
    assert before == {
        made(number=1).id: {"project_id": 1, "billed_on": "2026-11-23"},
        made(number=2).id: {"billed_on": "2026-11-23"},
    }


def test_what_a_call_said_before_is_text_whatever_changed(books: Books) -> None:
    books.deliver(made(number=1))
    link = UUID(int=7)
    restate(books.engine, ORDER, true(), to(link_id=link, provider_cost=Decimal("0.10"), ended_at=NOON), clock)
    nothing = {"link_id": None, "provider_cost": None, "ended_at": None, "digest": b"\x01" * 32}
    restate(books.engine, ORDER, true(), to(**nothing), clock)
    digest = next(row["before"].pop("digest") for row in books.rows(restated_calls) if "digest" in row["before"])
    assert len(bytes.fromhex(digest)) == 32
    last = books.rows(restated_calls)[-1]["before"]
    assert json.loads(json.dumps(last)) == {
        "digest": digest,
        "link_id": str(link),
        "provider_cost": "0.1",
        "ended_at": "2026-11-23T12:00:00+00:00",
    }


def test_calls_that_would_say_the_same_are_left_alone(books: Books) -> None:
    books.deliver(made())
    assert restate(books.engine, ORDER, true(), to(project_id=1, model="z-ai/glm-5"), clock) == Restated(seen=1)
    assert books.rows(restated_calls) == []


def test_a_period_takes_the_calls_that_began_in_it_and_no_others(books: Books) -> None:
    starts = ("11:59:59.999", "12:00", "12:00:30", "12:59:59.999", "13:00")
    books.deliver(*(made(at(f"2026-11-23 {start}")) for start in starts))
    end = NOON + timedelta(hours=1)
    assert restate(books.engine, ORDER, true(), to(project_id=7), clock, first=NOON, end=end).changed == 3
    moved = sorted(row["started_at"] for row in books.rows(calls) if row["project_id"] == 7)
    assert (moved[0], moved[-1]) == (NOON, at("2026-11-23 12:59:59.999"))


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_was_done_is_not_read_again_in_each_step(
    books: Books, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number) for number in range(5)))
    with books.asked() as asked:
        restate(books.engine, ORDER, true(), to(project_id=7), clock, first=NOON, dry_run=dry_run)
    following = [statement for statement, _ in asked if "FROM calls" in statement and "LIMIT" in statement]
    assert [(one.count("calls.id >="), one.count("calls.id > ")) for one in following] == [(1, 0), *[(0, 1)] * 3]


def test_a_dry_run_says_what_would_change_and_changes_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 2))
    books.load(DOLLARS)
    books.deliver(*(made(number=number) for number in range(5)))
    books.roll()
    before = spending(books), by_id(books)
    tried = restate(books.engine, ORDER, true(), to(rate_id=2), clock, dry_run=True)
    assert tried == Restated(5, 5, {"CNY": Decimal("0.09")}, {"USD": Decimal("12.300000005")})
    assert (spending(books), by_id(books), books.rows(restatements)) == (*before, [])
    assert restate(books.engine, ORDER, true(), to(rate_id=2), clock) == tried


def test_progress_hears_the_sum_so_far(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number) for number in range(5)))
    for dry_run in (True, False):
        heard: list[Restated] = []
        restate(books.engine, ORDER, true(), to(project_id=7), clock, dry_run=dry_run, progress=heard.append)
        assert [one.changed for one in heard if one.seen] == [2, 4, 5]


def test_nothing_chosen_is_a_finished_restatement_of_no_calls(books: Books) -> None:
    books.deliver(made())
    assert restate(books.engine, ORDER, false(), to(project_id=7), clock) == Restated()
    assert [(row["seen"], row["ended_at"]) for row in books.rows(restatements)] == [(0, LATER)]


@pytest.mark.parametrize("column", ["id", "batch_id"])
def test_a_call_stays_itself_and_in_its_batch(books: Books, column: str) -> None:
    books.deliver(made())
    with pytest.raises(ValueError, match="stay for ever"):
        restate(books.engine, ORDER, true(), to(**{column: UUID(int=1) if column == "id" else 99}), clock)


def test_a_change_in_the_callers_own_transaction_comes_or_goes_with_it(books: Books) -> None:
    books.deliver(made(number=1), made(number=2))
    books.roll()
    before = spending(books)
    with writing(books.engine) as conn:
        apply(conn, begin(conn, ORDER, NOON), {made(number=1).id: {"project_id": 7}})
        conn.rollback()
    assert (spending(books), books.rows(restatements)) == (before, [])
    with writing(books.engine) as conn:
        id_ = begin(conn, ORDER, NOON)
        assert apply(conn, id_, {made(number=1).id: {"project_id": 7}, made(number=2).id: {"project_id": 1}}) == 1
        finish(conn, id_, LATER)
    assert [(row["seen"], row["changed"], row["ended_at"]) for row in books.rows(restatements)] == [(2, 1, LATER)]
    assert spending(books) == rolled_anew(books) != before


KILLED = """
import os, sys
from sqlalchemy import true
from accounting import restate
from accounting.store import open_engine
from tests.test_restate import ORDER, clock

restate.CALLS_AT_ONCE = dict.fromkeys(restate.CALLS_AT_ONCE, 2)
steps = 0

def change(conn, rows):
    global steps
    steps += 1
    if steps == 3:
        os.kill(os.getpid(), 9)
    return {row["id"]: {"project_id": 7} for row in rows}

restate.restate(open_engine(sys.argv[1]), ORDER, true(), change, clock)
"""


def test_a_restatement_that_was_killed_goes_on_where_it_was(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number) for number in range(7)))
    books.roll()
    assert subprocess.run([sys.executable, "-c", KILLED, books.url]).returncode == -9
    assert [row["project_id"] for row in books.rows(calls)].count(7) == 4
    assert spending(books) == rolled_anew(books)
    looked_at = count()

    def change(_conn: Connection, rows: Sequence[Row]) -> Changes:
        return {row["id"]: {"project_id": 7} for row in rows if next(looked_at) >= 0}

    cost = {"CNY": Decimal("0.054")}
    done = restate(books.engine, ORDER, true(), change, clock)
    assert done == Restated(3, 3, cost, cost, seen_earlier=4, changed_earlier=4)
    assert next(looked_at) == 3
    assert [(row["seen"], row["changed"], row["ended_at"]) for row in books.rows(restatements)] == [(7, 7, LATER)]
    assert len(books.rows(restated_calls)) == 7
    assert spending(books) == rolled_anew(books)


def test_what_one_did_is_told_without_what_later_ones_did(books: Books) -> None:
    books.load(DOLLARS)
    books.deliver(made(number=1), made(number=2, request_model="nobody/knows"))
    done = [
        restate(books.engine, Order("rates", {"to": f"{rate}"}, "ann", ""), true(), to(rate_id=rate, **also), clock)
        for rate, also in ((2, {}), (1, {"billed_on": date(2026, 12, 1), "project_id": 7}), (0, {}))
    ]
    assert done[0].after == done[1].before == {"USD": Decimal("4.920000002")}
    with reading(books.engine) as conn:
        told = [module.done_so_far(conn, id_) for id_ in (1, 2, 3)]
    assert [(one.before, one.after) for one in told] == [(one.before, one.after) for one in done]
    places = [(one.costs_before, one.costs_after, one.recosted) for one in told]
    assert places == [(one.costs_before, one.costs_after, one.recosted) for one in done]


def test_a_new_restatement_does_not_read_the_log_of_others(books: Books) -> None:
    books.deliver(made())
    with books.asked() as asked:
        restate(books.engine, ORDER, true(), to(project_id=7), clock)
    assert not [statement for statement, _ in asked if "JOIN restated_calls" in statement]


def test_another_order_does_not_go_on_with_one_that_was_killed(books: Books) -> None:
    books.deliver(made())
    with writing(books.engine) as conn:
        begin(conn, ORDER, NOON)
    restate(books.engine, Order(ORDER.kind, {"to": "elsewhere"}, "bob", ""), true(), to(project_id=7), clock)
    assert [row["ended_at"] for row in books.rows(restatements)] == [None, LATER]


@pytest.mark.parametrize(
    ("first", "then", "ended"),
    [
        (("ann@laptop", "the team was split"), ("ann@laptop", "the team was split"), [2]),
        (("ann@laptop", "the team was split"), ("bob@desk", "the team was split"), [1, 1]),
        (("ann@laptop", "the team was split"), ("ann@laptop", "bob left"), [1, 1]),
        ((by_job("root@one"), "a rate"), (by_job("root@two"), "a rate"), [2]),
        ((by_job("root@one"), "a rate"), (by_job("root@two"), "another"), [1, 1]),
        ((by_job("root@one"), "a rate"), ("root@one", "a rate"), [1, 1]),
    ],
)
def test_what_is_done_stands_under_the_name_and_the_reason_of_whoever_did_it(
    books: Books, monkeypatch: pytest.MonkeyPatch, first: tuple[str, str], then: tuple[str, str], ended: list[int]
) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 1))
    books.deliver(made(number=1), made(number=2))

    def stop(done: Restated) -> None:
        if done.seen == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        restate(books.engine, Order("moved", {}, *first), true(), to(project_id=7), clock, progress=stop)
    done = restate(books.engine, Order("moved", {}, *then), true(), to(project_id=7), clock)
    assert (done.changed, done.changed_earlier) == (1, 2 - len(ended))
    logged = books.rows(restatements)
    assert [row["changed"] for row in logged] == ended
    assert [(row["who"], row["why"]) for row in logged] == [first, then][: len(ended)]
    assert all(row["ended_at"] == LATER for row in logged)


def test_restatements_rollups_and_deliveries_at_once_keep_the_books_in_balance(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 20))
    journals = [Journal(name) for name in "abc"]
    some = [[made(number=100 * j + n, tags={"feature": "a"}, user="u-1") for n in range(40)] for j in range(3)]

    def deliver(which: int) -> None:
        for first in range(0, 40, 4):
            ingest(books.engine, journals[which].batch(*some[which][first : first + 4]), NOON)
            books.roll()

    def flip(which: int) -> None:
        for project in range(2, 5):
            order = Order("flipped", {"by": str(which), "to": str(project)}, "ann", "")
            restate(books.engine, order, true(), to(project_id=project + which), clock)

    with ThreadPoolExecutor(7) as pool:
        for done in [*map(pool.submit, [deliver] * 3, range(3)), *map(pool.submit, [flip] * 4, range(4))]:
            done.result()
    books.roll()
    found = spending(books)
    assert len(books.rows(calls)) == 120
    assert found == rolled_anew(books)


def test_a_program_that_outlives_an_upgrade_changes_nothing_any_more(books: Books) -> None:
    books.deliver(made())
    with writing(books.engine) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch):
        books.roll()
    with pytest.raises(SchemaMismatch):
        restate(books.engine, Order("moved", {}, "me", "why"), true(), to(project_id=2), clock)
    assert books.rows(spend_days) == []


def test_two_that_give_the_same_order_do_it_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", dict.fromkeys(module.CALLS_AT_ONCE, 3))
    books.deliver(*(made(number=number) for number in range(30)))
    books.roll()
    with writing(books.engine) as conn:
        begin(conn, ORDER, NOON)
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(restate, books.engine, ORDER, true(), to(project_id=7), clock) for _ in range(3)]:
            done.result()
    with reading(books.engine) as conn:
        assert sum(row["changed"] for row in books.rows(restatements)) == 30
    assert spending(books) == rolled_anew(books)
