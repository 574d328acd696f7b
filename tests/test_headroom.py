from dataclasses import replace
from decimal import Decimal

import pytest

from accounting.headroom import Headroom
from tests.test_thresholds import STATE


def headroom(*amounts: tuple[str, str]) -> Headroom:
    """Of budgets `b0`, `b1`, … with so much spent of such a limit."""
    return Headroom(
        tuple(
            replace(STATE, budget=f"b{number}", spent=Decimal(spent), limit=Decimal(limit))
            for number, (spent, limit) in enumerate(amounts)
        )
    )


@pytest.mark.parametrize(
    ("amounts", "tightest"),
    [
        ([("1", "10"), ("9", "100")], "b0"),
        ([("1", "10"), ("11", "100")], "b1"),
        ([("100", "10"), ("0", "0")], "b1"),
        ([("0", "0"), ("100", "10")], "b0"),
        ([("1", "3"), ("33333333333333333333333333", "99999999999999999999999999.5")], "b0"),
    ],
)
def test_the_tightest_budget_has_the_highest_share_used_up(amounts: list[tuple[str, str]], tightest: str) -> None:
    assert headroom(*amounts).budget == tightest


@pytest.mark.parametrize(
    ("spent", "limit", "share", "remaining"),
    [("1", "3", "0.33333333", "2"), ("4", "2", "2", "-2"), ("0", "5", "0", "5"), ("0", "0", "1", "0")],
)
def test_what_is_left_is_exact_and_its_share_rounded(spent: str, limit: str, share: str, remaining: str) -> None:
    found = headroom((spent, limit))
    assert (found.share, found.remaining) == (Decimal(share), Decimal(remaining))
