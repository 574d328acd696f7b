"""Exchange rates in files."""

from datetime import date
from decimal import Decimal

import pytest

from accounting.errors import FxRateError
from accounting.fx import FxRate
from accounting.fxsheets import ECB, read

DAY = date(2026, 11, 20)


def rates(text: str, name: str = "rates.csv", source: str = "") -> list[FxRate]:
    return list(read(text, name, source).rates)


def test_csv_has_a_line_for_each_rate() -> None:
    assert rates("date,base,quote,rate,source\n2026-11-20,USD,CNY,7.1032,PBC\n\n2026-11-20,EUR,USD,1.15,\n") == [
        FxRate("USD", "CNY", DAY, Decimal("7.1032"), "PBC"),
        FxRate("EUR", "USD", DAY, Decimal("1.15"), "rates.csv"),
    ]


def test_columns_come_in_any_order_and_a_source_may_be_given_for_all() -> None:
    text = 'Quote, Rate, Base, Date\nCNY, "7.1", USD, 2026-11-20\n'
    assert rates(text, source="treasury") == [FxRate("USD", "CNY", DAY, Decimal("7.1"), "treasury")]


def test_the_ecb_s_history_says_what_one_euro_is() -> None:
    sheet = read("Date,USD,JPY,HRK,CNY,\n2026-11-20,1.1541,N/A,7.5,8.2011,\n2026-11-19,1.15,178.31,N/A,,\n", "hist.csv")
    assert sheet.rates == (
        FxRate("EUR", "USD", DAY, Decimal("1.1541"), ECB),
        FxRate("EUR", "CNY", DAY, Decimal("8.2011"), ECB),
        FxRate("EUR", "USD", date(2026, 11, 19), Decimal("1.15"), ECB),
        FxRate("EUR", "JPY", date(2026, 11, 19), Decimal("178.31"), ECB),
    )
    assert sheet.left_out == ("HRK",)


def test_the_ecb_s_daily_file_spells_the_month_out() -> None:
    assert rates("Date, USD, JPY, \n20 November 2026, 1.1541, 178.31, \n")[0] == (
        FxRate("EUR", "USD", DAY, Decimal("1.1541"), ECB)
    )


def test_toml_has_the_same_names() -> None:
    text = """
        source = "our treasury"
        [[fx]]
        date = 2026-11-20
        base = "USD"
        quote = "CNY"
        rate = 7.10000000000001
        [[fx]]
        date = "2026-11-20"
        base = "EUR"
        quote = "CNY"
        rate = 8
        source = "ECB"
    """
    assert rates(text, "fx.toml") == [
        FxRate("USD", "CNY", DAY, Decimal("7.10000000000001"), "our treasury"),
        FxRate("EUR", "CNY", DAY, Decimal(8), "ECB"),
    ]


@pytest.mark.parametrize(("text", "said"), [
    ("", "no column date, base, quote, rate among none"),
    ("date;base;quote;rate\n", "no column"),
    ("date,base,quote,rate\n", "holds no rate"),
    ("date,base,quote,rate,bank\n2026-11-20,USD,CNY,7.1,x\n", "unknown bank"),
    ("date,base,quote,rate\n2026-11-20,USD,CNY,7,1\n", "line 2: expected 4 cells, found 5"),
    ("date,base,quote,rate\n2026-11-20,USD,CNY\n", "line 2: expected 4 cells, found 3"),
    ("date,base,quote,rate\n2026-11-20,USD,CNY,\n", "line 2: rate is missing"),
    ("date,base,quote,rate\n2026-11-20,USD,RMB,7.1\n", "line 2: 'RMB' is no currency.*CNY"),
    ("date,base,quote,rate\n2026-11-20,USD,CNY,N/A\n", "line 2: USD/CNY of 2026-11-20: 'N/A' is not a decimal"),
    ("date,base,quote,rate\n20.11.2026,USD,CNY,7.1\n", "line 2: expected a date like 2026-11-20, found '20.11.2026'"),
    ("date,base,quote,rate\n2026-02-30,USD,CNY,7.1\n", "line 2: expected a date"),
    ("Date,USD\n2026-11-20,-1\n", "line 2: EUR/USD of 2026-11-20: expected a rate from 0.000000001"),
    ("Date,HRK\n2026-11-20,7.5\n", "none of HRK is a currency"),
    ("Date,EUR,USD\n2026-11-20,1,1.1\n", "line 2: EUR/EUR is no pair"),
])  # fmt: skip
def test_csv_that_is_no_rates_says_where_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(FxRateError, match=f"rates.csv.*{said}"):
        rates(text)


@pytest.mark.parametrize(("text", "said"), [
    ("fx = 1", "at least one"),
    ("", "at least one"),
    ("[[fx]]\nday = 2026-11-20", "unknown day"),
    ("[[fx]]\nbase = 'USD'\nquote = 'CNY'\nrate = 7", "date is missing"),
    ("[[fx]]\ndate = 2026-11-20T12:00:00Z\nbase = 'USD'\nquote = 'CNY'\nrate = 7", "expected a date"),
    ("[[fx]]\ndate = 2026-11-20\nbase = 'USD'\nquote = 'CNY'\nrate = true", "bool"),
    ("[[fx]]\ndate = 2026-11-20\nbase = 'USD'\nquote = 'CNY'\nrate = inf", "finite"),
    ("[[fx]]\ndate = 2026-11-20\nbase = 'USD'\nquote = 'CNY'\nrate = 7\nsource = 3", "expected source"),
    ("[[fx", "no TOML"),
])  # fmt: skip
def test_toml_that_is_no_rates_says_where_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(FxRateError, match=rf"fx\.toml.*{said}"):
        rates(text, "fx.toml")
