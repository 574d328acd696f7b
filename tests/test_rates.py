from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accounting.rates
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.money import Money, plain
from accounting.periods import Period
from accounting.rates import CLASSES, REQUIRED, Rate, is_unknown, price, unpriced_units
from accounting.resolution import RateBook
from accounting.usage import MAX_COUNT, Quantities

CARD = """
provider = "wcode"
currency = "CNY"
source = "price list"
"""
SEED_CARD = Path(accounting.rates.__file__).with_name("ratecards") / "wcode.toml"
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

PRICES = st.decimals(0, 10_000, places=9, allow_nan=False, allow_infinity=False)


COUNT = st.integers(0, MAX_COUNT)


@st.composite
def quantities(draw: st.DrawFn) -> Quantities:
    """What a provider may say was used: no part is more than its whole."""
    fresh, read, short, hour, heard, seen = (draw(COUNT) for _ in range(6))
    written, thought, spoken, drawn = (draw(COUNT) for _ in range(4))
    return Quantities(
        input=fresh + read + short + hour + heard + seen,
        cache_read=read,
        cache_write=short + hour,
        output=written + thought + spoken + drawn,
        reasoning=thought,
        cache_write_1h=hour,
        audio_input=heard,
        image_input=seen,
        audio_output=spoken,
        image_output=drawn,
        requests=draw(COUNT),
        web_searches=draw(COUNT),
        images=draw(COUNT),
        audio_seconds=draw(COUNT),
    )


RATES = st.builds(
    Rate,
    provider=st.just("wcode"), model=st.just("m"), currency=st.just("CNY"), period=st.just(Period(MARCH, None)),
    **{each.column: PRICES if each.name in REQUIRED else st.none() | PRICES for each in CLASSES},
)  # fmt: skip


def a_rate(
    start: datetime = MARCH, end: datetime | None = None, input_: str = "0.01", model: str = "m", source: str = "list"
) -> Rate:
    return Rate(provider="wcode", model=model, currency="CNY", period=Period(start, end), input_per_1k=Decimal(input_),
                output_per_1k=Decimal("0.03"), source=source)  # fmt: skip


@given(quantities(), RATES)
def test_a_price_is_the_fraction_that_arithmetic_gives(tokens: Quantities, rate: Rate) -> None:
    def each(*prices: Decimal | None) -> Fraction:
        return Fraction(next((own for own in prices if own is not None), Decimal(0))) / 1000

    r, n = rate, tokens
    fresh = n.input - n.cache_read - n.cache_write - n.audio_input - n.image_input
    answer = n.output - n.reasoning - n.audio_output - n.image_output
    expected = (
        fresh * each(r.input_per_1k)
        + n.cache_read * each(r.cache_read_per_1k, r.input_per_1k)
        + (n.cache_write - n.cache_write_1h) * each(r.cache_write_per_1k, r.input_per_1k)
        + n.cache_write_1h * each(r.cache_write_1h_per_1k, r.cache_write_per_1k, r.input_per_1k)
        + n.audio_input * each(r.audio_input_per_1k, r.input_per_1k)
        + n.image_input * each(r.image_input_per_1k, r.input_per_1k)
        + answer * each(r.output_per_1k)
        + n.reasoning * each(r.reasoning_per_1k, r.output_per_1k)
        + n.audio_output * each(r.audio_output_per_1k, r.output_per_1k)
        + n.image_output * each(r.image_output_per_1k, r.output_per_1k)
        + n.requests * each(r.request_per_1k)
        + n.web_searches * each(r.web_search_per_1k)
        + n.images * each(r.image_per_1k)
        + n.audio_seconds * each(r.audio_second_per_1k)
    )
    assert Fraction(price(tokens, rate).amount) == expected


@given(st.lists(quantities(), max_size=8), RATES)
def test_the_price_of_a_sum_is_the_sum_of_the_prices(parts: list[Quantities], rate: Rate) -> None:
    whole = Quantities(*map(sum, zip(*parts, strict=True))) if parts else Quantities()
    assert price(whole, rate) == sum((price(part, rate) for part in parts), Money(Decimal(0), "CNY"))


@given(quantities(), RATES)
def test_the_caller_s_own_decimal_context_changes_no_price(tokens: Quantities, rate: Rate) -> None:
    expected = price(tokens, rate)
    with localcontext(Context(prec=3)):
        assert price(tokens, rate) == expected


def test_the_seed_provider_s_glm_5_answer_costs_exactly_0_007515() -> None:
    (rate,) = parse_card(SEED_CARD.read_text("utf-8"), SEED_CARD.name)
    usage = Quantities(input=15, output=210, reasoning=210)  # the answer claims 229 of reasoning, and is clamped
    assert price(usage, rate) == Money(Decimal("0.007515"), "CNY")
    assert rate.valid_from == datetime(2026, 2, 1, tzinfo=UTC)


