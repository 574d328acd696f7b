"""What people read of a refusal."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from accounting import grounds
from accounting.decisions import Why
from tests.sdks.refused_driver import STATE

BUDGET: dict[str, Any] = {"budget": "team a", "scope": "project checkout"}


def test_a_budget_that_is_used_up_says_by_what_and_until_when() -> None:
    assert grounds.message(Why.OVER, **BUDGET, state=STATE, asked=Decimal("8.20"), others=["all"]) == (
        "Budget team a (project checkout) refused the call (so did all): it may cost 8.2 CNY, and 4.376543210988 "
        "remains; of 500 CNY until 2026-11-30 16:00 UTC, 480.123456789012 spent, 12.5 reserved and 3 held for calls "
        "that may have been charged. See accounting budgets show 'team a'; raise the limit: accounting budgets edit "
        "'team a' --amount AMOUNT; or wait until 2026-11-30 16:00 UTC."
    )


def test_waiting_is_no_way_out_where_there_is_no_end_or_the_call_is_too_large() -> None:
    endless = replace(STATE, ends_at=None, ends_on=None, held=Decimal(0))
    said = grounds.message(Why.OVER, **BUDGET, state=endless, asked=Decimal(9))
    assert "until" not in said
    assert "of 500 CNY, 480.123456789012 spent and 12.5 reserved." in said
    too_large = grounds.message(Why.OVER, **BUDGET, state=STATE, asked=Decimal("500.1"))
    assert too_large.endswith("or ask for less, as this is more than the whole limit.")


def test_a_limit_that_was_passed_leaves_nothing() -> None:
    said = grounds.message(Why.OVER, **BUDGET, state=replace(STATE, spent=Decimal(600)), asked=Decimal(1))
    assert "it may cost 1 CNY, and nothing remains; of 500 CNY" in said


@pytest.mark.parametrize(
    ("why", "values", "said"),
    [
        (
            Why.UNPRICED,
            {"model": "gpt x", "provider": "lab"},
            "no rate holds for gpt x. See what is near: accounting rates explain 'gpt x' --provider lab; then add one.",
        ),
        (
            Why.CURRENCY,
            {"model": "gpt-x", "currency": "USD"},
            "gpt-x is priced in USD, for which it names no rate. Name one: accounting budgets edit 'team a' --fx",
        ),
        (Why.UNBOUNDED, {"reasons": ["it names no max_tokens"]}, "costs at most, as it names no max_tokens"),
        (
            Why.AWAY,
            {"reasons": ["no answer within 2 s"]},
            "it can't be asked now (no answer within 2 s)",
        ),
    ],
)
def test_every_reason_says_what_to_do(why: Why, values: dict[str, Any], said: str) -> None:
    message = grounds.message(why, **BUDGET, **values)
    assert message.startswith("Budget team a (project checkout) refused the call")
    assert said in message
    assert "accounting " in message
    assert "500 CNY" in grounds.message(why, **BUDGET, **values, state=STATE)


def test_only_where_the_answer_alone_has_no_bound_a_default_for_answers_is_advised() -> None:
    said: dict[str, Any] = {**BUDGET, "reasons": ["a remote image can cost any amount", "it names no max_tokens"]}
    assert grounds.message(Why.UNBOUNDED, **said).endswith(
        "it is strict, and nobody can say what the call costs at most, as a remote image can cost any amount and it "
        "names no max_tokens. Bound the request; or be less strict: accounting budgets edit 'team a' --hard."
    )
    assert "accounting budgets edit 'team a' --max-output COUNT; or be less" in grounds.message(
        Why.UNBOUNDED, **said, is_answer=True
    )


def test_while_the_store_is_away_nothing_is_advised_that_needs_it() -> None:
    reason = "There is no store at sqlite:////books.sqlite3. Make one: accounting store create, or mend the URL"
    said = grounds.message(Why.AWAY, **BUDGET, reasons=[reason])
    assert "it can't be asked now (There is no store at sqlite:////books.sqlite3). Bring the store back" in said
    assert "store create" not in said
    assert "budgets edit" not in said
