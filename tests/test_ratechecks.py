"""Prices that look a thousand times off."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from accounting.periods import Period
from accounting.ratechecks import Suspicion, suspicious
from accounting.rates import Rate
from tests.books import at

A_THOUSANDTH, A_THOUSAND = Decimal("0.001"), Decimal(1000)


def line(
    provider: str = "acme", model: str = "gpt-9", input_: str = "0.0025", output: str = "0.01", **more: str
) -> Rate:
    prices: dict[str, Any] = {f"{name}_per_1k": Decimal(price) for name, price in more.items()}
    prices |= {"input_per_1k": Decimal(input_), "output_per_1k": Decimal(output)}
    return Rate(provider=provider, model=model, currency="USD", period=Period(at("2026-05-01"), None), **prices)


def times(factor: Decimal, rate: Rate) -> Rate:
    return replace(rate, input_per_1k=rate.input_per_1k * factor, output_per_1k=rate.output_per_1k * factor)


def classes(found: list[Suspicion]) -> list[str]:
    return [one.name for one in found]


@pytest.mark.parametrize(("factor", "unit"), [(A_THOUSAND, "million"), (A_THOUSANDTH, "thousand")])
def test_a_price_far_off_the_models_own_past_is_asked_about(factor: Decimal, unit: str) -> None:
    past = replace(line(), id=12)
    new = replace(times(factor, past), id=0, period=Period(at("2026-07-01"), None))
    found = suspicious([new], [past])
    assert classes(found) == ["input", "output"]
    assert str(found[0]).endswith(
        f"0.0025, which another line of the model says (line 12, {past}). Is it the price of a {unit}?"
    )


@pytest.mark.parametrize("factor", ["0.02857142857", "0.1", "1", "10", "35"])
def test_a_price_cut_or_raised_as_price_lists_have_it_is_not_asked_about(factor: str) -> None:
    assert suspicious([times(Decimal(factor), line())], [line()]) == []


def test_a_price_far_off_what_the_model_costs_elsewhere_is_asked_about() -> None:
    found = suspicious([line("dear", "Gpt-9", "0.9", "0.9")], [line("acme", "vendor/gpt-9")])
    assert [(one.name, one.than) for one in found] == [("input", Decimal("0.0025")), ("output", Decimal("0.01"))]
    assert "which the model costs elsewhere (acme/vendor/gpt-9" in str(found[0])


def test_a_price_far_off_all_of_its_family_is_asked_about() -> None:
    family = [line(model="gpt-9-mini", input_="0.0001", output="0.0004"), line(model="gpt-8", input_="0.01")]
    assert classes(suspicious([line(model="gpt-9-nano", input_="0.9", output="0.9")], family)) == ["input", "output"]
    assert suspicious([line(model="gpt-9-nano", input_="0.00003", output="0.0002")], family) == []
    assert suspicious([line(model="lux-1", input_="0.9", output="0.9")], family) == []


def test_of_those_named_alike_one_generation_counts_before_all_of_the_family() -> None:
    family = [line(model="gpt-9-pro", input_="0.015", output="0.12"), line(model="gpt-1-huge", input_="0.06")]
    assert classes(suspicious([line(model="gpt-9-turbo", input_="0.97", output="0.97")], family)) == ["input"]
    assert suspicious([line(model="gpt-2-turbo", input_="0.97", output="0.97")], family) == []


def test_a_price_beyond_all_there_ever_were_is_asked_about_though_the_family_is_dear() -> None:
    dear = [line(model="gpt-9-pro", input_="0.075", output="0.6")]
    assert classes(suspicious([line(model="gpt-9-turbo", input_="1.25", output="10")], dear)) == ["input", "output"]


def test_the_models_own_past_counts_and_not_what_others_cost() -> None:
    insisted = line(input_="0.9", output="0.9")
    others = [line("elsewhere"), line(model="gpt-8")]
    assert suspicious([replace(insisted, period=Period(at("2026-07-01"), None))], [insisted, *others]) == []


@pytest.mark.parametrize("factor", [A_THOUSAND, A_THOUSANDTH])
@pytest.mark.parametrize(
    "known", [line(), line("elsewhere"), line(model="gpt-9-mini", input_="0.0005", output="0.002")]
)
def test_a_card_in_the_wrong_unit_is_asked_about_though_its_lines_agree(factor: Decimal, known: Rate) -> None:
    july = replace(line(), period=Period(at("2026-07-01"), None))
    card = [july, replace(july, context_above=1000), replace(july, model="gpt-9-pro")]
    wrong = [times(factor, one) for one in card]
    assert suspicious(card, [known]) == []
    assert {one.line for one in suspicious(wrong, [known])} >= set(wrong[:2])


def test_a_first_card_dearer_than_any_tokens_ever_were_is_asked_about_though_its_lines_agree() -> None:
    card = [line(model=f"gpt-{n}", input_="2.5", output="10") for n in range(3)]
    assert len(suspicious(card, [])) == 6


def test_of_a_card_one_line_is_held_against_the_others() -> None:
    good = [line(model="gpt-7"), line(model="gpt-8")]
    bad = times(A_THOUSAND, line(model="gpt-9"))
    assert {one.line.model for one in suspicious([*good, bad], [])} == {"gpt-9"}


@pytest.mark.parametrize(
    ("prices", "asked"),
    [
        ({"input_": "0.003", "output": "1"}, ["output"]),
        ({"input_": "0.3", "output": "0.0075"}, []),
        ({"input_": "0.3", "output": "0.0074"}, ["output"]),
        ({"input_": "0.00004", "output": "0.006"}, []),
        ({"cache_read": "0.25"}, ["cache_read"]),
        ({"cache_read": "0.000004"}, ["cache_read"]),
        ({"cache_read": "0.0000205"}, []),
        ({"cache_read": "0.0025"}, []),
        ({"reasoning": "0.5"}, ["reasoning"]),
        ({"cache_read": "0", "reasoning": "0"}, []),
        ({"input_": "0", "output": "0.9"}, []),
        ({"output": "0"}, []),
    ],
)
def test_prices_of_a_line_are_held_against_each_other(prices: dict[str, str], asked: list[str]) -> None:
    assert classes(suspicious([line(**prices)], [])) == asked


def test_a_first_line_dearer_than_any_token_ever_was_is_asked_about() -> None:
    found = suspicious([line(input_="3", output="15")], [])
    assert classes(found) == ["input", "output"]
    assert "which no provider asks for 1000 tokens" in str(found[0])
    assert suspicious([line(input_="0.15", output="0.6")], []) == []


def test_what_is_no_token_may_cost_more() -> None:
    assert suspicious([line(web_search="70", image="40")], []) == []


def test_prices_are_compared_in_one_currency_only() -> None:
    yen = replace(line(input_="2.5", output="10"), currency="JPY")
    assert suspicious([yen], [line()]) == []
    assert classes(suspicious([times(A_THOUSAND, yen)], [yen])) == ["input", "output"]


def test_a_part_is_not_held_against_the_family() -> None:
    cached = line(model="gpt-9-mini", cache_read="0.0025")
    assert suspicious([line(cache_read="0.00002")], [cached]) == []
