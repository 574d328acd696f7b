import json

from accounting.store.tables import spend_days
from tests.books import Books, made
from tests.cli.conftest import Run


def test_books_that_balance_end_with_0(run: Run, books: Books) -> None:
    books.deliver(made())
    books.roll()
    ran = run("verify")
    assert ran.code == 0
    assert ran.out == (
        "1 call checked, 1 of them rolled up: calls, quarter hours, days and tags agree to the last digit.\n"
    )


def test_one_token_too_many_is_named_and_ends_with_1(run: Run, books: Books) -> None:
    books.deliver(made())
    books.roll()
    books.overwrite(spend_days, "input_tokens", 1)
    ran = run("verify")
    assert ran.code == 1
    assert "spend_days" in ran.lines[0]
    assert "input_tokens is 1001, expected 1000" in ran.lines[0]
    found = json.loads(run("verify", "--json").out)
    assert [(one["table"], one["expected"], one["found"]) for one in found["differences"]] == [
        ("spend_days", "1000", "1001")
    ]