def test_cached_tokens_are_not_billed_as_input() -> None:
    (rate,) = parse_card(f"""{CARD}
        [[rate]]
        model = "m"
        valid_from = 2026-03-01
        input = 1
        cache_read = 0
        output = 0
    """, "card.toml")  # fmt: skip
    assert price(Quantities(input=1000, cache_read=900), rate).amount == Decimal("0.1")


def test_a_class_without_a_price_costs_what_its_parent_costs() -> None:
    rate = a_rate()
    assert price(Quantities(1000, 300, 200, 1000, 400), rate) == price(Quantities(1000, 0, 0, 1000, 0), rate)


UNITS = ("web_search", "image", "audio_second")


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_card_has_no_price_for_is_unknown_and_what_costs_nothing_is_not(unit: str) -> None:
    counted = {"web_search": "web_searches", "image": "images", "audio_second": "audio_seconds"}[unit]
    used = Quantities(**{counted: 3, "requests": 1})
    unknown, free, dear = (
        parse_card(f"{CARD}\n{LINE}{priced}", "c")[0] for priced in ("", f"{unit} = 0", f"{unit} = 10")
    )
    assert [unpriced_units(used, rate) for rate in (unknown, free, dear)] == [{counted: 3}, {}, {}]
    assert [plain(price(used, rate).amount) for rate in (unknown, free, dear)] == ["0", "0", "0.03"]
    assert [is_unknown(used, rate) for rate in (unknown, free, dear)] == [True, False, False]
    assert not is_unknown(used._replace(output=1), unknown)
    assert not is_unknown(used, parse_card(f"{CARD}\n{LINE}request = 0", "c")[0])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6, unique=True), st.integers(-10, 1010))
def test_of_the_lines_begun_the_last_holds_to_the_microsecond(starts: list[int], day: int) -> None:
    book = RateBook([a_rate(MARCH + timedelta(days=start), input_=str(start)) for start in starts])
    for at in (MARCH + timedelta(days=day), MARCH + timedelta(days=day) - MICROSECOND):
        begun = [start for start in starts if MARCH + timedelta(days=start) <= at]
        found = book.find("wcode", "m", at)
        assert (found and found.input_per_1k) == (max(begun) if begun else None)


def test_a_line_ends_before_the_instant_it_is_valid_until() -> None:
    end = MARCH + timedelta(days=31)
    book = RateBook([a_rate(MARCH, end)])
    assert book.find("wcode", "m", end - MICROSECOND) is not None
    assert book.find("wcode", "m", end) is None
    assert book.find("wcode", "m", MARCH - MICROSECOND) is None
    assert book.find("other", "m", MARCH) is None


def test_two_lines_that_begin_at_once_are_refused_with_both_prices() -> None:
    with pytest.raises(RateCardError, match=r"input 0\.02 \(source: new\) and input 0\.01 \(source: old\)") as refused:
        RateBook([a_rate(source="old"), a_rate(input_="0.02", source="new")])
    assert "give the newer a later valid_from" in str(refused.value)
    with pytest.raises(RateCardError, match=r"input 0\.01, output 0\.03 \(source: new\) and input 0\.01, output 0\.03"):
        RateBook([a_rate(source="old"), a_rate(source="new")])
    dear = replace(a_rate(source="new"), web_search_per_1k=Decimal(10))
    with pytest.raises(RateCardError, match=r"web_search 10 \(source: new\) and web_search none \(source: old\)"):
        RateBook([a_rate(source="old"), dear])


def test_a_line_that_runs_into_the_next_is_refused() -> None:
    april = MARCH + timedelta(days=31)
    with pytest.raises(RateCardError, match="runs into"):
        RateBook([a_rate(MARCH, april + MICROSECOND), a_rate(april)])
    held = replace(a_rate(MARCH, april + MICROSECOND), id=7)
    with pytest.raises(
        RateCardError, match=r"line 7 in the books, runs into .*: accounting rates end 7 --at 2026-04-01T"
    ):
        RateBook([held, a_rate(april)])
    RateBook([a_rate(MARCH, april), a_rate(april)])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("input = nan", r"c, rate 1 \(m\): input: 'nan' is not a finite number\."),
        ("input = 1e999999999", r"c, rate 1 \(m\): input: '1e999999999' is not a decimal number"),
        ("input = 1\ncontext_above = inf", r"c, rate 1 \(m\): context_above: .* found inf\."),
        ("input = 1\nprice = nan", "c, rate 1: unknown price;"),
    ],
)
def test_a_number_that_is_no_price_is_named_by_its_line_and_field(line: str, said: str) -> None:
    with pytest.raises(RateCardError, match=f"^{said}"):
        parse_card(f'{CARD}\n[[rate]]\nmodel = "m"\nvalid_from = 2026-03-01\n{line}\noutput = 1', "c")


