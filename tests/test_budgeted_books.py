"""Whatever is done to budgets, and to calls, in whatever order: no period says more or less than what is so."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.budgeted_books import BudgetedBooks
from tests.conftest import NewBooks
from tests.expectations import ZONE

# Without looking for the shortest steps that fail, which takes minutes.
quickly = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),
)


def test_budgets_are_right_whatever_is_done(new_books: NewBooks) -> None:
    books = new_books(ZONE)

    class Machine(BudgetedBooks):
        def __init__(self) -> None:
            super().__init__(books)

    run_state_machine_as_test(Machine, settings=quickly)
