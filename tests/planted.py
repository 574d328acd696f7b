"""Faults that the program hasn't, planted into it one at a time: what holds its books to be right must find each."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Table

from accounting import contributions, ratebook, ratestamps, resolution, restate
from accounting.rates import ANY_TIER, STANDARD, Rate
from accounting.ratestamps import Rated
from accounting.resolution import RateBook
from accounting.store import aliaslines, ratelines
from accounting.store.tables import calls, spend_by_tag
from accounting.usage import COUNTED, Call, Usage

Plant = Callable[[pytest.MonkeyPatch], None]

_BILLIONTH = Decimal("0.000000001")

_line, _holds, _find = resolution._line, Rate.holds, RateBook.find
_delivered, _in_books = ratestamps.delivered, ratestamps.in_books


def a_line_holds_at_its_end_still(patch: pytest.MonkeyPatch) -> None:
    def line(rate: Rate) -> Any:
        start, end, *rest = _line(rate)
        return start, end and end + timedelta(microseconds=1), *rest

    patch.setattr(resolution, "_line", line)


def a_line_holds_a_microsecond_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resolution, "_line", lambda rate: (rate.valid_from + timedelta(microseconds=1), *_line(rate)[1:]))


def a_withdrawn_line_prices_calls(patch: pytest.MonkeyPatch) -> None:
    def of_models(conn: Connection, _models: Collection[tuple[str, str]]) -> list[Rate]:
        held = ratelines.read(conn, withdrawn=True)
        return list({(rate.model, rate.conditions, rate.valid_from): rate for rate in held}.values())

    patch.setattr(ratelines, "of_models", of_models)


def a_withdrawn_alias_leads_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aliaslines, "_IN_FORCE", aliaslines._RULES)


def the_tier_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ratestamps, "tier_of", lambda _served: STANDARD)


def a_line_for_any_tier_is_for_none(patch: pytest.MonkeyPatch) -> None:
    def holds(rate: Rate, at: datetime, input_tokens: int = 0, service_tier: str = STANDARD) -> bool:
        return rate.service_tier != ANY_TIER and _holds(rate, at, input_tokens, service_tier)

    patch.setattr(Rate, "holds", holds)


def an_alias_comes_before_the_name(patch: pytest.MonkeyPatch) -> None:
    def find(
        book: RateBook, provider: str, model: str, at: datetime, input_tokens: int = 0, tier: str = STANDARD
    ) -> Rate | None:
        found = (rate for rate in book._beside(provider, model) if rate.holds(at, input_tokens, tier))
        return next(found, None) or _find(book, provider, model, at, input_tokens, tier)

    patch.setattr(RateBook, "find", find)


def the_context_is_that_of_the_output(patch: pytest.MonkeyPatch) -> None:
    def by_output(rated: Rated) -> Rated:
        return rated._replace(counts=(rated.counts[COUNTED.index("output_tokens")], *rated.counts[1:]))

    patch.setattr(ratestamps, "delivered", lambda call, usage: by_output(_delivered(call, usage)))
    patch.setattr(ratestamps, "in_books", lambda row: by_output(_in_books(row)))


def so_much_context_is_above_it(patch: pytest.MonkeyPatch) -> None:
    def holds(rate: Rate, at: datetime, input_tokens: int = 0, service_tier: str = STANDARD) -> bool:
        return _holds(rate, at, input_tokens + 1, service_tier)

    patch.setattr(Rate, "holds", holds)


def the_hours_are_ignored(patch: pytest.MonkeyPatch) -> None:
    def holds(rate: Rate, at: datetime, input_tokens: int = 0, service_tier: str = STANDARD) -> bool:
        return _holds(replace(rate, hours=None), at, input_tokens, service_tier)

    patch.setattr(Rate, "holds", holds)


def the_oldest_line_is_taken(patch: pytest.MonkeyPatch) -> None:
    def particular(rate: Rate) -> tuple[Any, ...]:
        return 0, rate.service_tier != ANY_TIER, -rate.valid_from.timestamp(), rate.hours is not None

    patch.setattr(resolution, "_particular", particular)


def a_call_is_priced_by_when_it_came_in(patch: pytest.MonkeyPatch) -> None:
    def now(call: Call, usage: Usage) -> Rated:
        return _delivered(call, usage)._replace(started_at=call.started_at + timedelta(hours=1))

    patch.setattr(ratestamps, "delivered", now)


def the_edition_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ratebook, "new_edition", lambda _conn: None)


_next_ids = restate._next_ids


def a_restatement_passes_over_a_project(patch: pytest.MonkeyPatch) -> None:
    def next_ids(conn: Connection, work: restate._Work, upto: UUID | None) -> list[UUID]:
        return _next_ids(conn, replace(work, chosen=sa.and_(work.chosen, calls.c.project_id != 1)), upto)

    patch.setattr(restate, "_next_ids", next_ids)


_shift, _signed = contributions._shift, contributions._signed


def a_restatement_leaves_the_tags_as_they_are(patch: pytest.MonkeyPatch) -> None:
    def shift(conn: Connection, table: Table, which: ColumnElement[bool], sign: int) -> Any:
        return _shift(conn, table, sa.and_(which, calls.c.number < 0) if table is spend_by_tag else which, sign)

    patch.setattr(contributions, "_shift", shift)
    patch.setattr(contributions, "_shifts", {})


def a_restatement_adds_what_it_should_take_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(contributions, "_signed", lambda table, which, _sign: _signed(table, which, +1))
    patch.setattr(contributions, "_shifts", {})


def a_change_of_few_calls_leaves_the_tags_as_they_are(patch: pytest.MonkeyPatch) -> None:
    tables = tuple(table for table in contributions.SPEND_TABLES if table is not spend_by_tag)
    patch.setattr(restate, "SPEND_TABLES", tables)


_lock = restate._lock


def a_restatement_adds_calls_that_are_not_rolled_up(patch: pytest.MonkeyPatch) -> None:
    def lock(*given: Any) -> restate._Locked:
        locked = _lock(*given)
        return restate._Locked(locked.rows, {row["batch_id"] for row in locked.rows})

    patch.setattr(restate, "_lock", lock)


_moved = contributions.moved


def a_change_of_few_calls_takes_nothing_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(contributions, "moved", lambda table, _before, after: _moved(table, [], after))


_cost = contributions._cost


def what_changes_costs_a_billionth_more(patch: pytest.MonkeyPatch) -> None:
    def cost(one: contributions.Contribution, lines: Any) -> dict[str, Any]:
        found = _cost(one, lines)
        return found if not found["amount"] else found | {"amount": found["amount"] + _BILLIONTH}

    patch.setattr(contributions, "_cost", cost)


PLANTS: tuple[Plant, ...] = (
    a_line_holds_at_its_end_still,
    a_line_holds_a_microsecond_late,
    a_withdrawn_line_prices_calls,
    a_withdrawn_alias_leads_on,
    the_tier_is_ignored,
    a_line_for_any_tier_is_for_none,
    an_alias_comes_before_the_name,
    the_context_is_that_of_the_output,
    so_much_context_is_above_it,
    the_hours_are_ignored,
    the_oldest_line_is_taken,
    a_call_is_priced_by_when_it_came_in,
    the_edition_stays,
    a_restatement_passes_over_a_project,
    a_restatement_leaves_the_tags_as_they_are,
    a_restatement_adds_what_it_should_take_out,
    a_change_of_few_calls_leaves_the_tags_as_they_are,
    a_restatement_adds_calls_that_are_not_rolled_up,
    a_change_of_few_calls_takes_nothing_out,
    what_changes_costs_a_billionth_more,
)
