"""Rates as text: a card or a sheet that is read back as it was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import cards
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.hours import Hours
from accounting.money import EXACT
from accounting.periods import EARLIEST, LATEST, Period
from accounting.rates import CLASSES, REQUIRED, Rate
from accounting.ratesheets import COLUMNS, read_csv, write_csv
from tests.books import at

HEADINGS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
MODELS = HEADINGS.map(str.strip)
PRICES = st.integers(0, 10**17 - 1).map(lambda units: EXACT.scaleb(Decimal(units), -9))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)) | st.dates(EARLIEST, LATEST).map(  # noqa: DTZ001 - one zone for all
    lambda day: datetime(day.year, day.month, day.day)  # noqa: DTZ001
)
HOURS = st.builds(
    Hours,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 719),
    st.integers(720, 1440),
    st.sampled_from(["UTC", "Asia/Shanghai"]),
)


@st.composite
def rates(draw: st.DrawFn, heading: tuple[str, str, str] | None = None) -> Rate:
    provider, currency, source = heading or (draw(HEADINGS), draw(st.sampled_from(["CNY", "USD"])), draw(HEADINGS))
    start = draw(TIMES).replace(tzinfo=UTC)
    length = draw(st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=400)))
    prices = {each.column: draw(PRICES if each.name in REQUIRED else st.none() | PRICES) for each in CLASSES}
    return Rate(
        provider=provider,
        model=draw(MODELS),
        currency=currency,
        period=Period(start, start + length if length and start.year < 9000 else None),
        service_tier=draw(st.sampled_from(["", "*", "batch", "=flex"])),
        context_above=draw(st.integers(0, 10**6)),
        hours=draw(st.none() | HOURS),
        source=source,
        **prices,  # type: ignore[arg-type]
    )


@given(
    st.lists(
        rates(
            ("acme", "USD", 'the "list" of May'),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_card_that_was_written_is_read_as_it_was(lines: list[Rate]) -> None:
    text = cards.write(lines)
    again = parse_card(text, "card.toml")
    assert all(line in again for line in lines)
    assert len(again) == len(lines)
    assert cards.write(reversed(again)) == text


@given(st.lists(rates(), max_size=4))
def test_a_sheet_that_was_written_is_read_as_it_was(lines: list[Rate]) -> None:
    assert read_csv(write_csv(lines), "rates.csv") == lines


@given(st.lists(rates(), max_size=4))
def test_rates_of_other_headings_stand_on_other_cards(lines: list[Rate]) -> None:
    texts = [cards.write(card) for card in cards.by_heading(lines)]
    again = [rate for text in texts for rate in parse_card(text, "card.toml")]
    assert len(again) == len(lines)
    assert all(line in again for line in lines)


LINE = Rate(
    provider="acme",
    model="large",
    currency="USD",
    period=Period(at("2026-02-01"), at("2026-03-01 10:30")),
    service_tier="batch",
    context_above=200_000,
    input_per_1k=Decimal("0.0025"),
    output_per_1k=Decimal("12.00"),
    cache_read_per_1k=Decimal(0),
    source="list of May",
)


def test_a_card_is_written_as_a_person_would() -> None:
    assert (
        cards.write([LINE])
        == """provider = "acme"
currency = "USD"
source = "list of May"

[[rate]]
model = "large"
valid_from = 2026-02-01
valid_until = 2026-03-01T10:30:00Z
service_tier = "batch"
context_above = 200000
input = 0.0025
cache_read = 0
output = 12
"""
    )


def test_a_card_has_one_heading() -> None:
    other = replace(LINE, provider="other")
    with pytest.raises(RateCardError, match="these rates have 2 of them"):
        cards.write([LINE, other])


SHEET = "provider,model,currency,valid_from,input,output\n"


def test_columns_that_are_not_there_are_those_that_a_card_may_leave_out() -> None:
    [rate] = read_csv(SHEET + "acme,large,USD,2026-02-01,0.0025,1E-05\n", "prices.csv")
    assert (rate.service_tier, rate.period, rate.source) == ("", Period(at("2026-02-01"), None), "prices.csv")
    assert (rate.input_per_1k, rate.output_per_1k, rate.cache_read_per_1k) == (
        Decimal("0.0025"),
        Decimal("0.00001"),
        None,
    )


def test_a_sheet_as_spreadsheets_save_it_is_read() -> None:
    """With a byte order mark, blanks around cells, and empty lines at its end."""
    text = "\ufeff" + SHEET + ' acme , "large" ,USD,2026-02-01,1, 2\r\n,,,,,\r\n'.replace('"', "")
    assert [rate.model for rate in read_csv(text, "prices.csv")] == ["large"]


def test_no_text_of_a_sheet_is_run_as_a_formula() -> None:
    rate = replace(LINE, model="=cmd|' /c calc'!A0", source="@x")
    text = write_csv([rate])
    assert "\nacme,'=cmd" in text
    assert text.endswith(",'@x\r\n")
    assert read_csv(text, "rates.csv") == [rate]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHEET + "acme,large,USD,2026-02-01,1,2\nacme,x,USD,2026-02-01,cheap,2\n", r"line 3 \(x\): input: 'cheap'"),
        (SHEET + "acme,large,USD,2026-02-01,-1,2\n", r"line 2 \(large\): input is -1; a price can't be negative"),
        (SHEET + "acme,large,USD,2026-02-01,0.0000000001,2\n", r"line 2 \(large\): input is 0\.0000000001; expected"),
        (SHEET + "acme,large,USD,2026-02-01,1,\n", "line 2: output is empty"),
        (SHEET + "acme,large,usd,2026-02-01,1,2\n", "line 2: currency: 'usd' is no currency"),
        (SHEET + "acme,large,USD,01.02.2026,1,2\n", r"line 2 \(large\): valid_from: expected a date like 2026-02-01"),
        (SHEET + "acme,large,USD,2026-02-01T10:00,1,2\n", r"line 2 \(large\): valid_from is .*; add an offset"),
        (SHEET + 'acme,"la\nrge",USD,2026-02-01,1,2\nacme,x,USD,2026-02-01,1\n', "line 4: expected 6 cells.* found 5"),
        (SHEET + 'acme,"large"x,USD,2026-02-01,1,2\n', "line 2: this is no CSV"),
        (
            SHEET.replace("\n", ",context_above\n") + "a,b,USD,2026-02-01,1,2,200k\n",
            "line 2 .*context_above: .* found '200k'",
        ),
        (SHEET.replace("\n", ",hours\n") + "a,b,USD,2026-02-01,1,2,nights\n", "line 2 .*hours: 'nights' are no hours"),
        (SHEET.replace("\n", ",per\n"), "line 1: unknown column 'per'; .* prices are per 1000"),
        (SHEET.replace(",", ";"), "line 1: unknown column .* stand between commas"),
        (SHEET.replace("\n", ",input\n"), "line 1: column input is there twice"),
        (SHEET.replace(",output", ""), "line 1: column output is missing"),
        ("", "line 1: column provider, model, .* is missing"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_said_with_its_line_and_column(text: str, message: str) -> None:
    with pytest.raises(RateCardError, match=f"(?s)^prices.csv, {message}"):
        read_csv(text, "prices.csv")


def test_every_class_and_condition_has_a_column() -> None:
    assert {each.name for each in CLASSES} < set(COLUMNS)
    assert {"service_tier", "context_above", "hours", "valid_until", "source"} < set(COLUMNS)
