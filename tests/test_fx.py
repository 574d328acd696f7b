"""Exchange rates: which holds, what is made of others, and what money comes to."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.errors import ConfigurationError, FxRateError
from accounting.fx import Conversion, Exchange, FxRate, FxRates, fx_rate, to_convert
from accounting.money import Money, by_currency, plain

DAY = date(2026, 11, 20)
CODES = ("CNY", "EUR", "GBP", "JPY", "USD")

RATES = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent - len(str(digits))),
    st.integers(1, 10**12),
    st.integers(-3, 6),
)
AMOUNTS = st.decimals(0, 10**12, places=12, allow_nan=False, allow_infinity=False)
SPENT = st.dictionaries(st.sampled_from(CODES), AMOUNTS)


def rate(pair: str, value: str | Decimal, day: date = DAY, source: str = "bank") -> FxRate:
    base, quote = pair.split("/")
    return fx_rate(base, quote, day, value, source)


def found(base: str, quote: str, *rates: FxRate, day: date = DAY) -> Conversion | None:
    return FxRates(day, rates).find(base, quote)


def half_a_unit(number: Decimal) -> Fraction:
    """Of the 12th significant digit."""
    return Fraction(10) ** (number.adjusted() - 11) / 2


def test_a_pair_s_own_rate_is_taken_as_it_is() -> None:
    own = rate("USD/CNY", "7.10325")
    assert found("USD", "CNY", own, rate("CNY/USD", "0.15")) == Conversion(
        "USD", "CNY", Decimal("7.10325"), (own,), DAY
    )


def test_without_a_rate_of_the_pair_the_opposite_is_inverted_and_rounded_to_twelve_digits() -> None:
    opposite = rate("CNY/USD", "0.14")
    inverse = found("USD", "CNY", opposite)
    assert inverse == Conversion("USD", "CNY", Decimal("7.14285714286"), (opposite,), DAY)
    assert inverse.derived
    assert str(inverse) == "1 USD = 7.14285714286 CNY from 1 CNY = 0.14 USD of 2026-11-20, source: bank"


def test_two_rates_lead_there_by_a_third_currency() -> None:
    dollars, yuan = rate("EUR/USD", "1.1541", source="ECB"), rate("EUR/CNY", "8.2011", source="ECB")
    made = found("USD", "CNY", dollars, yuan)
    assert made == Conversion("USD", "CNY", Decimal("7.10605666753"), (dollars, yuan), DAY)
    assert str(made) == (
        "1 USD = 7.10605666753 CNY from 1 EUR = 1.1541 USD of 2026-11-20 and 1 EUR = 8.2011 CNY of 2026-11-20, "
        "source: ECB"
    )


def test_two_rates_that_need_no_division_are_multiplied() -> None:
    made = found("USD", "JPY", rate("USD/CNY", "7.1"), rate("CNY/JPY", "20"))
    assert made is not None
    assert (made.rate, made.derived) == (Decimal(142), True)


def test_no_more_than_one_currency_lies_between() -> None:
    assert found("USD", "JPY", rate("USD/EUR", "1"), rate("EUR/GBP", "1"), rate("GBP/JPY", "1")) is None


def test_of_several_ways_the_one_with_the_newest_rates_is_taken_then_that_of_the_first_code() -> None:
    by_pound = [rate("GBP/USD", "1"), rate("GBP/CNY", "2")]
    by_euro = [rate("EUR/USD", "1"), rate("EUR/CNY", "3")]
    stale = [rate("EUR/USD", "1"), rate("EUR/CNY", "3", DAY - timedelta(days=1))]
    for rates, expected in ((by_euro + by_pound, 3), (by_pound + by_euro, 3), (stale + by_pound, 2)):
        made = found("USD", "CNY", *rates)
        assert made is not None
        assert made.rate == expected


def test_a_rate_made_of_two_is_as_old_as_the_older() -> None:
    made = found("USD", "CNY", rate("EUR/USD", "1"), rate("EUR/CNY", "8", DAY - timedelta(days=2), "treasury"))
    assert made is not None
    assert (made.day, made.source) == (DAY - timedelta(days=2), "bank, treasury")


@given(st.sets(st.integers(-400, 400), min_size=1), st.integers(-400, 400))
def test_a_rate_holds_from_its_day_until_the_next_one(days: set[int], asked: int) -> None:
    rates = [rate("USD/CNY", str(500 + day), DAY + timedelta(days=day)) for day in sorted(days, reverse=True)]
    made = found("USD", "CNY", *rates, day=DAY + timedelta(days=asked))
    expected = max((day for day in days if day <= asked), default=None)
    assert (made and made.day) == (None if expected is None else DAY + timedelta(days=expected))
    assert (made and made.age_days) == (None if expected is None else asked - expected)


def test_a_rate_says_how_old_it_is() -> None:
    old = rate("USD/CNY", "7.1")
    for days, said in ((0, ""), (1, " (1 day before 2026-11-21)"), (1200, " (1,200 days before 2030-03-04)")):
        made = found("USD", "CNY", old, day=DAY + timedelta(days=days))
        assert str(made) == f"1 USD = 7.1 CNY, of 2026-11-20{said}, source: bank"


@pytest.mark.parametrize(("own", "opposite", "by_euro", "expected"), [
    (0, 0, 0, "7"), (1, 0, 0, "8"), (1, 1, 0, "9"), (1, 2, 1, "7"), (0, 5, 5, "7"), (9, 3, 4, "8"),
])  # fmt: skip
def test_the_newest_way_is_taken_and_of_one_day_the_straightest(
    own: int, opposite: int, by_euro: int, expected: str
) -> None:
    """So many days old is each; 7 is the pair's own, 8 the inverse of the opposite, 9 by the euro."""
    ages = {"USD/CNY": ("7", own), "CNY/USD": ("0.125", opposite), "EUR/USD": ("1", by_euro), "EUR/CNY": ("9", by_euro)}
    made = found("USD", "CNY", *(rate(pair, value, DAY - timedelta(days=age)) for pair, (value, age) in ages.items()))
    assert made is not None
    assert made.rate == Decimal(expected)


