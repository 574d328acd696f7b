"""Callers who ask at the same time, and budgets that change while calls come in."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from accounting import backfill, budgetperiods, budgets, reservations, scoped, settling, stamps
from accounting.budgetperiods import Period, Place
from accounting.budgets import Budget
from accounting.cycles import Cycle, Every
from accounting.decisions import Ask, Decision, Grant, Mode
from accounting.ingest import ingest
from accounting.rollup import roll_all
from accounting.store import open_engine, reading, tables, transact
from accounting.storegate import StoreGate
from accounting.usage import Outcome, Usage
from accounting.verify import verify
from tests.books import NOON, Books, Journal
from tests.budgeted import CARD, amounts, asks, budget, ended, reserve, running
from tests.planted import Plant
from tests.test_ingest_at_once import at_once

CALLERS = 6
FIT = 4
ROUNDS = 5


@pytest.fixture(autouse=True)
def _prices(books: Books) -> None:
    books.load(CARD)


@contextmanager
def gates(books: Books, number: int) -> Iterator[list[StoreGate]]:
    made = [StoreGate(books.url) for _ in range(number)]
    try:
        yield made
    finally:
        for gate in made:
            gate.close()


def exactly_as_many_pass_as_fit(books: Books) -> None:
    """Of callers who each ask for a call at the same time, round by round."""
    with gates(books, CALLERS) as callers:
        for round_ in range(ROUNDS):
            cap = budget(books, f"{3 * FIT}", name=f"cap {round_}")
            first, *rest = (running(CALLERS * round_ + number) for number in range(CALLERS + 1))
            reserve(books, first)
            transact(books.engine, partial(reservations.release, ids=[first.id]))
            said = at_once(*(partial(gate.reserve, asks([call])) for gate, call in zip(callers, rest, strict=True)))
            assert [type(each) for (each,) in said].count(Grant) == FIT
            assert amounts(books, cap) == (0, 3 * FIT, 0)
            stamps.decide(books.engine, partial(removed, cap))


def removed(cap: Budget, conn: Connection) -> None:
    reservations.forget(conn, budgets.remove(conn, cap, NOON, "ann@desk"))


def test_of_callers_who_ask_at_once_as_many_pass_as_fit(books: Books) -> None:
    exactly_as_many_pass_as_fit(books)


def test_check_then_act_would_be_found(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks how much room there is, and only then takes it."""
    seen, met = threading.local(), Barrier(CALLERS)
    ask, lock = StoreGate.reserve, budgetperiods.lock

    def reserve(gate: StoreGate, some: Sequence[Ask]) -> list[Decision]:
        with reading(gate._engine) as conn:
            seen.periods = {period.place: period for each in budgets.known(conn) for period in all_of(conn, each)}
        met.wait(10)
        return ask(gate, some)

    def as_seen(conn: Connection, places: Sequence[Place], ids: Sequence[int] = ()) -> dict[Place, Period]:
        return {place: seen.periods[place] for place in places} if hasattr(seen, "periods") else lock(conn, places, ids)

    monkeypatch.setattr(StoreGate, "reserve", reserve)
    monkeypatch.setattr(budgetperiods, "lock", as_seen)
    with pytest.raises(AssertionError):
        exactly_as_many_pass_as_fit(books)


all_of = budgetperiods.all_of


def a_new_budget_knows_what_comes_in_meanwhile(books: Books, patch: pytest.MonkeyPatch) -> None:
    """The call looks for budgets before there is this one, and is in the books after it was made."""
    load, looked, was_made = settling.load, threading.Event(), threading.Event()

    def slowly(conn: Connection) -> settling.Budgets:
        found = load(conn)
        looked.set()
        was_made.wait(1)  # which is in vain where the budget waits for the call
        return found

    def make() -> None:
        assert looked.wait(10)
        budget(books, "1000", name="made meanwhile")
        was_made.set()

    patch.setattr(settling, "load", slowly)
    at_once(make, partial(books.deliver, ended(running())))
    with reading(books.engine) as conn:
        made = budgets.find(conn, "made meanwhile")
    assert amounts(books, made) == (3, 0, 0)


