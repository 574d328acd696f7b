"""Budgets in the books, kept by metered clients: from a request's start to the sum it ends in."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import accounting
from accounting import budgetfile, budgets, gate, glance, recorder, stamps
from accounting.budgets import Budget
from accounting.coverage import NOTHING
from accounting.decisions import Mode
from accounting.errors import BudgetExceeded
from accounting.ports import Gate, open_gate
from accounting.store.tables import calls
from tests.books import Books
from tests.budgeted import CARD, amounts, budget
from tests.capture.answers import CHAT
from tests.capture.wire import Server, plain
from tests.warehouse import until

ASK = {"model": "plain", "max_tokens": 200, "messages": [{"role": "user", "content": "x"}]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
ANSWER = plain(json.dumps({"id": "c-1", "model": "plain", "choices": [], "usage": USAGE}).encode())
"""It costs 3."""


@pytest.fixture
def upstream() -> Iterator[Server]:
    with Server() as upstream:
        upstream.says(ANSWER)
        yield upstream


@pytest.fixture
def client(books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of this process, whose recorder delivers to the books."""
    recorder.close()
    books.load(CARD)
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", books.engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(gate, "REFRESHED_EVERY", 0.05)
    with accounting.Client(provider="wcode", timeout=10) as client:
        yield client
    recorder.close()


def post(client: Any, upstream: Server) -> str:
    """How the call ended."""
    try:
        return str(client.post(upstream.url + CHAT, json=ASK).status_code)
    except BudgetExceeded as error:
        return error.why


def settled(books: Books, cap: Budget) -> tuple[Any, ...]:
    """Spent, reserved and held once all that has ended is in the books."""
    assert recorder.recorder().flush(10)
    assert until(lambda: recorder.recorder().gate._inbox.empty())
    return amounts(books, cap, datetime.now(UTC).date())


def test_of_calls_at_once_so_many_pass_as_there_is_room_for(books: Books, client: Any, upstream: Server) -> None:
    room, may_answer = 5, Event()
    cap = budget(books, "1000", now=datetime.now(UTC))
    upstream.says(partial(may_answer.wait, 20), ANSWER)
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(post, client, upstream)
        assert until(lambda: len(upstream.asked) == 1)
        _, most, _ = amounts(books, cap, datetime.now(UTC).date())
        assert most > 2, "200 tokens out at 10 a thousand, and what goes in"
        _limit(books, most * (room + 1))
        rest = [pool.submit(post, client, upstream) for _ in range(12)]
        assert until(lambda: sum(each.done() for each in rest) == 12 - room, 15)
        may_answer.set()
        assert Counter(each.result(10) for each in (first, *rest)) == {"200": room + 1, "over": 12 - room}
    assert len(upstream.asked) == room + 1
    assert settled(books, cap) == (3 * (room + 1), 0, 0)
    refused = [call["refused_by"] for call in books.rows(calls)]
    assert Counter(refused) == {None: room + 1, "cap": 12 - room}


def _limit(books: Books, limit: Decimal) -> None:
    def work(conn: Any) -> Budget:
        cap = budgets.find(conn, "cap")
        return budgets.edit(conn, cap, replace(cap.terms, limit=limit), datetime.now(UTC), "ann@desk")

    stamps.decide(books.engine, work)


@pytest.mark.parametrize(("status", "outcome"), [(500, "500"), (200, "200")])
def test_what_was_set_aside_goes_back_at_once_where_nothing_was_bought(
    status: int, outcome: str, books: Books, client: Any, upstream: Server
) -> None:
    cap = budget(books, "10", now=datetime.now(UTC), mode=Mode.HARD)
    upstream.says(plain(b'{"error": {"message": "no"}}', status) if status != 200 else ANSWER)
    assert post(client, upstream) == outcome
    assert settled(books, cap) == ((3, 0, 0) if status == 200 else (0, 0, 0))


def test_what_remains_is_read_from_the_books(books: Books, client: Any, upstream: Server) -> None:
    cap = budget(books, "10", now=datetime.now(UTC), mode=Mode.SOFT)
    assert post(client, upstream) == "200"
    settled(books, cap)
    found = accounting.remaining(provider="wcode", model="plain")
    assert found is not None
    assert (found.budget, found.remaining, found.share) == ("cap", Decimal(7), Decimal("0.3"))


def test_a_store_that_was_not_made_yet_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.close()
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", f"sqlite:///{tmp_path / 'none.sqlite3'}")
    with pytest.raises(accounting.StoreMissing):
        accounting.remaining()
    recorder.close()


def test_a_program_waits_at_first_only_where_something_has_changed(
    books: Books, client: Any, upstream: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL that can't be told without asking."""
    url, may_open = recorder.recorder().url, Event()
    budget(books, "1000", now=datetime.now(UTC))
    assert post(client, upstream) == "200"
    recorder.close()
    os.utime(budgetfile.file_of(url), (0, 0))
    known = budgetfile.known(budgetfile.file_of(url))
    assert known is not None
    seen = glance.look(url)
    assert (seen and seen.edition) == (known.edition if url.startswith("sqlite") else None)

    def open_late(url: str) -> Gate:
        may_open.wait(10)
        return open_gate(url)

    monkeypatch.setattr(gate, "open_gate", open_late)
    keeper = recorder.recorder().gate
    keeper._begin()
    assert (keeper._coverage is not None) == url.startswith("sqlite")
    may_open.set()
    recorder.close()
    budget(books, "0", name="new", now=datetime.now(UTC))
    os.utime(budgetfile.file_of(url), (0, 0))
    assert post(client, upstream) == "over", "a new budget binds a new program's first call"


def test_where_no_budget_binds_the_first_call_waits_for_nothing_to_be_loaded(
    books: Books, client: Any, upstream: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL that can't be told without asking."""
    url, may_open = recorder.recorder().url, Event()
    soft = budget(books, "1000", now=datetime.now(UTC), mode=Mode.SOFT)
    gone = budget(books, "0", name="gone", now=datetime.now(UTC))
    stamps.decide(books.engine, lambda conn: budgets.pause(conn, gone, datetime.now(UTC), "ann@desk"))

    def open_late(url: str) -> Gate:
        may_open.wait(10)
        return open_gate(url)

    monkeypatch.setattr(gate, "open_gate", open_late)
    keeper = recorder.recorder().gate
    keeper._begin()
    assert (keeper._coverage is not None) == url.startswith("sqlite")
    if url.startswith("sqlite"):
        assert post(client, upstream) == "200"
    may_open.set()
    assert until(lambda: [bound.id for bound in (keeper._coverage or NOTHING).budgets] == [soft.id])


def test_a_glance_at_what_is_no_store_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "books.sqlite3"
    assert glance.look(f"sqlite:///{file}") is None
    assert not file.exists()
    file.write_bytes(b"x" * 5000)
    assert glance.look(f"sqlite:///{file}") is None
    assert glance.look("sqlite:///:memory:") is None
