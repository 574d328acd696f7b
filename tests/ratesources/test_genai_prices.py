"""The prices of genai-prices as lines: of lists made here in its own types, and of all that the library knows."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import types
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot

from accounting.errors import ConfigurationError
from accounting.money import plain
from accounting.rates import price
from accounting.ratesources import genai_prices
from accounting.ratesources.listing import Listing
from accounting.resolution import RateBook
from accounting.usage import Quantities
from tests.books import at

Read = Callable[..., Listing]
FEBRUARY = types.StartDateConstraint(date(2026, 2, 1))
USUAL = {"input_mtok": Decimal("2.5"), "output_mtok": Decimal(10)}


def model(prices: Any, name: str = "m", match: Any = None, variants: Any = None) -> types.ModelInfo:
    return types.ModelInfo(
        id=name, match=match or types.ClauseEquals(equals=name), prices=prices, price_variants=variants
    )


def provider(*models: types.ModelInfo, name: str = "acme", fallback: list[str] | None = None) -> types.Provider:
    return types.Provider(id=name, name=name, api_pattern=name, models=list(models), fallback_model_providers=fallback)


def priced(**prices: Any) -> types.ModelPrice:
    return types.ModelPrice(**(prices or USUAL))


def since(day: date, **prices: Any) -> types.ConditionalPrice:
    return types.ConditionalPrice(types.StartDateConstraint(day), prices=priced(**prices))


@pytest.fixture
def read() -> Iterator[Read]:
    """Reads providers, or models of one, as if they were what the library knows."""

    def reading(*said: Any) -> Listing:
        providers = [one for one in said if isinstance(one, types.Provider)]
        models = [one for one in said if isinstance(one, types.ModelInfo)]
        set_custom_snapshot(DataSnapshot([*providers, *([provider(*models)] if models else [])], False))
        return genai_prices.read()

    yield reading
    set_custom_snapshot(None)


def test_prices_of_a_million_are_prices_of_1000(read: Read) -> None:
    (line,) = read(model(priced(**USUAL, cache_read_mtok=Decimal("0.25"), web_searches_kcount=Decimal(10)))).lines
    assert (line.provider, line.model, line.currency, line.source) == ("acme", "m", "USD", "genai-prices")
    prices = (line.input_per_1k, line.output_per_1k, line.cache_read_per_1k, line.web_search_per_1k)
    assert list(map(plain, (one for one in prices if one is not None))) == ["0.0025", "0.01", "0.00025", "10"]


def test_a_price_with_a_day_begins_on_it(read: Read) -> None:
    first = types.ConditionalPrice(prices=priced())
    lines = read(model([first, since(date(2026, 3, 13), input_mtok=Decimal(5), output_mtok=Decimal(25))])).lines
    assert [(line.valid_from, line.input_per_1k) for line in lines] == [
        (at("2020-01-01"), Decimal("0.0025")),
        (at("2026-03-13"), Decimal("0.005")),
    ]


def test_a_size_of_the_input_is_a_line_with_all_prices(read: Read) -> None:
    tiered = types.TieredPrices(base=Decimal(1), tiers=[types.Tier(start=200_000, price=Decimal(2))])
    lines = read(model(priced(input_mtok=tiered, output_mtok=Decimal(10)))).lines
    found = [(line.context_above, plain(line.input_per_1k), plain(line.output_per_1k)) for line in lines]
    assert found == [(0, "0.001", "0.01"), (200_000, "0.002", "0.01")]


def test_hours_hold_within_every_days_prices_that_come_before_them(read: Read) -> None:
    clock = types.TimeOfDateConstraint(time(16, 30, tzinfo=UTC), time(0, 30, tzinfo=UTC))
    night = types.ConditionalPrice(clock, prices=priced(input_mtok=Decimal(1), output_mtok=Decimal(1)))
    first = types.ConditionalPrice(prices=priced())
    lines = read(model([first, since(date(2026, 3, 13), **USUAL, cache_read_mtok=Decimal(1)), night])).lines
    assert [(f"{line.valid_from:%Y}", str(line.hours or "")) for line in lines] == [
        ("2020", ""),
        ("2020", "16:30-00:30 UTC"),
        ("2026", ""),
        ("2026", "16:30-00:30 UTC"),
    ]


def test_a_tier_costs_as_usual_what_its_variant_says_nothing_of_and_from_the_variants_day_on(read: Read) -> None:
    variants = [
        types.PriceVariant({"processing": "batch"}, priced(input_mtok=Decimal(1)), FEBRUARY),
        types.PriceVariant({"service_tier": "flex"}, priced(input_mtok=Decimal(2))),
        types.PriceVariant({"speed": "fast"}, priced(output_mtok=Decimal(60))),
        types.PriceVariant({"service_tier": "default"}, types.ModelPrice()),
    ]
    lines = read(model(priced(), variants=variants)).lines
    found = {line.service_tier: f"{plain(line.input_per_1k)} {plain(line.output_per_1k)}" for line in lines}
    assert found == {"": "0.0025 0.01", "batch": "0.001 0.01", "flex": "0.002 0.01", "fast": "0.0025 0.06"}
    assert [line.valid_from for line in lines if line.service_tier == "batch"] == [at("2026-02-01")]


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        (types.PriceVariant({"route": "eu"}, types.ModelPrice(**USUAL)), "route = eu"),
        (types.PriceVariant({"service_tier": "a", "speed": "b"}, types.ModelPrice(**USUAL)), "speed = b"),
    ],
)
def test_a_variant_on_another_condition_is_left_out_by_it(read: Read, variant: Any, said: str) -> None:
    found = read(model(priced(), variants=[variant]))
    assert [line.service_tier for line in found.lines] == [""]
    assert [said in one.reason for one in found.left_out] == [True]


def test_a_model_has_a_line_under_each_name_that_it_lists(read: Read) -> None:
    match = types.ClauseOr(or_=[types.ClauseEquals(equals="m-1"), types.ClauseStartsWith(starts_with="m-latest")])
    found = read(model(priced(), "m-1", match))
    assert [line.model for line in found.lines] == ["m-1", "m-latest"]
    assert [one.name for one in found.left_out] == ["match"]


def test_a_name_that_the_library_gives_to_another_model_is_not_taken(read: Read) -> None:
    first = model(priced(), "first", types.ClauseContains(contains="m"))
    found = read(first, model(priced(), "m"))
    assert {line.model for line in found.lines} == {"m"}
    assert len(found.lines) == 1
    assert [one.reason for one in found.left_out if not one.name] == [
        "the library itself takes its name for another model's"
    ]


def test_a_reseller_has_the_usual_prices_of_the_houses_that_it_falls_back_to(read: Read) -> None:
    batch = [types.PriceVariant({"processing": "batch"}, priced(input_mtok=Decimal(1)))]
    house = provider(model(priced()), model(priced(), "n", None, batch), name="maker")
    lines = read(provider(model(priced(input_mtok=Decimal(9))), name="azure", fallback=["maker"]), house).lines
    found = {(line.provider, line.model, line.service_tier): line.input_per_1k * 1000 for line in lines}
    assert found == {
        ("azure", "m", ""): 9,
        ("azure", "n", ""): Decimal("2.5"),
        ("maker", "m", ""): Decimal("2.5"),
        ("maker", "n", ""): Decimal("2.5"),
        ("maker", "n", "batch"): 1,
    }


def test_googles_models_are_priced_at_both_of_its_doors(read: Read) -> None:
    assert [line.provider for line in read(provider(model(priced()), name="google")).lines] == ["gemini", "vertex"]


def test_audio_by_the_hour_is_priced_by_the_second_where_that_is_exact(read: Read) -> None:
    (line,) = read(model(priced(audio_hours=Decimal("0.36")))).lines
    assert (line.audio_second_per_1k, line.input_per_1k) == (Decimal("0.1"), Decimal(0))
    found = read(model(priced(audio_hours=Decimal("0.04"))))
    assert (found.lines, [one.name for one in found.left_out]) == ((), ["audio_hours", ""])


def test_what_has_no_class_is_left_out_once_and_the_rest_is_taken(read: Read) -> None:
    steps = [types.ConditionalPrice(prices=priced(**USUAL, input_mchars=Decimal(1))), since(date(2026, 3, 13), **USUAL)]
    found = read(model(steps))
    assert [one.name for one in found.left_out] == ["input_mchars"]
    assert found.lines


def test_a_price_with_too_many_decimals_is_refused_and_others_are_taken(read: Read) -> None:
    found = read(model(priced(input_mtok=Decimal("0.0833333333"))), model(priced(), "n"))
    assert [line.model for line in found.lines] == ["n"]
    assert "at most 9 decimals" in found.left_out[0].detail


def test_without_the_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    with pytest.raises(ConfigurationError, match=r"llm-accounting\[prices\]"):
        genai_prices.read()


INSTANTS = [datetime(2025, 6, 1, 12, tzinfo=UTC), at("2026-09-10 02:00"), at("2026-10-14"), at("2027-02-01 17:00")]
USAGES = [(1000, 300, 200), (300_000, 0, 5000), (200_000, 100_000, 1)]
CONTEXTS: dict[str, dict[str, str]] = {"": {}, "batch": {"processing": "batch"}}


def test_all_that_the_library_knows_costs_the_same_by_lines_at_any_time_size_and_tier() -> None:
    """Every model under its every name, at all of the providers; what is left out is not asked for."""
    snapshot, book = get_snapshot(), RateBook(genai_prices.read().lines)
    ours = {name: own for own, names in genai_prices._PROVIDERS.items() for name in names}
    models = {(line.provider, line.model): None for line in book}
    apart = [
        (name, at_, tier, usage)
        for name in models
        for at_ in INSTANTS
        for tier, context in CONTEXTS.items()
        for usage in USAGES
        if (cost := _ours(book, name, at_, tier, usage)) is not None
        and cost != _theirs(snapshot, ours.get(name[0], name[0]), name[1], at_, context, usage)
    ]
    assert len(models) > 4000
    assert apart == []


def _ours(
    book: RateBook, name: tuple[str, str], at_: datetime, tier: str, usage: tuple[int, int, int]
) -> Decimal | None:
    rate = book.find(*name, at_, usage[0], tier)
    used = Quantities(input=usage[0], cache_read=usage[1], output=usage[2], requests=1)
    return None if rate is None else price(used, rate).amount


def _theirs(
    snapshot: DataSnapshot, house: str, model: str, at_: datetime, context: dict[str, str], usage: tuple[int, int, int]
) -> Decimal:
    asked = types.Usage(input_tokens=usage[0], cache_read_tokens=usage[1], output_tokens=usage[2])
    return snapshot.calc(asked, model, house, None, at_, context).total_price
