"""Whatever is done to budgets, and to calls, in whatever order: no period says more or less than what is so."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from accounting.decisions import Mode
from accounting.keys import ALWAYS
from accounting.periods import Period
from accounting.projects import UNASSIGNED
from accounting.rates import Rate
from accounting.scopes import Kind, Scope
from accounting.usage import Call
from tests.books import Books, at
from tests.budgeted_books import (
    CUT,
    CYCLES,
    ENDS,
    EXPOSED,
    FINISHED,
    FX,
    INSTANTS,
    KEYS,
    RULES,
    TAGS,
    UNKNOWN,
    BudgetedBooks,
    Wish,
    running,
)
from tests.conftest import NewBooks
from tests.databases import SqliteFiles
from tests.expectations import ZONE
from tests.planted import Plant
from tests.planted_in_budgets import PLANTS

# Without looking for the shortest steps that fail, which takes minutes.
quickly = settings(
    max_examples=15,
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


def story(books: Books) -> None:
    """Something of all that may be done, told by one who knows where faults would show."""
    told = BudgetedBooks(books)
    for _ in steps(told):
        told.every_period_says_what_the_ledger_says()
        told.every_reservation_is_in_the_ledger()
    told.teardown()


LIKELY, AT_MOST = EXPOSED[0], EXPOSED[1]
LARGE = Decimal(100)
BEFORE, TODAY = INSTANTS[1], INSTANTS[3]
"""By the books' days; in New York both are of one day."""

WISHES = [
    Wish(limit=Decimal("0.08")),
    Wish(mode=Mode.STRICT, limit=LARGE, cycle=CYCLES[1]),
    Wish(Scope(Kind.PROJECT, name="ny"), LARGE),
    Wish(Scope(Kind.PROJECT, name=UNASSIGNED), LARGE),
    Wish(Scope(Kind.KEY, name=KEYS[1]), LARGE, cycle=CYCLES[5]),
    Wish(Scope(Kind.MODEL, name="ab"), LARGE, cycle=CYCLES[2]),
    Wish(Scope(Kind.TAG, name="feature", value="rerank"), LARGE, cycle=CYCLES[7]),
    Wish(limit=LARGE, currency="USD", fx=FX[2]),
]


def steps(told: BudgetedBooks) -> Iterator[None]:
    yield told.begin_with([], WISHES, when=2)
    yield told.name(RULES[0])
    yield from asked(told)
    yield from ended(told)
    yield from changed(told)
    yield from beheld(told)


def asked(told: BudgetedBooks) -> Iterator[None]:
    """Calls of every kind; the first budget has room for seven of two days, and half of their leases end."""
    yield told.reserve(
        [running(TODAY), running(TODAY, "x!ab", "ny"), running(TODAY, tags=TAGS[1])], LIKELY, is_over=True
    )
    yield told.reserve([running(TODAY, tags=TAGS[2]), running(BEFORE, project="ny")], AT_MOST, is_over=False)
    yield told.reserve([running(TODAY, project=None, key=KEYS[1])], LIKELY, is_over=False)
    yield told.lapse()
    yield told.reserve([running(TODAY, "b")] * 4, LIKELY, is_over=False)
    yield told.hand_over(KEYS[0], "ny", ALWAYS, follows=False)
    yield told.reserve([running(INSTANTS[6], project=None)] * 2, LIKELY, is_over=False)


def ended(told: BudgetedBooks) -> Iterator[None]:
    """Whatever runs ends, in every way that there is, and some of it again."""
    yield told.reserve([running(LATER, "ab", "ny", tags=TAGS[1]) for _ in ENDS[:6]], LIKELY, is_over=False)
    told.take(replace(call, **how) for call, how in zip(told.calls[-6:], ENDS[:6], strict=True))
    yield
    rest = [*ENDS[6:], UNKNOWN, CUT]
    for some in (rest[start : start + 5] for start in range(0, len(rest), 5)):
        later = LATER + timedelta(days=len(told.calls))
        yield told.reserve([running(later, "ab", "ny", tags=TAGS[1]) for _ in some], LIKELY, is_over=False)
        told.take(replace(call, **how) for call, how in zip(told.calls[-len(some) :], some, strict=True))
        yield
    told.take(replace(call, **FINISHED) for call in told.calls[-2:])
    yield
    told.take([told.calls[-1], running_at(told, BEFORE)])
    yield
    told.take(replace(call, **UNKNOWN) for call in told.calls[:3])
    yield
    yield told.deliver_again(0)


def changed(told: BudgetedBooks) -> Iterator[None]:
    """What calls say becomes something else, and what budgets say of them."""
    yield told.roll(1)
    yield told.move(3, "search")
    yield told.move(len(told.ledger.posted) - 2, "ny")
    yield told.load(line("ab", "CNY", 3))
    yield told.rerate(unpriced=False)
    yield told.load(line("b", "USD", 2))
    yield told.reserve([running(TODAY, "b")], LIKELY, is_over=False)
    yield told.rerate(unpriced=False)
    yield told.edit(0, LARGE, Mode.HARD, FX[1])
    yield told.reserve([running(TODAY, "b", project="search")] * 2, LIKELY, is_over=False)
    yield told.hand_over(KEYS[1], "search", ALWAYS, follows=True)
    yield told.name_no_more(0)
    yield told.name(RULES[0])
    yield told.release(0, 2)
    yield told.release_held(2)


def beheld(told: BudgetedBooks) -> Iterator[None]:
    """Budgets come when there are calls, and go."""
    yield told.deliver([running(TODAY), running(BEFORE), running(LATER)], [FINISHED] * 5)
    yield told.budget(Wish(limit=Decimal("0.02"), cycle=CYCLES[1]))
    yield told.pause_or_resume(8)
    yield told.reserve([running(TODAY)], LIKELY, is_over=False)
    yield told.pass_time(4)
    yield told.edit(0, Decimal(1), Mode.HARD, FX[0])
    yield told.deliver([running(LONG_OVER)], [FINISHED] * 5)
    yield told.edit(1, Decimal(1), Mode.SOFT, FX[0])
    yield told.reserve([running(INSTANTS[6])] * 3, LIKELY, is_over=False)
    yield told.rename("ny")
    yield told.reserve([running(INSTANTS[6], project="ny")] * 2, LIKELY, is_over=False)
    yield told.remove(5)


LATER = INSTANTS[7]
LONG_OVER = at("2026-03-20 04:00")
"""On a day of which there were no calls yet."""


def line(model: str, currency: str, price: int) -> Rate:
    period = Period(INSTANTS[0], None)
    return Rate(
        provider="p", model=model, currency=currency, period=period,
        input_per_1k=Decimal(price), output_per_1k=2 * Decimal(price),
    )  # fmt: skip


def running_at(told: BudgetedBooks, started_at: datetime) -> Call:
    """A call that nobody asked for, with its end."""
    return replace(told._new(running(started_at)), **FINISHED)


def test_the_story_ends_well_where_no_fault_was_planted(new_books: NewBooks) -> None:
    story(new_books(ZONE))


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_fault_that_was_planted_is_found(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one database, as none is of a database."""
    books = Books(SqliteFiles(tmp_path).store(ZONE), ZONE)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        story(books)
    books.close()
