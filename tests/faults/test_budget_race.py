"""L8 under concurrency: what a hard budget has no room for is not sent, however many ask at once and from where."""

import os
from pathlib import Path

import pytest

from accounting import budgetfile
from accounting.coverage import NOTHING
from accounting.decisions import Mode
from tests.books import Books
from tests.budgeted import CARD
from tests.faults.races import CALLS, FIT, FORMATIONS, assert_hard_holds, assert_strict_holds, race


@pytest.mark.parametrize("formation", FORMATIONS)
def test_of_200_calls_at_once_a_strict_budget_lets_exactly_those_pass_that_it_has_room_for(
    books: Books, tmp_path: Path, formation: str
) -> None:
    books.load(CARD)
    for ended in race(tmp_path, books, formation, Mode.STRICT, 2):
        assert_strict_holds(ended)


def test_a_hard_budget_is_overspent_by_no_more_than_calls_cost_beyond_what_was_set_aside(
    books: Books, tmp_path: Path
) -> None:
    books.load(CARD)
    for ended in race(tmp_path, books, "2 hosts", Mode.HARD, 2):
        assert_hard_holds(ended)


def test_programs_that_begin_slowly_on_a_host_that_knows_of_no_budget_pass_no_strict_one(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.load(CARD)
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path / "one"))
    file = budgetfile.file_of(books.engine.url.render_as_string(hide_password=False))
    budgetfile.keep(file, NOTHING)
    os.utime(file, (0, 0))
    slow = {"RACING_LATE": "2", "ACCOUNTING_BUDGET_SECONDS": "1"}
    (ended,) = race(tmp_path, books, "4 processes", Mode.STRICT, 1, slow)
    assert ended.passed == ended.seen <= FIT, ended
    assert ended.period.spent <= ended.limit, ended
    assert ended.said["passed"] < ended.said.total() == CALLS
