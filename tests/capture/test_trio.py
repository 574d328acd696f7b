"""Calls of programs that run under trio, whose tasks wait for their budgets like asyncio's."""

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

import accounting
from accounting.errors import BudgetExceeded
from accounting.usage import Outcome
from tests.capture.answers import ASK, CHAT, JSON
from tests.capture.conftest import Journaled, end_gate, expect_faults
from tests.capture.gates import Budgets
from tests.capture.wire import Server, plain

trio = pytest.importorskip("trio")
in_both = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)


def run(library: ModuleType, work: Callable[[Any], Awaitable[None]]) -> None:
    async def with_client() -> None:
        limits = library.Limits(max_keepalive_connections=0)
        async with library.AsyncClient(trust_env=False, limits=limits) as client:
            await work(accounting.meter(client))

    trio.run(with_client)


@in_both
def test_calls_pass_as_long_as_there_is_room(
    library: ModuleType, budgets: Budgets, server: Server, journaled: Journaled
) -> None:
    server.says(plain(JSON))
    budgets.limit = 5
    refused: list[str] = []

    async def call(client: Any) -> None:
        try:
            await client.post(server.url + CHAT, json=ASK)
        except BudgetExceeded as error:
            refused.append(error.budget)

    async def at_once(client: Any) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(call, client)

    run(library, at_once)
    assert (len(server.asked), refused) == (5, ["team"] * 7)
    assert sorted(journaled.outcomes(), key=str) == [Outcome.FAILED] * 7 + [Outcome.FINISHED] * 5


@in_both
def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing(
    library: ModuleType, budgets: Budgets, server: Server, journaled: Journaled
) -> None:
    budgets.stalls = "reserve"

    async def give_up(client: Any) -> None:
        with trio.move_on_after(0.2) as scope:
            await client.post(server.url + CHAT, json=ASK)
        assert scope.cancelled_caught

    run(library, give_up)
    budgets.go.set()
    end_gate()
    assert (budgets.reserved, budgets.released) == ({}, [journaled.only().id])
    assert (journaled.outcomes(), server.asked) == ([Outcome.FAILED], [])


@in_both
def test_a_decision_that_takes_too_long_is_none(
    library: ModuleType, budgets: Budgets, server: Server, journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_BUDGET_SECONDS", "0.1")
    budgets.stalls = "reserve"

    async def be_refused(client: Any) -> None:
        with pytest.raises(BudgetExceeded) as raised:
            await client.post(server.url + CHAT, json=ASK)
        assert raised.value.why == "away"

    run(library, be_refused)
    assert journaled.only().refused_by == "team"
    expect_faults("budgets.away")
