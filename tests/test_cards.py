"""Rate cards, however they are written."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.hours import hours
from accounting.rates import ANY_TIER, CLASSES, STANDARD, Rate
from accounting.resolution import RateBook

HEAD = {"provider": '"p"', "currency": '"USD"', "source": '"list"'}
LINE = {"model": '"m"', "valid_from": "2026-03-01", "input": "1", "output": "2"}
FIELDS = (*LINE, "valid_until", "service_tier", "context_above", "hours", *(each.name for each in CLASSES))

ANYTHING = st.sampled_from((
    '""', '" "', '"m\\u0000"', '" m"', "0", "-1", "1.5", "-0.1", "1e400", "1e-400", "nan", "-inf", "true", "[]", "[1]",
    "{}", '"batch"', '"*"', "2026-03-01", "2026-03-01T00:00:00", "2026-03-01T00:00:00Z", "9999-12-31T23:59:59-12:00",
    "10:00:00", '"2026-03-01"', "9223372036854775808", '"mon-fri 00:30-08:30 Asia/Shanghai"', '"00:00-25:00 UTC"',
    '"00:00-08:00 Mars"', '"mon-xyz 00:00-08:00 UTC"', "'''\n'''", "[[1, 2], [3]]", '"0.1"', "1_000", "0x10",
)) | st.integers(-(10**30), 10**30).map(str) | st.decimals().map(str)  # fmt: skip


def card(head: dict[str, str], *lines: dict[str, str]) -> str:
    tables = ("\n".join(f"{name} = {value}" for name, value in table.items()) for table in (head, *lines))
    return "\n[[rate]]\n".join(tables)


@given(st.text(max_size=60))
@example("a = " + "[" * 100_000)
@example("rate = [[[]]]")
@example("[[rate]]\n" * 3)
def test_no_text_is_read_as_a_card_by_chance_nor_breaks_the_reader(text: str) -> None:
    with pytest.raises(RateCardError, match=r"^card\.toml"):
        parse_card(text, "card.toml")


@given(st.dictionaries(st.sampled_from(tuple(HEAD)), ANYTHING), st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_whatever_is_written_in_a_field_makes_a_rate_or_is_refused_with_its_place(
    head: dict[str, str], line: dict[str, str]
) -> None:
    try:
        first, second = parse_card(card(HEAD | head, LINE, LINE | line), "card.toml")
    except RateCardError as error:
        refused = str(error)
    else:
        refused = ""
        assert first.model == "m"
        assert second.holds(second.valid_from, 10**12, second.service_tier) or second.hours
    assert not refused or refused.startswith(("card.toml: ", "card.toml is no TOML", "card.toml, rate 2"))


@pytest.mark.parametrize(("field", "value", "says"), [
    ("context_above", "-1", r"\(m\): context_above: expected a number of input tokens like 200000, found -1"),
    ("context_above", "1.5", "found Decimal"),
    ("context_above", "true", "found True"),
    ("context_above", str(10**30), "expected a number of input tokens"),
    ("service_tier", "3", r'\(m\): service_tier: expected a name like "batch"'),
    ("service_tier", '" batch"', "found ' batch'"),
    ("hours", "8", r'\(m\): hours: expected hours like "mon-fri 00:30-08:30 Asia/Shanghai", found 8'),
    ("hours", '"08:00-08:00 UTC"', "begin and end at once"),
    ("hours", '"24:00-08:00 UTC"', "begin and end at once"),
    ("hours", '"08:00-24:30 UTC"', "24:30 is no time of a day"),
    ("hours", '"08:60-09:00 UTC"', "08:60 is no time of a day"),
    ("hours", '"08:00-09:00"', "are no hours"),
    ("hours", '"mon-abc 08:00-09:00 UTC"', "mon-abc are no days"),
    ("hours", '"08:00-09:00 Mars/Olympus"', "'Mars/Olympus' is no time zone"),
    ("model", '"m "', "without spaces around it, found 'm '"),
    ("model", '"m\\u0000"', "expected model"),
])  # fmt: skip
def test_a_condition_that_is_off_is_refused_with_what_was_found(field: str, value: str, says: str) -> None:
    with pytest.raises(RateCardError, match=says) as refused:
        parse_card(card(HEAD, LINE, LINE | {field: value}), "card.toml")
    assert str(refused.value).startswith("card.toml, rate 2")


def one(**fields: str) -> Rate:
    (rate,) = parse_card(card(HEAD, LINE | fields), "card.toml")
    return rate


def test_a_line_has_the_conditions_that_are_written() -> None:
    rate = one(context_above="200_000", service_tier='"Flex"', hours='"mon-fri 00:30-08:30 Asia/Shanghai"')
    assert (rate.context_above, rate.service_tier, rate.hours) == (
        200_000,
        "flex",
        hours("mon-fri 00:30-08:30 Asia/Shanghai"),
    )
    assert rate.conditions == "flex, above 200,000 input tokens, mon-fri 00:30-08:30 Asia/Shanghai"
    assert (one().conditions, one(service_tier='"*"').conditions) == ("", "any service tier")


@pytest.mark.parametrize("name", ["", "default", "Standard", "standard_only", "auto", "on_demand"])
def test_every_name_of_the_standard_tier_is_one_tier(name: str) -> None:
    assert one(service_tier=f'"{name}"') == one()
    assert one().service_tier == STANDARD


def test_a_line_for_any_tier_is_written_with_a_star() -> None:
    rate = one(service_tier='"*"')
    assert rate.service_tier == ANY_TIER
    book = RateBook([rate])
    assert all(book.find("p", "m", datetime(2026, 4, 1, tzinfo=UTC), 0, tier) for tier in ("", "batch", "whatever"))


def test_a_date_begins_at_midnight_utc_and_a_time_where_its_offset_says() -> None:
    found: list[Any] = [one(valid_from=text).valid_from for text in ("2026-03-01", "2026-03-01T00:00:00.000001+08:00")]
    assert found == [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 2, 28, 16, 0, 0, 1, tzinfo=UTC)]


def test_a_price_in_quotes_is_read_to_the_digit_as_well() -> None:
    assert one(input='"0.000000001"').input_per_1k == one(input="0.000000001").input_per_1k == Decimal("1E-9")


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("-1e3", "is -1000; a price can't be negative"),
        ("1e33", "found 1" + "0" * 33),
        ("1e-33", "is 0." + "0" * 32 + "1; expected at most"),
        ("1e99999", "found 1E+99999"),
    ],
)
def test_a_bad_price_is_named_in_full(price: str, said: str) -> None:
    card = 'provider = "p"\ncurrency = "USD"\nsource = "s"\n[[rate]]\nmodel = "m"\nvalid_from = 2026-01-01\n'
    with pytest.raises(RateCardError, match=re.escape(said)):
        parse_card(f"{card}input = {price}\noutput = 1\n", "card")