@given(RATES)
def test_an_inverse_is_within_half_a_unit_of_its_twelfth_digit(value: Decimal) -> None:
    inverse = found("USD", "CNY", rate("CNY/USD", value))
    assert inverse is not None
    assert abs(Fraction(inverse.rate) - 1 / Fraction(value)) <= half_a_unit(inverse.rate)


@given(RATES, RATES, st.booleans(), st.booleans())
def test_a_rate_by_a_third_currency_is_rounded_once(one: Decimal, two: Decimal, turned: bool, also: bool) -> None:
    first = rate("EUR/USD", one) if turned else rate("USD/EUR", one)
    second = rate("CNY/EUR", two) if also else rate("EUR/CNY", two)
    made = found("USD", "CNY", first, second)
    assert made is not None
    whole = (1 / Fraction(one) if turned else Fraction(one)) * (1 / Fraction(two) if also else Fraction(two))
    assert abs(Fraction(made.rate) - whole) <= half_a_unit(made.rate)
    assert len(made.rate.as_tuple().digits) <= 12


@given(RATES, AMOUNTS.filter(bool))
def test_there_and_back_is_the_same_to_eleven_digits(value: Decimal, amount: Decimal) -> None:
    """The rate back is within half of its 12th digit, which is at most 5 of 10^12 of it."""
    own = rate("USD/CNY", value)
    there, back = found("USD", "CNY", own), found("CNY", "USD", own)
    assert there
    assert back
    yuan = Exchange("CNY", DAY, (there,)).total({"USD": amount})
    assert yuan is not None
    again = Exchange("USD", DAY, (back,)).total({"CNY": yuan})
    assert again is not None
    assert abs(Fraction(again) / Fraction(amount) - 1) <= Fraction(5, 10**12)


@pytest.mark.parametrize("value", ["8E-10", "1000000001", "0", "-7.1", "7.1234567890123456", "7,1", "NaN", "", "x"])
def test_a_rate_is_positive_and_spelt_by_somebody(value: str) -> None:
    with pytest.raises(FxRateError, match="USD/CNY of 2026-11-20"):
        rate("USD/CNY", value)


def test_a_float_is_no_rate() -> None:
    with pytest.raises(FxRateError, match="float"):
        fx_rate("USD", "CNY", DAY, 7.1, "bank")  # type: ignore[arg-type]


def test_a_rate_is_of_two_currencies_and_of_a_day_of_our_time() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean CNY"):
        rate("USD/RMB", "7.1")
    with pytest.raises(FxRateError, match="two currencies"):
        rate("USD/USD", "1")
    with pytest.raises(FxRateError, match="found 0202"):
        rate("USD/CNY", "7", date(202, 11, 20))