def test_a_new_budget_knows_the_calls_that_come_in_meanwhile(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    a_new_budget_knows_what_comes_in_meanwhile(books, monkeypatch)


def nothing_is_held(patch: pytest.MonkeyPatch) -> None:
    """On SQLite whoever writes is alone anyway."""
    patch.setattr(backfill, "hold", lambda *_, **__: None)
    patch.setattr(stamps, "decide", transact)


def sums_are_read_before(patch: pytest.MonkeyPatch) -> None:
    """And written in a transaction of their own."""
    read, costs = threading.local(), scoped.costs

    def decide(engine: Engine, work: Callable[[Connection], Any]) -> Any:
        with reading(engine) as read.before:
            read.before.execute(sa.select(tables.store.c.zone))
            return transact(engine, work)

    patch.setattr(backfill, "hold", lambda *_, **__: None)
    patch.setattr(stamps, "decide", decide)
    patch.setattr(scoped, "costs", lambda _conn, *given: costs(read.before, *given))


@pytest.mark.parametrize(
    ("plant", "database"),
    [(nothing_is_held, "postgresql"), (sums_are_read_before, "sqlite"), (sums_are_read_before, "postgresql")],
    indirect=["database"],
)
def test_sums_that_are_read_without_a_lock_would_be_found(
    plant: Plant, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        a_new_budget_knows_what_comes_in_meanwhile(books, monkeypatch)


# On SQLite there is one writer at a time, whatever is held.
several_writers = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@several_writers
def test_what_comes_to_be_held_while_all_that_is_held_is_released_stays_in_the_sums(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another period, which nobody has locked."""
    cap, other = budget(books, "100", cycle=Cycle(Every.DAY)), open_engine(books.url)
    reserve(books, running(1), lease=OVER)
    transact(books.engine, reservations.lapse)
    reserve(books, running(2, NOON + timedelta(days=1)), lease=OVER)
    locked = reservations._locked

    def then_lapsed(conn: Connection, chosen: Any) -> Any:
        found = locked(conn, chosen)
        monkeypatch.setattr(reservations, "_locked", locked)
        transact(other, reservations.lapse)
        return found

    monkeypatch.setattr(reservations, "_locked", then_lapsed)
    transact(books.engine, partial(reservations.release_held, budget=cap))
    assert verify(books.engine).differences == ()
    assert amounts(books, cap) == (0, 0, 0)
    assert amounts(books, cap, NOON.date() + timedelta(days=1)) == (0, 0, 3)
    other.dispose()


@several_writers
@pytest.mark.parametrize("step", ["_periods", "_in_force"])
def test_nothing_is_set_aside_in_a_budget_that_is_removed_meanwhile(
    books: Books, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Once the caller knows which budgets there are: before it has its period to itself, or after it looked again."""
    cap, other = budget(books, "100"), open_engine(books.url)
    do: Callable[..., dict[Place, Period]] = getattr(reservations, step)
    removal = threading.Thread(target=partial(stamps.decide, other, partial(removed, cap)))

    def meanwhile(*given: Any) -> dict[Place, Period]:
        found = do(*given) if step == "_in_force" else None
        removal.start()
        removal.join(1)  # which is in vain where the removal waits for the caller
        return do(*given) if found is None else found

    with gates(books, 1) as (gate,):
        gate.reserve(asks([running(1)]))
        gate.release([running(1).id])
        monkeypatch.setattr(reservations, step, meanwhile)
        assert [type(each) for each in gate.reserve(asks([running(2)]))] == [Grant]
    removal.join()
    assert books.rows(tables.reservations) == []
    assert amounts(books, cap) == (0, 0, 0)
    other.dispose()


OVER = timedelta(days=-400)


def test_sums_are_right_whoever_does_what_at_once(books: Books) -> None:
    """Calls are asked for, come in twice, lapse, are released and rolled up, while budgets are edited and filled."""
    caps = [budget(books, "40", name="one"), budget(books, "60", name="other", mode=Mode.HARD, cycle=Cycle(Every.DAY))]
    works = [
        *(partial(asks_and_ends, books.url, host) for host in range(3)),
        partial(again, books.url, lambda engine: transact(engine, reservations.lapse)),
        partial(again, books.url, lambda engine: roll_all(engine, lambda: NOON)),
        partial(again, books.url, lambda engine: transact(engine, partial(reservations.release_held, budget=caps[0]))),
        partial(again, books.url, edited),
    ]
    at_once(*works)
    assert verify(books.engine).differences == ()
    assert all(amounts(books, cap)[0] > 0 for cap in caps)


def asks_and_ends(url: str, host: int) -> None:
    engine, gate, journal = open_engine(url), StoreGate(url), Journal(f"host {host}")
    for round_ in range(12):
        some = [running(1000 * host + 10 * round_ + number) for number in range(1, 5)]
        said = gate.reserve(asks(some))
        sent = [call for call, each in zip(some, said, strict=True) if isinstance(each, Grant)]
        ends = [ended(call, **how) for call, how in zip(sent, ENDS, strict=False)]
        for batch in (ends, ends, [ended(call) for call in sent[:2]]):
            ingest(engine, journal.batch(*batch), NOON)
        gate.release([call.id for call in sent[2:3]])
    gate.close()
    engine.dispose()


UNKNOWN = {"outcome": Outcome.UNKNOWN, "http_status": None, "usage": Usage()}
ENDS: tuple[dict[str, Any], ...] = (UNKNOWN, {}, UNKNOWN, {"tokens_out": 300})


def again(url: str, work: Callable[[Engine], Any]) -> None:
    """Over and over, for a moment."""
    engine = open_engine(url)
    for _ in range(15):
        work(engine)
        time.sleep(0.01)
    engine.dispose()


def edited(engine: Engine) -> None:
    """Another limit, and other exchange rates; what both have spent is counted anew."""

    def work(conn: Connection) -> None:
        for before in budgets.known(conn):
            terms = replace(before.terms, limit=before.terms.limit + 1, fx={"USD": Decimal(7)})
            backfill.fill(conn, budgets.edit(conn, before, terms, NOON, "ann@desk"))

    stamps.decide(engine, work)
