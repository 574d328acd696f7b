import json
from collections.abc import Iterator

import pytest

from accounting.rebuild import Rebuilt
from accounting.store import writing
from accounting.store.tables import spend_by_tag, spend_days, spend_quarters
from tests.books import Books, at, made
from tests.cli.conftest import Run


@pytest.fixture
def books(books: Books) -> Books:
    books.deliver(made(number=1, tags={"feature": "rerank"}), made(at("2026-10-31 12:00"), 2))
    books.roll()
    return books


def test_books_that_are_right_stay_as_they_are(run: Run, books: Books) -> None:
    ran = run("rebuild")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(" looked at: every row was right.\n")


def test_what_was_not_as_it_should_be_is_counted_and_put_right(run: Run, books: Books) -> None:
    books.overwrite(spend_days, "input_tokens", 1)
    with writing(books.engine) as conn:
        conn.execute(spend_by_tag.delete())
        conn.execute(spend_quarters.insert().values(books.rows(spend_quarters)[0] | {"project_id": 99}))
    ran = run("rebuild")
    assert ran.code == 0
    assert ran.lines[0].endswith("looked at: these rows were made right.")
    assert sorted(line.strip() for line in ran.lines[1:]) == [
        "spend_by_tag: 1 missing",
        "spend_days: 1 wrong",
        "spend_quarters: 1 too many",
    ]
    assert run("verify").code == 0


def test_days_are_chosen_as_in_a_report(run: Run, books: Books) -> None:
    with writing(books.engine) as conn:
        conn.execute(spend_days.update().values(calls=7))
    found = json.loads(run("rebuild", "--month", "2026-10", "--json").out)
    assert (found["first"], found["end"], found["complete"]) == ("2026-10-01", "2026-11-01", True)
    assert found["tables"]["spend_days"] == {"wrong": 1, "missing": 0, "stray": 0}
    assert sorted(row["calls"] for row in books.rows(spend_days)) == [1, 7]


def test_one_that_is_interrupted_says_what_it_did(run: Run, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[Rebuilt]:
        yield Rebuilt(quarters=3)
        raise KeyboardInterrupt

    monkeypatch.setattr("accounting.rebuild.steps", interrupted)
    ran = run("rebuild")
    assert (ran.code, ran.lines[1]) == (130, "Interrupted: what was done is whole. Run it again for the rest.")
    assert ran.lines[0].startswith("3 quarter hours and 0 days looked at")
