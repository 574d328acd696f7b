"""A key goes to a project, and calls in the books follow it, whatever comes in meanwhile."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date, datetime, timedelta
from itertools import count
from threading import Barrier, Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import handovers, keys, projects, restate, stamps
from accounting.handovers import Handover
from accounting.ingest import ingest
from accounting.restated import Restated
from accounting.store import reading
from accounting.store.tables import (
    calls,
    key_projects,
    restated_calls,
    restatements,
    spend_by_tag,
    spend_days,
    spend_quarters,
)
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.conftest import NewBooks
from tests.databases import Database
from tests.test_keys import booked, by_key
from tests.test_laws import few, fresh
from tests.test_projects import WHO, change_zone, create, rename

HOUR = timedelta(hours=1)


def to(books: Books, project: str, since: datetime = NOON, key: str = "a1b2") -> Handover:
    with reading(books.engine) as conn:
        return Handover(keys.find(conn, key), projects.find(conn, project), since, WHO, "they asked")


def hand_over(books: Books, project: str, since: datetime = NOON, now: datetime = NOON + HOUR) -> Restated:
    """The key goes to the project, and its calls in the books follow."""
    handover = to(books, project, since)
    handovers.hand_over(books.engine, handover, now)
    return handovers.follow(books.engine, handover, lambda: now)


def stored(books: Books) -> list[Any]:
    """The calls, and what is spent, as they stand."""
    return [
        sorted((tuple(row.values()) for row in books.rows(table)), key=repr)
        for table in (calls, spend_quarters, spend_days, spend_by_tag)
    ]


@pytest.mark.parametrize("rolled", [False, True])
def test_calls_by_key_follow_and_those_attributed_in_code_stay(books: Books, rolled: bool) -> None:
    create(books, "search")
    books.deliver(
        by_key(NOON - HOUR, 1),
        by_key(NOON, 2),
        made(NOON, 3, project="checkout", project_source="meter"),
        made(NOON, 4, project="index", project_source="attribute"),
        by_key(NOON, 5, key_fingerprint="c3" * 32, key_last4="c3d4"),
    )
    if rolled:
        books.roll()
    moved = hand_over(books, "search")
    assert (moved.changed, moved.before, moved.after) == (1, moved.after, moved.before)
    assert booked(books) == [
        ("unassigned", "default"), ("search", "key"), ("checkout", "meter"), ("index", "attribute"),
        ("unassigned", "default"),
    ]  # fmt: skip
    books.roll()
    assert verify(books.engine).balanced


def test_there_and_back_leaves_the_books_as_they_were(books: Books) -> None:
    for name in ("search", "index"):
        create(books, name)
    tags = {"tags": {"feature": "rerank"}, "user": "u-1"}
    books.deliver(*(by_key(NOON + number * HOUR / 60, number, **tags) for number in range(1, 9)))
    books.roll()
    before = stored(books)
    hand_over(books, "search")
    assert stored(books) != before
    hand_over(books, "index")
    hand_over(books, "unassigned")
    assert stored(books) == before


def test_moved_calls_are_what_they_had_been_in_the_first_place(new_books: NewBooks) -> None:
    moved, first = new_books(), new_books()
    some = [by_key(NOON + number * HOUR, number) for number in range(1, 9)]
    for books in (moved, first):
        create(books, "search", zone="Pacific/Kiritimati")
        books.deliver(by_key(NOON - HOUR))
    handovers.hand_over(first.engine, to(first, "search"), NOON + HOUR)
    for books in (moved, first):
        books.deliver(*some)
        books.roll()
    hand_over(moved, "search")
    assert stored(moved) == stored(first)


def test_a_zone_that_is_decided_while_calls_go_to_the_project_is_not_that_of_days_they_have(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(books, "search")
    books.deliver(by_key(NOON + 6 * HOUR))
    books.roll()
    find_days, decided = handovers._rebooked, list[Future[date]]()

    def meanwhile(*args: Any) -> Any:
        found = find_days(*args)
        decided.append(pool.submit(change_zone, books, "search", "Asia/Tokyo"))
        wait(decided, timeout=0.3)
        return found

    monkeypatch.setattr(handovers, "_rebooked", meanwhile)
    with ThreadPoolExecutor() as pool:
        assert hand_over(books, "search").changed == 1
    assert [one.result() for one in decided] == [date(2026, 12, 1)]
    assert verify(books.engine).balanced


def test_calls_take_the_days_of_the_project_they_go_to(books: Books) -> None:
    create(books, "search", zone="Pacific/Kiritimati")
    books.deliver(by_key(NOON))
    books.roll()
    hand_over(books, "search")
    assert [row["billed_on"] for row in books.rows(calls)] == [date(2026, 11, 24)]
    assert [row["billed_on"] for row in books.rows(spend_days)] == [date(2026, 11, 24)]


def test_what_would_follow_is_what_follows_and_a_look_changes_nothing(books: Books) -> None:
    create(books, "search")
    books.deliver(*(by_key(NOON, number) for number in range(1, 4)), made(NOON, 9))
    before = stored(books)
    handover = to(books, "search")
    would = handovers.would_follow(books.engine, handover, lambda: NOON + HOUR)
    assert (stored(books), books.rows(key_projects), books.rows(restatements)) == (before, [], [])
    moved = hand_over(books, "search")
    assert (would.changed, would.after) == (3, moved.after)
    assert moved == would


def test_who_moved_a_key_and_why_is_in_the_log(books: Books) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    hand_over(books, "search")
    (row,) = books.rows(restatements)
    assert (row["kind"], row["who"], row["why"], row["changed"]) == ("key-moved", WHO, "they asked", 1)
    assert row["what"]["project"] == "search"
    assert [row["before"]["project_source"] for row in books.rows(restated_calls)] == ["default"]


def test_a_decision_that_holds_already_is_not_taken_again(books: Books) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    hand_over(books, "search", now=NOON + HOUR)
    hand_over(books, "search", now=NOON + 2 * HOUR)
    assert [row["decided_at"] for row in books.rows(key_projects)] == [NOON + HOUR]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many calls follow in one transaction."""
    monkeypatch.setattr(restate, "CALLS_AT_ONCE", dict.fromkeys(restate.CALLS_AT_ONCE, 20))
    return 20


