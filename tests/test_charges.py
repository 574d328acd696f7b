"""What a call costs, part by part."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.charges import Charge, apart, charge, contradictions
from accounting.money import EXACT, Money
from accounting.rates import CLASSES, UNITS, Rate, price, unpriced_units
from accounting.usage import Quantities
from tests.test_rates import RATES, a_rate, quantities

ZERO = Decimal(0)


def summed(charge: Charge) -> Decimal:
    total = ZERO
    for part in charge.parts:
        total = EXACT.add(total, part.amount)
    return total


@given(quantities(), RATES)
def test_the_parts_add_up_to_the_total_to_the_last_digit(used: Quantities, rate: Rate) -> None:
    found = charge(used, rate)
    assert summed(found) == found.total.amount
    assert found.total == price(used, rate)


@given(quantities(), RATES)
def test_every_quantity_is_in_one_part_or_has_no_price(used: Quantities, rate: Rate) -> None:
    found = charge(used, rate)
    parts = {part.name: part.quantity for part in found.parts}
    assert len(parts) == len(found.parts)
    for each, name, left in zip(CLASSES, Quantities._fields, apart(used), strict=True):
        is_free = each.parent is None and getattr(rate, each.column) is None
        assert parts.get(each.name, 0) == (0 if is_free else left)
        assert found.unpriced.get(name, 0) == (left if is_free and each in UNITS else 0)


@given(quantities(), RATES)
def test_of_what_is_tokens_the_parts_are_all_there_are(used: Quantities, rate: Rate) -> None:
    units = {each.name for each in UNITS} | {"request"}
    tokens = sum(part.quantity for part in charge(used, rate).parts if part.name not in units)
    assert tokens == used.input + used.output


@given(st.lists(quantities(), min_size=1, max_size=5), RATES)
def test_the_charge_of_a_sum_is_the_sum_of_the_charges(each: list[Quantities], rate: Rate) -> None:
    whole = charge(Quantities(*map(sum, zip(*each, strict=True))), rate)
    charges = [charge(one, rate) for one in each]
    for part in whole.parts:
        same = [one for found in charges for one in found.parts if one.name == part.name]
        assert part.quantity == sum(one.quantity for one in same)
        assert part.amount == sum((one.amount for one in same), ZERO)
    assert whole.total == sum((found.total for found in charges), Money(ZERO, "CNY"))


@given(quantities(), RATES)
def test_each_part_says_whose_price_it_has(used: Quantities, rate: Rate) -> None:
    found = charge(used, rate)
    for part in found.parts:
        assert getattr(rate, f"{part.priced_as}_per_1k") == part.price_per_1k
        assert part.amount * 1000 == part.quantity * part.price_per_1k
    assert found.is_whole == (not unpriced_units(used, rate))


def test_cached_tokens_without_a_price_cost_what_input_does() -> None:
    found = charge(Quantities(input=1000, cache_read=400, output=10), a_rate())
    assert [(part.name, part.quantity, str(part.amount), part.priced_as) for part in found.parts] == [
        ("input", 600, "0.00600", "input"),
        ("cache_read", 400, "0.00400", "input"),
        ("output", 10, "0.00030", "output"),
    ]
    assert found.total == Money(Decimal("0.0103"), "CNY")


@pytest.mark.parametrize(
    ("used", "wholes"),
    [
        (Quantities(input=10, cache_read=10), []),
        (Quantities(input=10, cache_read=6, cache_write=5), ["input"]),
        (Quantities(input=10, cache_write=5, cache_write_1h=6), ["cache_write"]),
        (Quantities(output=10, reasoning=11), ["output"]),
    ],
)
def test_parts_beyond_their_whole_contradict_it(used: Quantities, wholes: list[str]) -> None:
    assert contradictions(used) == wholes
