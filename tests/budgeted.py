"""Budgets for a test: made in its books, and asked for calls."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from accounting import backfill, budgetperiods, budgets, projects, reservations, stamps, storegate
from accounting.budgetperiods import Period
from accounting.budgets import Budget, Terms
from accounting.cycles import Cycle, Every
from accounting.decisions import Ask, Decision, Mode
from accounting.exposure import Exposure
from accounting.money import exact
from accounting.scopes import Kind, Scope
from accounting.store import reading, transact
from accounting.usage import Call, Outcome, Usage
from tests.books import NOON, Books, made, used

EVERYTHING = Scope(Kind.ALL)
MONTH = Cycle(Every.MONTH)
CARD = """
provider = "wcode"
currency = "CNY"
source = "a test"

[[rate]]
model = "plain"
valid_from = 2026-01-01
input = 1
output = 10
"""
DOLLARS = CARD.replace("CNY", "USD").replace("plain", "dollars")
"""A call of 1000 tokens in and 200 out costs 3 in its currency."""


def budget(
    books: Books,
    limit: str,
    scope: Scope = EVERYTHING,
    *,
    cycle: Cycle = MONTH,
    currency: str = "CNY",
    now: datetime = NOON,
    name: str = "cap",
    mode: Mode = Mode.STRICT,
    **terms: Any,
) -> Budget:
    """A new budget, which knows what was spent before."""
    said = Terms(name=name, limit=exact(limit), mode=mode, **terms)

    def work(conn: Any) -> Budget:
        new = budgets.add(conn, scope, currency, cycle, said, now, "ann@desk")
        backfill.fill(conn, new)
        return new

    return stamps.decide(books.engine, work)


def project(books: Books, name: str, zone: str | None = None) -> Scope:
    """The scope of a project, made if there is none."""

    def work(conn: Any) -> int:
        known = {each.name: each.id for each in projects.known(conn)}
        return known.get(name) or projects.create(conn, name, NOON, "ann@desk", zone=zone).id

    return Scope(Kind.PROJECT, stamps.decide(books.engine, work))


def running(number: int = 1, started_at: datetime = NOON, **changes: Any) -> Call:
    """A call of the plain model that is about to be sent."""
    call = made(started_at, number, request_model="plain", response_model=None, outcome=None, usage=Usage(), **changes)
    return replace(call, http_status=None, ended_at=None, first_token_at=None)


def ended(call: Call, tokens_in: int = 1000, tokens_out: int = 200, **changes: Any) -> Call:
    """The call with its answer: it cost 3."""
    said: dict[str, Any] = {"outcome": Outcome.FINISHED, "http_status": 200, "usage": used(tokens_in, tokens_out)}
    return replace(call, **(said | changes))


def exposed(tokens_in: int = 1000, tokens_out: int = 200, **changes: Any) -> Exposure:
    """What costs 3, likely and at most."""
    said: dict[str, Any] = {"most_input_tokens": tokens_in, "max_tokens": tokens_out, "is_learned": True}
    return Exposure(input_tokens=tokens_in, output_tokens=tokens_out, **(said | changes))


def asks(calls: Iterable[Call], exposure: Exposure | None = None) -> list[Ask]:
    return [Ask(call, exposure or exposed()) for call in calls]


def reserve(
    books: Books, *calls: Call, exposure: Exposure | None = None, lease: timedelta = reservations.LEASE
) -> list[Decision]:
    """What budgets decide about the calls, in one transaction."""

    def work(conn: Any) -> list[Decision]:
        known = storegate.knowledge(conn)
        return reservations.reserve(conn, known, asks(calls, exposure), NOON, lease)

    return transact(books.engine, work)


def periods(books: Books, of: Budget) -> list[Period]:
    with reading(books.engine) as conn:
        return budgetperiods.all_of(conn, of)


def amounts(books: Books, of: Budget, day: date | None = None) -> tuple[Any, ...]:
    """Spent, reserved and held in the period of the day, by default today."""
    first = of.cycle.span(day or NOON.date()).first
    found = {period.place.begins_on: period for period in periods(books, of)}
    period = found.get(first)
    return (period.spent, period.reserved, period.held) if period else (Decimal(0), Decimal(0), Decimal(0))
