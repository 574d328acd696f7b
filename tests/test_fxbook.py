"""Exchange rates in the books."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import fxbook
from accounting.errors import FxRateError
from accounting.fx import Conversion, Exchange, FxRate, FxRates, fx_rate
from accounting.fxbook import Loaded
from accounting.store import reading, writing
from accounting.store.tables import fx_rates
from tests.books import NOON, Books

DAY = date(2026, 11, 20)


def rate(pair: str, value: str, day: date = DAY, source: str = "bank") -> FxRate:
    base, quote = pair.split("/")
    return fx_rate(base, quote, day, value, source)


def load(books: Books, *rates: FxRate, dry_run: bool = False) -> Loaded:
    return fxbook.load(books.engine, rates, NOON, "ada@host", dry_run=dry_run)


def withdraw(books: Books, id_: int) -> FxRate:
    with writing(books.engine) as conn:
        return fxbook.withdraw(conn, id_, NOON, "ada@host", "typed wrong")


def exchange(books: Books, *currencies: str, into: str = "CNY", day: date = DAY) -> Exchange:
    with reading(books.engine) as conn:
        return fxbook.exchange(conn, currencies, into, day)


def conversion(books: Books, base: str, quote: str, day: date = DAY) -> Conversion:
    [found] = exchange(books, base, into=quote, day=day).conversions
    return found


def test_a_rate_comes_back_to_the_last_digit(books: Books) -> None:
    load(books, rate("USD/CNY", "7.10325000000001"), rate("EUR/USD", "0.000000001"))
    found = conversion(books, "USD", "CNY")
    assert (found.rate, found.day, found.source) == (Decimal("7.10325000000001"), DAY, "bank")
    assert conversion(books, "EUR", "USD").rate == Decimal("1E-9")


def test_a_rate_that_is_there_already_is_left_as_it_is(books: Books) -> None:
    assert load(books, rate("USD/CNY", "7.10"), rate("USD/CNY", "7.1")) == Loaded(added=1, unchanged=0)
    again = rate("USD/CNY", "7.100", source="another"), rate("USD/CNY", "7.2", DAY - timedelta(days=1))
    assert load(books, *again) == Loaded(added=1, unchanged=1)
    assert [row["source"] for row in books.rows(fx_rates)] == ["bank", "bank"]


def test_a_rate_that_contradicts_another_is_refused_with_both_named(books: Books) -> None:
    load(books, rate("USD/CNY", "7.1"))
    with pytest.raises(FxRateError) as refused:
        load(books, rate("EUR/CNY", "8"), rate("USD/CNY", "7.2", source="treasury"))
    assert "1 USD = 7.1 CNY of 2026-11-20 (in the books as 1, source: bank)" in str(refused.value)
    assert "1 USD = 7.2 CNY of 2026-11-20 (source: treasury)" in str(refused.value)
    assert "accounting fx withdraw 1" in str(refused.value)
    with pytest.raises(FxRateError, match="Two rates of one day"):
        load(books, rate("EUR/CNY", "8"), rate("EUR/CNY", "9"))
    assert len(books.rows(fx_rates)) == 1


def test_the_opposite_pair_may_have_a_rate_of_its_own(books: Books) -> None:
    assert load(books, rate("USD/CNY", "7.1"), rate("CNY/USD", "0.14")).added == 2
    assert conversion(books, "CNY", "USD").rate == Decimal("0.14")


def test_a_rate_of_a_day_to_come_is_refused(books: Books) -> None:
    tomorrow = NOON.date() + timedelta(days=1)  # it has begun in the east
    assert load(books, rate("USD/CNY", "7.1", tomorrow)).added == 1
    with pytest.raises(FxRateError, match="a day to come"):
        load(books, rate("USD/CNY", "7.1", tomorrow + timedelta(days=1)))


def test_a_dry_run_says_what_it_would_do_and_does_nothing(books: Books) -> None:
    assert load(books, rate("USD/CNY", "7.1"), dry_run=True) == Loaded(added=1, unchanged=0)
    assert books.rows(fx_rates) == []
    load(books, rate("USD/CNY", "7.1"))
    with pytest.raises(FxRateError, match="Two rates"):
        load(books, rate("USD/CNY", "7.2"), dry_run=True)


def test_a_long_history_is_loaded_in_portions_and_loading_it_again_does_nothing(books: Books) -> None:
    days = [DAY - timedelta(days=number) for number in range(1500)]
    rates = [rate(pair, str(number + 1), day) for number, day in enumerate(days) for pair in ("EUR/USD", "EUR/CNY")]
    assert load(books, *rates) == Loaded(added=3000, unchanged=0)
    assert load(books, *rates) == Loaded(added=0, unchanged=3000)
    last = rate("EUR/USD", "1400", days[-1])
    with pytest.raises(FxRateError, match="1 EUR = 1500 USD of"):
        load(books, *rates[:-2], last, rate("GBP/USD", "1"))
    assert len(books.rows(fx_rates)) == 3000


def test_of_a_long_history_the_portions_before_a_contradiction_that_came_in_meanwhile_stay(books: Books) -> None:
    days = [DAY - timedelta(days=number) for number in reversed(range(1500))]
    rates = [rate(pair, "2", day) for day in days for pair in ("EUR/USD", "EUR/CNY")]
    meanwhile = rate("EUR/USD", "3", DAY)
    with pytest.raises(FxRateError, match="Two rates of one day"):
        fxbook.load(books.engine, rates, NOON, "ada@host", progress=lambda done, _: load(books, meanwhile))
    assert {row["day"] for row in books.rows(fx_rates)} == {*days[:1000], DAY}


@pytest.mark.parametrize("other", ["7.1", "7.2"])
def test_of_two_that_load_at_once_the_second_knows_the_rates_of_the_first(books: Books, other: str) -> None:
    row = {"base": "USD", "quote": "CNY", "day": DAY, "source": "bank", "loaded_at": NOON, "loaded_by": "bob@host"}
    with ThreadPoolExecutor() as pool:
        with writing(books.engine) as conn:
            conn.execute(fx_rates.insert().values(row | {"rate": Decimal("7.1")}))
            second = pool.submit(load, books, rate("USD/CNY", other))
            time.sleep(0.1)
        if other == "7.1":
            assert second.exception() is None
        else:
            assert isinstance(second.exception(), FxRateError)
    assert [row["rate"] for row in books.rows(fx_rates)] == [Decimal("7.1")]


def test_a_withdrawn_rate_counts_no_more_but_stays_with_who_and_why(books: Books) -> None:
    load(books, rate("USD/CNY", "71"), rate("USD/CNY", "7", DAY - timedelta(days=1)))
    assert withdraw(books, 2) == FxRate("USD", "CNY", DAY, Decimal(71), "bank", 2)
    assert conversion(books, "USD", "CNY").rate == 7
    assert load(books, rate("USD/CNY", "7.1")).added == 1
    assert conversion(books, "USD", "CNY").rate == Decimal("7.1")
    with reading(books.engine) as conn:
        entries = fxbook.entries(conn, "CNY", "USD", DAY, 10)
    assert [(entry.rate.rate, entry.withdrawn_by, entry.withdrawn_why) for entry in entries] == [
        (Decimal("7.1"), None, None),
        (Decimal(71), "ada@host", "typed wrong"),
        (Decimal(7), None, None),
    ]
    assert (entries[1].loaded_at, entries[1].loaded_by, entries[1].withdrawn_at) == (NOON, "ada@host", NOON)


def test_what_is_not_there_or_withdrawn_cannot_be_withdrawn(books: Books) -> None:
    load(books, rate("USD/CNY", "7.1"))
    withdraw(books, 1)
    with pytest.raises(FxRateError, match="was withdrawn already"):
        withdraw(books, 1)
    with pytest.raises(FxRateError, match="no exchange rate 9"):
        withdraw(books, 9)


def test_every_currency_without_a_rate_is_named(books: Books) -> None:
    load(books, rate("EUR/CNY", "8"), rate("USD/CNY", "7", DAY + timedelta(days=1)))
    found = exchange(books, "CNY", "EUR", "JPY", "USD")
    assert ([one.base for one in found.conversions], found.missing) == (["EUR"], ("JPY", "USD"))


def test_an_old_rate_holds_and_says_how_old_it_is(books: Books) -> None:
    load(books, rate("EUR/CNY", "8", DAY - timedelta(days=400)), rate("EUR/USD", "1", DAY - timedelta(days=3)))
    found = conversion(books, "USD", "CNY")
    assert (found.rate, found.age_days) == (Decimal(8), 400)


def test_pairs_are_listed_with_their_latest_rate(books: Books) -> None:
    first = DAY - timedelta(days=3)
    load(books, rate("USD/CNY", "7", first), rate("USD/CNY", "7.1"), rate("EUR/CNY", "8", first))
    load(books, rate("USD/CNY", "9", DAY + timedelta(days=1)))
    withdraw(books, 4)
    with reading(books.engine) as conn:
        found = [(pair.latest.pair, pair.latest.rate, pair.count, pair.first) for pair in fxbook.pairs(conn)]
    assert found == [("EUR/CNY", Decimal(8), 1, first), ("USD/CNY", Decimal("7.1"), 2, first)]


def test_what_is_all_in_one_currency_asks_the_books_for_no_rate(books: Books) -> None:
    with books.asked() as asked:
        exchange(books, "CNY")
    assert not [one for one in asked if "fx_rates" in one[0]]


def test_of_a_long_history_the_last_of_each_pair_are_read(books: Books) -> None:
    days = [DAY - timedelta(days=number) for number in range(300)]
    load(books, *(rate(pair, "7", day) for day in days for pair in ("EUR/CNY", "EUR/USD", "GBP/JPY")))
    with reading(books.engine) as conn:
        assert len(fxbook.latest(conn, {"USD", "CNY"}, DAY)) == 2


RATES = st.lists(
    st.builds(
        lambda pair, value, days: rate(pair, str(value), DAY - timedelta(days=days)),
        st.sampled_from(["USD/CNY", "CNY/USD", "EUR/USD", "EUR/CNY", "JPY/EUR"]),
        st.decimals("0.0001", 10000, places=4),
        st.integers(0, 20),
    ),
    unique_by=lambda one: (one.pair, one.day),
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RATES, st.integers(-1, 25))
def test_the_books_find_what_the_same_rates_find_outside_them(books: Books, rates: list[FxRate], days: int) -> None:
    with writing(books.engine) as conn:
        conn.execute(fx_rates.delete())
    load(books, *rates)
    day = DAY - timedelta(days=days)
    for base in ("USD", "EUR", "JPY"):
        expected = FxRates(day, rates).find(base, "CNY")
        found = exchange(books, base, day=day)
        assert found.missing == ((base,) if expected is None else ())
        assert [(one.rate, one.day, one.derived) for one in found.conversions] == (
            [(expected.rate, expected.day, expected.derived)] if expected else []
        )
