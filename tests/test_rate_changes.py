"""Lines that are added, withdrawn and ended: the books keep all they ever said."""

import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import ratebook
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.hours import hours
from accounting.periods import Period
from accounting.ratebook import Line
from accounting.rates import Rate
from accounting.resolution import RateBook
from accounting.store import reading, writing
from accounting.store.tables import store
from tests.books import NOON, Books, at

MAY, JUNE, JULY = at("2026-05-01"), at("2026-06-01"), at("2026-07-01")

CARD = """
provider = "acme"
currency = "USD"
source = "list of May"

[[rate]]
model = "m"
valid_from = 2026-05-01
input = 0.001
output = 0.002

[[rate]]
model = "m"
valid_from = 2026-07-01
input = 0.003
output = 0.004
"""


@pytest.fixture
def ids(books: Books) -> list[int]:
    """The lines of the card in the books."""
    with writing(books.engine) as conn:
        return [rate.id for rate in ratebook.load(conn, parse_card(CARD, "card.toml"), NOON, "ann@desk").lines]


def withdraw(books: Books, ids: Collection[int], why: str = "typed wrong") -> list[Rate]:
    with writing(books.engine) as conn:
        return ratebook.withdraw(conn, ids, NOON, "bob@desk", why)


def end(books: Books, id_: int, when: datetime) -> Rate:
    with writing(books.engine) as conn:
        return ratebook.end(conn, id_, when, NOON, "bob@desk", "the offer is over")


def add(books: Books, line: Rate) -> Rate:
    with writing(books.engine) as conn:
        return ratebook.add(conn, line, NOON, "cas@desk")


def lines(books: Books) -> dict[int, Line]:
    with reading(books.engine) as conn:
        return {line.rate.id: line for line in ratebook.lines(conn, withdrawn=True) if line.rate.provider == "acme"}


def found(books: Books, when: datetime) -> Rate | None:
    with reading(books.engine) as conn:
        return ratebook.book(conn).find("acme", "m", when)


def edition(books: Books) -> int:
    return int(books.rows(store)[0]["rates_edition"])


def test_loading_tells_the_ids_of_the_lines_it_added(books: Books, ids: list[int]) -> None:
    held = lines(books)
    assert [held[id_].rate.valid_from for id_ in ids] == [MAY, JULY]
    assert {(line.loaded_by, line.loaded_at) for line in held.values()} == {("ann@desk", NOON)}


def test_what_is_withdrawn_stays_with_who_when_and_why(books: Books, ids: list[int]) -> None:
    before = edition(books)
    assert [rate.id for rate in withdraw(books, ids[1:])] == ids[1:]
    line = lines(books)[ids[1]]
    assert (line.withdrawn_at, line.withdrawn_by, line.withdrawn_why) == (NOON, "bob@desk", "typed wrong")
    assert line.rate.input_per_1k == Decimal("0.003")
    with reading(books.engine) as conn:
        assert ids[1] not in [line.rate.id for line in ratebook.lines(conn, withdrawn=False)]
        assert ids[1] in [rate.id for rate in ratebook.rates(conn)]
    assert edition(books) == before + 1


def test_where_a_line_is_withdrawn_the_one_before_it_holds_again(books: Books, ids: list[int]) -> None:
    withdraw(books, ids[1:])
    held = found(books, JULY)
    assert held is not None
    assert held.id == ids[0]


def test_an_unknown_id_is_refused_and_nothing_is_withdrawn(books: Books, ids: list[int]) -> None:
    before = edition(books)
    with pytest.raises(RateCardError, match=r"no rate 998, 999 in the books\. .* accounting rates list"):
        withdraw(books, [*ids, 999, 998])
    assert all(line.withdrawn_at is None for line in lines(books).values())
    assert edition(books) == before


def test_what_was_withdrawn_once_is_not_withdrawn_again(books: Books, ids: list[int]) -> None:
    withdraw(books, ids[:1], "a first reason")
    said = rf"{ids[0]}, acme/m .* was withdrawn already, on 2026-11-23 by bob@desk: a first reason\."
    with pytest.raises(RateCardError, match=said):
        withdraw(books, ids, "a second reason")
    assert lines(books)[ids[0]].withdrawn_why == "a first reason"
    assert lines(books)[ids[1]].withdrawn_at is None


def test_a_line_that_ends_gives_way_to_one_that_says_until_when(books: Books, ids: list[int]) -> None:
    before = edition(books)
    ended = end(books, ids[0], JUNE)
    held = lines(books)
    assert held[ids[0]].withdrawn_why == "the offer is over"
    assert replace(ended, id=ids[0], period=Period(MAY, None)) == held[ids[0]].rate
    assert (held[ended.id].rate.period, held[ended.id].loaded_by) == (Period(MAY, JUNE), "bob@desk")
    assert edition(books) > before


def test_to_the_microsecond_a_line_holds_until_it_ends(books: Books, ids: list[int]) -> None:
    ended = end(books, ids[0], JUNE)
    assert found(books, JUNE - timedelta(microseconds=1)) == ended
    assert found(books, JUNE) is None