class Killed(BaseException):
    """As a kill between two transactions."""


def cut_short(books: Books, project: str, now: datetime) -> None:
    """Hand the key over, and stop after the first of several transactions."""

    def die(done: Restated) -> None:
        if done.changed:
            raise Killed

    handover = to(books, project)
    handovers.hand_over(books.engine, handover, now)
    with pytest.raises(Killed):
        handovers.follow(books.engine, handover, lambda: now, die)


def test_one_that_was_killed_goes_on(books: Books, at_once: int) -> None:
    create(books, "search")
    books.deliver(*(by_key(NOON, number) for number in range(1, at_once + 10)))
    cut_short(books, "search", NOON + HOUR)
    assert {name for name, _ in booked(books)} == {"search", "unassigned"}
    done = hand_over(books, "search")
    assert (done.changed, done.changed_earlier) == (9, at_once)
    assert {name for name, _ in booked(books)} == {"search"}
    assert len(books.rows(restatements)) == 1


def test_one_that_was_killed_does_not_go_on_where_the_key_went_elsewhere_meanwhile(books: Books, at_once: int) -> None:
    for name in ("search", "index"):
        create(books, name)
    books.deliver(*(by_key(NOON, number) for number in range(1, at_once + 10)))
    cut_short(books, "search", NOON + HOUR)
    hand_over(books, "index", now=NOON + 2 * HOUR)
    hand_over(books, "search", now=NOON + 3 * HOUR)
    assert {name for name, _ in booked(books)} == {"search"}


def test_a_key_handed_on_while_calls_follow_leads_them_all_to_the_last_project(books: Books, at_once: int) -> None:
    for name in ("search", "index"):
        create(books, name)
    books.deliver(*(by_key(NOON, number) for number in range(1, 2 * at_once + 10)))
    first = to(books, "search")
    then: list[Restated] = []

    def meanwhile(done: Restated) -> None:
        if done.changed and not then:
            then.append(hand_over(books, "index", now=NOON + 2 * HOUR))

    handovers.hand_over(books.engine, first, NOON + HOUR)
    handovers.follow(books.engine, first, lambda: NOON + HOUR, meanwhile)
    assert {name for name, _ in booked(books)} == {"index"}


