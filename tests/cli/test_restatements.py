import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import true

from accounting.restate import Order, begin, restate
from accounting.store import writing
from tests.books import NOON, Books, made
from tests.cli.conftest import Run

ORDER = Order("key-moved", {"key": "…a1b2", "project": "search", "decided": ""}, "ann@laptop", "the team was split")


@pytest.fixture
def books(books: Books) -> Books:
    """Books with two calls, of which one was moved and one was priced."""
    books.deliver(made(number=1), made(number=2, request_model="nobody/knows"))
    books.roll()
    changes: dict[UUID, dict[str, Any]] = {
        made(number=1).id: {"project_id": 7, "effort": "high"},
        made(number=2).id: {"rate_id": 1},
    }
    restate(books.engine, ORDER, true(), lambda *_: changes, lambda: NOON)
    return books


def test_the_list_says_who_changed_how_much_and_why(run: Run, books: Books) -> None:
    with writing(books.engine) as conn:
        begin(conn, Order("rates", {}, "bob@host", ""), NOON)
    ran = run("restatements", "list")
    assert ran.lines[0].split() == ["id", "began", "kind", "changed", "seen", "state", "who", "why"]
    assert ran.lines[1].split()[4:] == ["rates", "0", "0", "not", "finished", "bob@host"]
    assert ran.lines[2].split()[4:] == ["key-moved", "2", "2", "done", "ann@laptop", "the", "team", "was", "split"]
    assert len(run("restatements", "list", "--kind", "rates").lines) == 2
    found = json.loads(run("restatements", "list", "--limit", 1, "--json").out)
    assert ([one["kind"] for one in found["restatements"]], found["more"]) == (["rates"], True)


def test_one_is_shown_with_what_each_call_said_before_and_what_that_did_to_the_cost(run: Run, books: Books) -> None:
    lines = run("restatements", "show", 1).lines
    assert "about     key …a1b2, project search" in lines
    assert "why       the team was split" in lines
    assert "changed   2 of 2 calls" in lines
    assert "cost      0.018 CNY before, 0.036 CNY after" in lines
    assert any(line.split() == [str(made(number=1).id), "project_id", "1,", "effort", '""'] for line in lines)
    found = json.loads(run("restatements", "show", 1, "--json").out)
    assert (found["cost_before"], found["cost_after"]) == ({"CNY": "0.018"}, {"CNY": "0.036"})
    assert [call["before"] for call in found["calls"]] == [{"project_id": 1, "effort": ""}, {"rate_id": 0}]


def test_one_that_is_not_there_is_named(run: Run, books: Books) -> None:
    ran = run("restatements", "show", 7)
    assert ran.code == 2
    assert "There is no restatement 7." in ran.err


def test_where_nothing_was_changed_that_is_said(run: Run, books: Books) -> None:
    assert run("restatements", "list", "--kind", "rates").out == "No change of kind rates.\n"