@pytest.mark.parametrize("when", [MAY, MAY - timedelta(days=1)])
def test_a_line_cannot_end_before_it_begins(books: Books, ids: list[int], when: datetime) -> None:
    with pytest.raises(RateCardError, match=rf"accounting rates withdraw {ids[0]} --why"):
        end(books, ids[0], when)
    assert lines(books)[ids[0]].withdrawn_at is None


@pytest.mark.parametrize("when", [JUNE, JULY])
def test_a_line_that_has_an_end_cannot_be_given_a_later_one(books: Books, ids: list[int], when: datetime) -> None:
    ended = end(books, ids[0], JUNE)
    with pytest.raises(RateCardError, match="has an end that is no later"):
        end(books, ended.id, when)
    assert lines(books)[ended.id].withdrawn_at is None


def test_a_line_can_be_added_after_the_wrong_one_was_withdrawn(books: Books, ids: list[int]) -> None:
    wrong = lines(books)[ids[0]].rate
    right = replace(wrong, input_per_1k=Decimal("0.0015"))
    with pytest.raises(RateCardError, match="Two rates"):
        add(books, right)
    withdraw(books, ids[:1])
    added = add(books, right)
    assert added == replace(right, id=added.id)
    assert found(books, JUNE) == added


def test_what_is_there_already_is_not_added_and_can_be_named(books: Books, ids: list[int]) -> None:
    before = edition(books)
    held = lines(books)[ids[0]].rate
    with pytest.raises(RateCardError, match="in the books already, with these prices"):
        add(books, held)
    assert edition(books) == before
    with reading(books.engine) as conn:
        assert ratebook.same(conn, replace(held, id=0, source="another list")) == held
        assert ratebook.same(conn, replace(held, context_above=7)) is None


def test_of_two_that_withdraw_at_once_one_is_told_that_the_other_did(books: Books, ids: list[int]) -> None:
    with ThreadPoolExecutor() as pool:
        with writing(books.engine) as conn:
            ratebook.withdraw(conn, ids[:1], NOON, "ann@desk", "first")
            second = pool.submit(withdraw, books, ids[:1], "second")
            time.sleep(0.1)
        assert "withdrawn already" in str(second.exception())
    assert lines(books)[ids[0]].withdrawn_why == "first"


def test_of_two_that_add_contradicting_lines_at_once_one_is_refused(books: Books, ids: list[int]) -> None:
    new = replace(lines(books)[ids[0]].rate, period=Period(JUNE, None))
    with ThreadPoolExecutor() as pool:
        with writing(books.engine) as conn:
            ratebook.add(conn, new, NOON, "ann@desk")
            second = pool.submit(add, books, replace(new, input_per_1k=Decimal(1)))
            time.sleep(0.1)
        assert isinstance(second.exception(), RateCardError)
    assert len(lines(books)) == len(ids) + 1


def test_of_two_that_end_a_line_at_once_one_is_refused(books: Books, ids: list[int]) -> None:
    with ThreadPoolExecutor() as pool:
        ends = [pool.submit(end, books, ids[0], when) for when in (JUNE, JUNE + timedelta(days=1))]
        failed = [one.exception() for one in ends if one.exception() is not None]
    assert len(failed) == 1
    assert "withdrawn already" in str(failed[0])
    assert len([line for line in lines(books).values() if line.withdrawn_at is None]) == len(ids)


_instants = st.integers(1, 6).map(lambda month: datetime(2026, month, 1, tzinfo=UTC))
_some_lines = st.lists(
    st.builds(
        Rate,
        provider=st.just("acme"),
        model=st.sampled_from(["m", "m*", "*m", "m-1"]),
        currency=st.just("USD"),
        period=st.tuples(_instants, st.none() | _instants).filter(lambda p: p[1] is None or p[0] < p[1]).map(
            lambda p: Period(*p)
        ),
        service_tier=st.sampled_from(["", "batch", "*"]),
        context_above=st.sampled_from([0, 200]),
        hours=st.sampled_from([None, hours("mon-fri 09:00-17:00 UTC"), hours("12:00-18:00 UTC")]),
        input_per_1k=st.just(Decimal(1)),
        output_per_1k=st.integers(1, 3).map(Decimal),
    ),
    max_size=8,
)  # fmt: skip


def _kept(lines: list[Rate]) -> list[Rate]:
    """As many of the lines as don't contradict one another."""
    kept: list[Rate] = []
    for line in lines:
        try:
            kept = list(RateBook([*kept, line]))
        except RateCardError:
            continue
    return kept


@given(_some_lines, st.data())
def test_lines_that_agree_agree_without_some_of_them_and_with_ends(some: list[Rate], data: st.DataObject) -> None:
    kept = _kept(some)
    left = [rate for rate in kept if data.draw(st.booleans())]
    when = data.draw(_instants)
    ended = [
        replace(rate, period=Period(rate.valid_from, when))
        if rate.valid_from < when and (rate.period.end is None or when < rate.period.end)
        else rate
        for rate in left
    ]
    assert len(list(RateBook(left))) == len(left)
    assert len(list(RateBook(ended))) == len(left)
