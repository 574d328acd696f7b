"""Lines of the rate book that hold from the beginning of time, or to its end."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from accounting import ratebook
from accounting.cards import instant, parse_card
from accounting.errors import RateCardError
from accounting.rates import Rate
from accounting.rerating import price_arrivals
from accounting.store import reading, writing
from accounting.store.tables import calls, rates
from accounting.touched import touched
from tests.books import NOON, Books, made

ALWAYS, FOR_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def card(model: str, since: str = "2026-01-01", said: str = "") -> str:
    head = 'provider = "p"\ncurrency = "USD"\nsource = "list"\n[[rate]]\n'
    return f'{head}model = "{model}"\nvalid_from = {since}\ninput = 1\noutput = 2\n{said}\n'


@pytest.mark.parametrize("since", ["1970-01-01", "9998-12-31", "9998-12-31T23:59:59.999999Z"])
def test_a_line_may_begin_on_any_day_that_a_report_may_be_of(since: str) -> None:
    assert parse_card(card("m", since), "card.toml")[0].valid_from.isoformat().startswith(since[:10])


@pytest.mark.parametrize(
    "said", ["0001-01-01", "1969-12-31", "1970-01-01T00:00:00+08:00", "9999-01-01", "9999-12-31T23:59:59Z"]
)
def test_a_time_that_is_not_near_any_call_is_refused_and_what_to_write_is_told(said: str) -> None:
    expected = r"expected a time from 1970-01-01 to 9998-12-31 in UTC"
    with pytest.raises(RateCardError, match=rf"rate 1 \(m\): valid_from is .*; {expected}"):
        parse_card(card("m", said), "card.toml")
    with pytest.raises(RateCardError, match=rf"^--at is .*; {expected}"):
        instant(said, "--at")


def test_a_line_without_an_end_is_offered_to_whoever_gives_one_beyond_reason() -> None:
    with pytest.raises(RateCardError, match=r"valid_until is .*; expected .* To have the line hold on, leave it out"):
        parse_card(card("m", said="valid_until = 9999-12-31"), "card.toml")


@pytest.fixture
def unbounded(books: Books) -> Books:
    """Books that an older program loaded a line into which holds always, and one for a model after it."""
    books.load(card("a", said="valid_until = 2027-01-01"))
    books.load(card("b"))
    with writing(books.engine) as conn:
        values = {"valid_from": ALWAYS, "valid_until": FOR_EVER}
        conn.execute(sa.update(rates).where(rates.c.model == "a").values(values))
    return books


def lines(books: Books) -> dict[str, int]:
    return {row["model"]: row["id"] for row in books.rows(rates)}


def test_calls_are_priced_by_a_line_that_holds_always(unbounded: Books) -> None:
    unbounded.deliver(made(provider="p", request_model="a"))
    assert [row["rate_id"] for row in unbounded.rows(calls)] == [lines(unbounded)["a"]]


def test_unpriced_calls_get_their_rates_beside_a_line_that_holds_always(unbounded: Books) -> None:
    unbounded.deliver(*(made(number=number, provider="p", request_model=model) for number, model in enumerate("ab", 1)))
    with writing(unbounded.engine) as conn:
        conn.execute(sa.update(calls).values(rate_id=0))
    price_arrivals(unbounded.engine, lambda: NOON, "ann@desk")
    assert {row["model"]: row["rate_id"] for row in unbounded.rows(calls)} == {
        model: lines(unbounded)[model] for model in "ab"
    }


def test_which_calls_a_line_touches_that_holds_always_can_be_told(unbounded: Books) -> None:
    unbounded.deliver(made(provider="p", request_model="a"))
    unbounded.roll()
    (same,) = (rate for rate in _held(unbounded) if rate.model == "a")
    with reading(unbounded.engine) as conn:
        assert touched(conn, [same]).calls == 0
        assert touched(conn, parse_card(card("a", said="context_above = 100"), "card.toml")).calls == 1


def _held(books: Books) -> list[Rate]:
    with reading(books.engine) as conn:
        return ratebook.rates(conn)
