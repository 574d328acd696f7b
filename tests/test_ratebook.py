"""Rates in the books."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from accounting import ratebook
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.ratebook import Loaded
from accounting.rates import Rate
from accounting.store import reading, writing
from accounting.store.tables import rates
from tests.books import NOON, Books

HEAD = 'provider = "acme"\ncurrency = "USD"\nsource = "list of May"\n'
MAY = '[[rate]]\nmodel = "m"\nvalid_from = 2026-05-01\ninput = 0.001\noutput = 0.002\nreasoning = 0\n'
JUNE = '[[rate]]\nmodel = "m"\nvalid_from = 2026-06-01\ninput = 0.000000001\noutput = 3\n'


def load(books: Books, card: str) -> Loaded:
    with writing(books.engine) as conn:
        return ratebook.load(conn, parse_card(card, "card.toml"), NOON)


def held(books: Books) -> list[Rate]:
    with reading(books.engine) as conn:
        return [rate for rate in ratebook.rates(conn) if rate.provider == "acme"]


def test_lines_come_back_as_they_were_written(books: Books) -> None:
    assert load(books, HEAD + MAY + JUNE) == Loaded(added=2, unchanged=0)
    may, june = held(books)
    assert (may.input_per_1k, may.output_per_1k, may.reasoning_per_1k) == (
        Decimal("0.001"),
        Decimal("0.002"),
        Decimal(0),
    )
    assert (june.input_per_1k, june.cache_read_per_1k, june.source) == (Decimal("0.000000001"), None, "list of May")
    assert 0 < may.id < june.id


def test_a_card_can_be_loaded_again_with_lines_appended(books: Books) -> None:
    load(books, HEAD + MAY)
    assert load(books, HEAD.replace("May", "June") + MAY + JUNE) == Loaded(added=1, unchanged=1)
    assert [rate.source for rate in held(books)] == ["list of May", "list of June"]


@pytest.mark.parametrize("in_the_other", [MAY, MAY.replace("0.001", "5")])
def test_of_two_that_load_at_once_the_second_knows_the_lines_of_the_first(books: Books, in_the_other: str) -> None:
    with ThreadPoolExecutor() as pool:
        with writing(books.engine) as conn:
            ratebook.load(conn, parse_card(HEAD + MAY, "card.toml"), NOON)
            second = pool.submit(load, books, HEAD + in_the_other)
            time.sleep(0.1)
        if in_the_other == MAY:
            assert second.result() == Loaded(added=0, unchanged=1)
        else:
            assert isinstance(second.exception(), RateCardError)
    assert len(held(books)) == 1


def test_a_line_twice_in_a_card_is_one(books: Books) -> None:
    assert load(books, HEAD + MAY + MAY) == Loaded(added=1, unchanged=1)


def test_a_card_with_a_line_that_contradicts_the_books_adds_nothing(books: Books) -> None:
    load(books, HEAD + MAY)
    with pytest.raises(RateCardError, match="Two rates"):
        load(books, HEAD + JUNE + MAY.replace("0.002", "0.003"))
    assert len(held(books)) == 1


def test_a_pattern_that_contradicts_one_in_the_books_adds_nothing(books: Books) -> None:
    load(books, HEAD + MAY.replace('"m"', '"m*"'))
    with pytest.raises(RateCardError, match="nothing to choose between them"):
        load(books, HEAD + MAY.replace('"m"', '"*m"'))
    assert len(held(books)) == 1


def test_a_line_is_loaded_without_a_look_at_other_providers_lines(books: Books) -> None:
    """There may be thousands, and no call comes in meanwhile: so one that can't be read is not in its way."""
    load(books, (HEAD + MAY).replace("acme", "beta"))
    with writing(books.engine) as conn:
        conn.execute(sa.update(rates).where(rates.c.provider == "beta").values(hours="never"))
    assert load(books, HEAD + MAY) == Loaded(added=1, unchanged=0)


@pytest.mark.parametrize("few", [1, 500])
def test_many_lines_are_held_against_those_of_their_providers(
    books: Books, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(ratebook, "_FEW", few)
    card = HEAD + MAY + MAY.replace('"m"', '"n"')
    assert [load(books, card).added for _ in range(2)] == [2, 0]
    with pytest.raises(RateCardError, match="Two rates for acme/m"):
        load(books, card.replace("0.001", "5"))


def test_a_withdrawn_line_prices_nothing_more_but_keeps_its_name(books: Books) -> None:
    load(books, HEAD + MAY)
    with writing(books.engine) as conn:
        conn.execute(rates.update().where(rates.c.provider == "acme").values(withdrawn_at=NOON))
    with reading(books.engine) as conn:
        assert ratebook.book(conn).find("acme", "m", NOON) is None
    assert len(held(books)) == 1
    load(books, HEAD + MAY.replace("0.002", "0.003"))
    with reading(books.engine) as conn:
        found = ratebook.book(conn).find("acme", "m", NOON + timedelta(days=1))
    assert found is not None
    assert found.output_per_1k == Decimal("0.003")


def test_the_seed_provider_ships(books: Books) -> None:
    with reading(books.engine) as conn:
        rate = ratebook.book(conn).find("wcode", "z-ai/glm-5", NOON)
    assert rate is not None
    assert (rate.input_per_1k, rate.output_per_1k, rate.currency) == (Decimal("0.011"), Decimal("0.035"), "CNY")
