import json
from collections.abc import Iterator

import pytest

from accounting.store.tables import spend_days
from accounting.verify import Verification
from tests.books import Books, at, made
from tests.cli.conftest import Run


def test_books_that_balance_end_with_0(run: Run, books: Books) -> None:
    books.deliver(made())
    books.roll()
    ran = run("verify")
    assert ran.code == 0
    assert ran.out == (
        "1 call checked, 1 of them rolled up: calls, quarter hours, days and tags agree to the last digit.\n"
    )


def test_calls_in_no_sum_yet_are_told_with_what_adds_them(run: Run, books: Books) -> None:
    books.deliver(made())
    ran = run("verify")
    assert ran.code == 0
    assert ran.lines == [
        "1 call checked, 0 of them rolled up: calls, quarter hours, days and tags agree to the last digit.",
        "1 call in no sum yet. To add what waits: accounting rollup (a report does it too).",
    ]


def test_one_token_too_many_is_named_and_ends_with_1(run: Run, books: Books) -> None:
    books.deliver(made())
    books.roll()
    books.overwrite(spend_days, "input_tokens", 1)
    ran = run("verify")
    assert ran.code == 1
    assert "spend_days" in ran.lines[0]
    assert "input_tokens is 1001, expected 1000" in ran.lines[0]
    assert ran.lines[1].endswith("1 figure not as expected. To make spend anew from the calls: accounting rebuild")
    found = json.loads(run("verify", "--json").out)
    assert [(one["table"], one["expected"], one["found"]) for one in found["differences"]] == [
        ("spend_days", "1000", "1001")
    ]


def test_days_are_chosen_as_in_a_report(run: Run, books: Books) -> None:
    books.deliver(made(), made(at("2026-10-31 12:00"), 2))
    books.roll()
    books.overwrite(spend_days, "input_tokens", 1)
    assert run("verify", "--month", "2026-11").code == 0
    ran = run("verify", "--month", "2026-10")
    assert (ran.code, len(ran.lines)) == (1, 2)
    assert ran.lines[1].startswith(
        "1 call checked (from 2026-10-01 to 2026-10-31 (UTC)), 1 of them rolled up: 1 figure"
    )
    assert json.loads(run("verify", "--since", "2026-11-01", "--json").out)["calls"] == 1


def test_an_interrupted_run_says_so_and_is_not_taken_for_a_balance(
    run: Run, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Iterator[Verification]:
        yield Verification(7, 5)
        raise KeyboardInterrupt

    monkeypatch.setattr("accounting.verify.steps", interrupted)
    ran = run("verify")
    assert ran.code == 130
    assert ran.lines[-1] == "Interrupted: the rest was not looked at."
    assert json.loads(run("verify", "--json").out)["complete"] is False