def test_digits_may_be_grouped_as_toml_has_it() -> None:
    text = f'{CARD}\n[[rate]]\nmodel = "m"\nvalid_from = 2026-03-01\ninput = 1_000.5\noutput = 1_000'
    (rate,) = parse_card(text, "c")
    assert (rate.input_per_1k, rate.output_per_1k) == (Decimal("1000.5"), Decimal(1000))


@given(PRICES)
def test_a_card_s_price_is_read_to_the_digit_it_was_written(amount: Decimal) -> None:
    (rate,) = parse_card(f'{CARD}\n[[rate]]\nmodel = "m"\nvalid_from = 2026-03-01\ninput = {amount:f}\noutput = 1', "c")
    assert rate.input_per_1k == amount


@given(quantities())
def test_the_dearest_price_a_card_may_name_is_charged_to_the_digit(tokens: Quantities) -> None:
    dearest = "99999999.999999999"
    (rate,) = parse_card(f"{CARD}\n{LINE.replace('input = 1', f'input = {dearest}')}", "c")
    charged = Fraction(dearest) * tokens.input / 1000 + Fraction(tokens.output, 1000)
    assert Fraction(price(tokens, rate).amount) == charged


def test_a_time_with_an_offset_is_taken_as_it_is() -> None:
    (rate,) = parse_card(
        f'{CARD}\n[[rate]]\nmodel = "m"\nvalid_from = 2026-03-01T00:00:00+08:00\ninput = 1\noutput = 1', "c"
    )
    assert rate.valid_from == datetime(2026, 2, 28, 16, tzinfo=UTC)


LINE = '[[rate]]\nmodel = "m"\nvalid_from = 2026-03-01\ninput = 1\noutput = 1\n'


@pytest.mark.parametrize(("text", "says"), [
    ("provider = ", "no TOML"),
    (LINE, 'provider is missing. Write provider = "…" at the top'),
    (CARD.replace('"wcode"', "3") + LINE, 'expected provider = "…" at the top, found 3'),
    (CARD, r"at least one \[\[rate\]\], found none"),
    (CARD + "rate = 3", r"at least one \[\[rate\]\], found 3"),
    (CARD + LINE.replace("[[rate]]", "[rate]"), r"at least one \[\[rate\]\], found \[rate\]"),
    (CARD.replace("CNY", "yuan") + LINE, "expected a code of ISO 4217"),
    (CARD.replace("CNY", "RMB") + LINE, "Did you mean CNY"),
    (CARD + "discount = 3\n" + LINE, "unknown discount"),
    (CARD + LINE + "cached = 1", "unknown cached"),
    (CARD + LINE.replace('"m"', '""'), "expected model"),
    (CARD + LINE.replace("output = 1", ""), r"\(m\): output is missing. Write 0"),
    (CARD + LINE.replace("input = 1", "input = -1"), "can't be negative"),
    (CARD + LINE.replace("input = 1", "input = true"), "is a bool"),
    (CARD + LINE.replace("input = 1", "input = nan"), "finite"),
    (CARD + LINE.replace("input = 1", "input = 0.0000000001"), "at most 9 decimals"),
    (CARD + LINE.replace("input = 1", "input = 1E-12"), "Round it to 9 decimals"),
    (CARD + LINE.replace("input = 1", f"input = {10**8}"), f"below 100,000,000 per 1000, found {10**8}"),
    (CARD + LINE.replace("input = 1", f"input = {'1234567890' * 5}12345.123"), "expected a price below"),
    (CARD + LINE.replace("2026-03-01", "9999-12-31T23:59:59-12:00"), "a time from 1970-01-01 to 9998-12-31 in UTC"),
    (CARD + LINE.replace("2026-03-01", '"2026-03-01"'), "without quotes"),
    (CARD + LINE.replace("2026-03-01", "2026-03-01T00:00:00"), "add an offset"),
    (CARD + LINE.replace("2026-03-01", '"March"'), "expected a date"),
    (CARD + LINE + "valid_until = 2026-03-01", "not after"),
])  # fmt: skip
def test_a_card_that_is_off_is_refused_with_the_place_named(text: str, says: str) -> None:
    with pytest.raises(RateCardError, match=says) as refused:
        parse_card(text, "card.toml")
    assert str(refused.value).startswith("card.toml")