@pytest.mark.parametrize("rename_first", [False, True])
def test_a_renamed_project_is_the_same_one(books: Books, rename_first: bool) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    if rename_first:
        rename(books, "search", "find")
    hand_over(books, "search")
    if not rename_first:
        rename(books, "search", "find")
    assert booked(books) == [("find", "key")]


def test_no_call_is_left_behind_while_others_come_in(books: Books) -> None:
    """Threads deliver, a rollup runs, and the key moves: all its calls since then are where it went."""
    create(books, "search")
    books.deliver(by_key(NOON - HOUR, 99_999))
    numbers, go, stop = count(1), Barrier(5), Event()

    def deliver(thread: int) -> None:
        journal = Journal(f"journal {thread}")
        go.wait()
        for _ in range(12):
            some = [by_key(NOON + timedelta(seconds=next(numbers)), thread) for _ in range(5)]
            ingest(books.engine, journal.batch(*some), NOON + HOUR)

    def roll() -> None:
        while not stop.is_set():
            books.roll()

    def move() -> None:
        go.wait()
        hand_over(books, "search", now=NOON + 2 * HOUR)

    with ThreadPoolExecutor(6) as pool:
        rolling = pool.submit(roll)
        for each in [*(pool.submit(deliver, thread) for thread in range(4)), pool.submit(move)]:
            each.result()
        stop.set()
        rolling.result()
    books.roll()
    assert set(booked(books)[1:]) == {("search", "key")}
    assert len(booked(books)) == 241
    assert verify(books.engine).balanced


def test_a_batch_stamped_before_the_decision_is_in_the_books_before_it(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hole that the lock closes: stamped by what held before, committed after all had been moved."""
    create(books, "search")
    books.deliver(by_key(NOON - HOUR, 9))
    stamped, may_go_on = Event(), Event()
    load = stamps.load

    def slow(*args: Any) -> Any:
        known = load(*args)
        stamped.set()
        may_go_on.wait(0.5)  # the decision is tried meanwhile, and has to wait
        return known

    monkeypatch.setattr(stamps, "load", slow)
    with ThreadPoolExecutor(2) as pool:
        delivery = pool.submit(ingest, books.engine, Journal("late").batch(by_key(NOON, 1)), NOON + HOUR)
        stamped.wait()
        moved = pool.submit(hand_over, books, "search")
        delivery.result()
        assert moved.result().changed == 1
    assert booked(books)[1] == ("search", "key")


ZONES = {"search": "Pacific/Kiritimati", "index": "America/Los_Angeles", "audit": "Asia/Kathmandu"}
DAYS = st.integers(1, 40).map(lambda hours: NOON - hours * timedelta(hours=7))
STEPS = st.one_of(
    st.tuples(st.just("deliver"), DAYS),
    st.tuples(st.just("attributed"), DAYS),
    st.tuples(st.just("roll"), DAYS),
    st.tuples(st.sampled_from([*ZONES, "unassigned"]), DAYS),  # the key moves there
)


@settings(few, max_examples=8)
@given(steps=st.lists(STEPS, max_size=8))
def test_whatever_comes_in_and_moves_the_last_decision_holds_and_the_books_balance(
    database: Database, steps: list[tuple[str, datetime]]
) -> None:
    with fresh(database) as books:
        for name, zone in ZONES.items():
            create(books, name, zone=zone)
        books.deliver(made(NOON - timedelta(days=40), project="unassigned"))
        moves: list[tuple[str, datetime]] = []
        starts: list[tuple[datetime, int, bool]] = []
        for number, (what, at) in enumerate(steps, 2):
            if what == "roll":
                books.roll()
            elif what in ("deliver", "attributed"):
                call = by_key(at, number) if what == "deliver" else made(at, number)
                books.deliver(call)
                starts.append((at, number, what == "deliver"))
            else:
                hand_over(books, what, at)
                moves.append((what, at))
        books.roll()
        assert verify(books.engine).differences == ()
        expected = [_payer(at, moves) if follows else "checkout" for at, _, follows in sorted(starts)]
        assert [name for name, _ in booked(books)[1:]] == expected


def _payer(at: datetime, moves: list[tuple[str, datetime]]) -> str:
    """Of the decisions that concern the instant the one that was taken last."""
    return ([name for name, since in moves if since <= at] or ["unassigned"])[-1]
