"""Whatever is done to the rates, in whatever order: each call has the one that held, and the books balance."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import count, cycle, product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from accounting.periods import Period
from accounting.rates import ANY_TIER, Rate
from accounting.usage import Call
from tests.books import Books, made, used
from tests.conftest import NewBooks
from tests.expectations import ZONE
from tests.planted import PLANTS, Plant
from tests.rated_books import BORDERS, HOURS, INPUTS, INSTANTS, MODELS, PROJECTS, RULES, SERVED, RatedBooks

# Without looking for the shortest steps that fail, which takes minutes.
quickly = settings(
    max_examples=12,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),
)


def test_the_books_are_right_whatever_is_done_to_the_rates(new_books: NewBooks) -> None:
    books = new_books(ZONE)

    class Machine(RatedBooks):
        def __init__(self) -> None:
            super().__init__(books)

    run_state_machine_as_test(Machine, settings=quickly)


BEGIN, MIDNIGHT, LATER, _ = BORDERS
_prices = map(Decimal, count(1))


def line(model: str, start: datetime = BEGIN, end: datetime | None = None, **conditions: Any) -> Rate:
    """Of a price of its own."""
    price = next(_prices)
    return Rate(provider="p", model=model, currency="USD", period=Period(start, end), input_per_1k=price,
                cache_read_per_1k=price / 10, output_per_1k=2 * price, **conditions)  # fmt: skip


LINES = [
    line("ab", end=LATER),
    line("ab", service_tier="batch"),
    line("ab", context_above=10),
    line("b"),
    line("b", hours=HOURS[0]),
    line("b", MIDNIGHT),
    line("b", service_tier=ANY_TIER),
    line("ba", MIDNIGHT),
    line("a*", LATER),
]


def calls_of(*models: str) -> list[Call]:
    """One at every instant and of every tier, with more or less input, half of them paid for by either project."""
    some, inputs, payers = product(models, INSTANTS, SERVED), cycle(INPUTS[1:]), cycle(PROJECTS)
    return [
        made(at, provider="p", request_model=model, service_tier=tier, project=next(payers),
             usage=used(number := next(inputs), 25 - number, read=5), tags={"feature": "rerank"})
        for model, at, tier in some
    ]  # fmt: skip


def story(books: Books) -> None:
    """Something of all that may be done, told by one who knows where faults would show."""
    told = RatedBooks(books)
    for _ in steps(told):
        told.every_call_has_its_rate()
        told.the_edition_is_known()
    told.teardown()


def steps(told: RatedBooks) -> Iterator[None]:
    yield told.begin_with(LINES, calls_of(*MODELS), is_rolled=True)
    for rule in RULES[:3]:
        yield told.name(rule)
    yield told.price_arrivals()
    yield told.deliver(calls_of("x!ab", "ba"))
    yield told.withdraw(_place(told, "b"), 1)
    yield told.deliver(calls_of("b"))
    yield told.rerate(None, unpriced=False)
    yield told.name_no_more(0)
    yield told.deliver(calls_of("x!ab"))
    yield told.move(8, PROJECTS[1])  # of those that have a price
    yield told.end(_place(told, "ba"), LATER)
    yield told.there_and_back(replace(LINES[0], period=Period(LATER, None)))
    yield told.rebuild()
    yield told.upgrade()


def _place(told: RatedBooks, model: str) -> int:
    """Where a line of the model stands among those in force."""
    return next(place for place, id_ in enumerate(sorted(told.lines)) if told.lines[id_].model == model)


def test_the_story_ends_well_where_no_fault_was_planted(new_books: NewBooks) -> None:
    story(new_books(ZONE))


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_fault_that_was_planted_is_found(plant: Plant, new_books: NewBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    books = new_books(ZONE)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        story(books)