def exchange(rates: dict[str, Decimal], into: str = "CNY") -> Exchange:
    made = (rate(f"{code}/{into}", value) for code, value in rates.items())
    return Exchange(into, DAY, tuple(Conversion(one.base, one.quote, one.rate, (one,), DAY) for one in made))


@given(SPENT, st.tuples(RATES, RATES, RATES, RATES))
def test_what_is_converted_is_exact(spent: dict[str, Decimal], values: tuple[Decimal, ...]) -> None:
    rates = dict(zip(("EUR", "GBP", "JPY", "USD"), values, strict=True))
    with localcontext(Context(prec=3)):  # the caller's own changes nothing
        total = exchange(rates).total(spent)
    expected = sum((Fraction(amount) * Fraction(rates.get(code, 1)) for code, amount in spent.items()), Fraction(0))
    assert (None if total is None else Fraction(total)) == (expected if spent else None)


@given(st.lists(SPENT), st.tuples(RATES, RATES, RATES, RATES))
def test_converting_a_sum_is_summing_what_was_converted(
    parts: list[dict[str, Decimal]], values: tuple[Decimal, ...]
) -> None:
    into_one = exchange(dict(zip(("EUR", "GBP", "JPY", "USD"), values, strict=True)))
    together = by_currency(Money(amount, code) for part in parts for code, amount in part.items())
    each = sum((Fraction(into_one.total(part) or 0) for part in parts), Fraction(0))
    assert Fraction(into_one.total(together) or 0) == each


@given(st.lists(AMOUNTS, min_size=1), RATES)
def test_who_rounds_lines_is_off_their_rounded_total_by_half_a_fen_a_line_at_most(
    lines: list[Decimal], value: Decimal
) -> None:
    """Here neither is rounded, so that both are the same."""
    into_one = exchange({"USD": value})
    converted = [into_one.total({"USD": line}) or Decimal(0) for line in lines]
    total = into_one.total(by_currency(Money(line, "USD") for line in lines)) or Decimal(0)
    assert sum(map(Fraction, converted)) == Fraction(total)
    assert abs(sum(map(fen, converted)) - fen(total)) <= Fraction(len(lines) + 1, 200)


def fen(amount: Decimal) -> Fraction:
    return Fraction(round(Fraction(amount) * 100), 100)


def test_money_without_a_rate_stays_what_it_is_and_is_named() -> None:
    spent = {"CNY": Decimal(1), "EUR": Decimal(0), "USD": Decimal("0.01")}
    without = replace(exchange({}), missing=("EUR", "USD"))
    assert (without.total(spent), without.left(spent)) == (Decimal(1), {"USD": Decimal("0.01")})
    assert without.total({"USD": Decimal("0.01")}) is None
    assert without.total({"USD": Decimal(0)}) == 0


@given(SPENT, st.sets(st.sampled_from(CODES[1:])), st.tuples(RATES, RATES, RATES, RATES))
def test_every_amount_is_either_converted_or_left(
    spent: dict[str, Decimal], missing: set[str], values: tuple[Decimal, ...]
) -> None:
    rates = dict(zip(CODES[1:], values, strict=True))
    some = exchange({code: value for code, value in rates.items() if code not in missing})
    part = replace(some, missing=tuple(sorted(missing)))
    left = part.left(spent)
    assert left == {code: amount for code, amount in spent.items() if code in missing and amount}
    rest = {code: amount for code, amount in spent.items() if code not in left}
    assert part.total(spent) == exchange(rates).total(rest)


def test_money_of_a_currency_that_was_not_asked_for_is_never_left_out_of_a_sum() -> None:
    with pytest.raises(FxRateError, match="No rate from USD to CNY"):
        exchange({}).total({"CNY": Decimal(1), "USD": Decimal("0.01")})


def test_no_money_needs_no_rate_and_nothing_priced_is_not_nothing_spent() -> None:
    assert exchange({}).total({"CNY": Decimal(1), "USD": Decimal(0)}) == 1
    assert exchange({}).total({}) is None
    assert to_convert({"CNY": Decimal(1), "USD": Decimal(0)}, {"EUR": Decimal(2)}) == ["CNY", "EUR"]


def test_a_rate_reads_as_it_was_written() -> None:
    assert str(rate("USD/CNY", "7.1000")) == "1 USD = 7.1 CNY of 2026-11-20"
    assert plain(rate("USD/CNY", "7E+1").rate) == "70"
