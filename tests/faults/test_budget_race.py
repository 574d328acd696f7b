"""L8 under concurrency: what a hard budget has no room for is not sent, however many ask at once and from where."""

from pathlib import Path

import pytest

from accounting.decisions import Mode
from tests.books import Books
from tests.budgeted import CARD
from tests.faults.races import FORMATIONS, assert_hard_holds, assert_strict_holds, race


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
