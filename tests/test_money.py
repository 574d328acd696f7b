from decimal import Context, Decimal, FloatOperation, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.currencies import CODES, MEANT
from accounting.errors import ConfigurationError, CurrencyMismatch
from accounting.money import EXACT, Money, by_currency, currency, exact, plain

AMOUNTS = st.decimals(-(10**15), 10**15, places=12, allow_nan=False, allow_infinity=False)


@given(st.lists(AMOUNTS, max_size=30))
def test_a_sum_is_right_to_the_last_digit(amounts: list[Decimal]) -> None:
    sums = by_currency(Money(amount, "CNY") for amount in amounts)
    assert Fraction(sums.get("CNY", Decimal(0))) == sum((Fraction(amount) for amount in amounts), Fraction(0))


@given(AMOUNTS)
def test_an_amount_survives_being_written_and_read(amount: Decimal) -> None:
    text = plain(amount)
    assert exact(text) == amount
    assert "E" not in text.upper()
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(("amount", "text"), [
    ("0.007515", "0.007515"), ("12.000", "12"), ("1E+3", "1000"), ("-0.00", "0"), ("1E-9", "0.000000001"),
])  # fmt: skip
def test_an_amount_is_written_in_full_without_padding(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text


@pytest.mark.parametrize("not_a_number", [
    0.011, True, None, "", "0.01.1", "NaN", "sNaN", "-Infinity", "1" * 61, "1e9999999", "1e-9999999", "0e-9999999",
    b"1", "１", "0.٣", "1\u00a0",
])  # fmt: skip
def test_only_a_finite_decimal_number_is_an_amount(not_a_number: object) -> None:
    with pytest.raises(ValueError, match=r"decimal number|finite"):
        exact(not_a_number)  # type: ignore[arg-type]


def test_two_currencies_never_meet_in_one_sum() -> None:
    with pytest.raises(CurrencyMismatch, match="2 USD to 1 CNY"):
        Money(Decimal(1), "CNY") + Money(Decimal(2), "USD")
    assert by_currency([Money(Decimal(2), "USD"), Money(Decimal(1), "CNY")]) == {"CNY": 1, "USD": 2}


def test_arithmetic_raises_where_it_would_round() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))
    with pytest.raises(FloatOperation):
        EXACT.create_decimal(0.1)


@given(AMOUNTS, AMOUNTS)
def test_the_caller_s_own_decimal_context_changes_nothing(left: Decimal, right: Decimal) -> None:
    with localcontext(Context(prec=3)):
        total = Money(left, "CNY") + Money(right, "CNY")
    assert Fraction(total.amount) == Fraction(left) + Fraction(right)


def test_a_currency_is_what_iso_4217_knows_today() -> None:
    assert [currency(code) for code in ("CNY", "USD", "EUR", "JPY", "XOF", "XCG", "ZWG")]
    assert len(CODES) == 155
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CODES)


@pytest.mark.parametrize("code", ["BGN", "HRK", "ANG", "XAU", "XTS", "XXX", "CLF", "XDR", "cny", " CNY", "yuan", "", 3])
def test_what_is_no_currency_is_refused(code: object) -> None:
    with pytest.raises(ConfigurationError, match="expected a code of ISO 4217"):
        currency(code)


@pytest.mark.parametrize(("wrong", "right"), [
    ("RMB", "CNY"), ("cny", "CNY"), (" USD ", "USD"), ("UDS", "USD"), ("USB", "USD"), ("HRK", "EUR"),
])  # fmt: skip
def test_of_a_wrong_currency_the_right_one_is_named(wrong: str, right: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"Did you mean {right}\?"):
        currency(wrong)


def test_what_is_meant_by_a_wrong_code_is_a_currency_and_the_code_is_none() -> None:
    assert CODES.issuperset(MEANT.values())
    assert CODES.isdisjoint(MEANT)
