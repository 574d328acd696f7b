from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from accounting import aliasbook, backfill, budgets, keys, projects, stamps
from accounting.aliases import Rule
from accounting.budgets import Budget
from accounting.decisions import Grant, Mode, Refusal
from accounting.keys import Assignment
from accounting.places import sqlite_url
from accounting.scopes import Kind, Scope
from accounting.store import writing
from accounting.storegate import StoreGate
from tests.books import NOON, Books
from tests.budgeted import CARD, amounts, asks, budget, ended, project, running
from tests.databases import Database


@pytest.fixture
def gate(books: Books) -> Iterator[StoreGate]:
    books.load(CARD)
    gate = StoreGate(books.engine.url.render_as_string(hide_password=False))
    yield gate
    gate.close()


def test_a_store_that_was_not_made_yet_has_no_budgets(database: Database) -> None:
    gate = StoreGate(database.empty())
    assert gate.coverage().budgets == ()
    gate.close()


def test_a_gate_knows_of_a_new_budget_when_it_looks_again(books: Books, gate: StoreGate) -> None:
    before = gate.coverage()
    assert gate.coverage() is before
    budget(books, "3")
    coverage = gate.coverage()
    assert [bound.name for bound in coverage.covering(running())] == ["cap"]
    assert gate.coverage() is coverage


def test_a_new_limit_binds_the_next_call(books: Books, gate: StoreGate) -> None:
    cap = budget(books, "3")
    assert isinstance(gate.reserve(asks([running(1)]))[0], Grant)
    assert isinstance(gate.reserve(asks([running(2)]))[0], Refusal)

    def raised(conn: object) -> Budget:
        return budgets.edit(conn, cap, replace(cap.terms, limit=Decimal(6)), NOON, "ann@desk")  # type: ignore[arg-type]

    stamps.decide(books.engine, raised)
    assert isinstance(gate.reserve(asks([running(3)]))[0], Grant)
    assert amounts(books, cap) == (0, 6, 0)


def test_what_is_released_can_be_asked_for_again(books: Books, gate: StoreGate) -> None:
    cap, call = budget(books, "3"), running()
    gate.reserve(asks([call]))
    gate.release([call.id])
    gate.release([])
    assert isinstance(gate.reserve(asks([running(2)]))[0], Grant)
    assert amounts(books, cap) == (0, 3, 0)


def test_states_are_those_of_all_budgets_that_cover_a_call(books: Books, gate: StoreGate) -> None:
    budget(books, "10", project(books, "checkout"), name="a", mode=Mode.SOFT)
    budget(books, "20", name="b")
    budget(books, "30", project(books, "search"), name="c")
    call = running(1, project="checkout")
    gate.reserve(asks([call]))
    books.deliver(ended(running(2, project="checkout")))
    a, b = gate.states(call)
    assert (a.budget, b.budget) == ("a", "b")
    assert [a.spent, a.reserved, a.remaining, b.spent, b.reserved, b.remaining] == [*map(Decimal, (3, 0, 7, 3, 3, 14))]


def test_a_project_is_known_by_its_former_names_and_by_its_keys(books: Books, gate: StoreGate) -> None:
    scope = project(books, "checkout")
    budget(books, "100", scope)
    call = running(1, project=None)
    assert gate.coverage().covering(call) == []
    books.deliver(ended(running(2)))
    with writing(books.engine) as conn:
        projects.rename(conn, projects.find(conn, "checkout"), "till", NOON, "ann@desk")
        (key,) = keys.known(conn)
        keys.assign(conn, key, Assignment(NOON - timedelta(days=1), scope.id, "till"), NOON, "ann@desk", "hers")
    coverage = gate.coverage()
    assert coverage.covering(call)
    assert coverage.covering(running(3, project="checkout"))
    assert coverage.covering(running(3, project="till"))
    assert not coverage.covering(running(3, project="search"))


def test_an_alias_brings_what_was_spent_under_another_name(books: Books, gate: StoreGate) -> None:
    cap = budget(books, "100", Scope(Kind.MODEL, name="plain"))
    books.deliver(ended(running(1)), ended(replace(running(2), request_model="our-plain")))
    books.roll()
    books.deliver(ended(replace(running(3), request_model="our-plain")))
    assert amounts(books, cap) == (3, 0, 0)

    def named(conn: object) -> None:
        aliasbook.add(conn, Rule("wcode", "our-{model}", "{model}", "ours"), NOON, "ann@desk")  # type: ignore[arg-type]
        backfill.fill_by_model(conn)  # type: ignore[arg-type]

    stamps.decide(books.engine, named)
    assert gate.coverage().covering(replace(running(4), request_model="our-plain"))
    books.deliver(ended(replace(running(5), request_model="our-plain")))
    # Those that came in before the alias have no rate yet, and are in the budget with none.
    assert amounts(books, cap) == (6, 0, 0)


def test_a_gate_of_no_store_raises(tmp_path_factory: pytest.TempPathFactory) -> None:
    gate = StoreGate(sqlite_url(tmp_path_factory.mktemp("none") / "books.sqlite3"))
    with pytest.raises(Exception, match="There is no store"):
        gate.reserve(asks([running()]))
