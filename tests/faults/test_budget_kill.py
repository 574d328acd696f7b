"""L8 under `kill -9`: wherever a program dies, what a budget set aside is neither leaked nor given back too early."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from accounting import backfill, budgetperiods, reservations, scoped
from accounting.budgets import Budget
from accounting.cycles import Cycle, Every
from accounting.decisions import Mode
from accounting.money import ZERO
from accounting.settling import HELD, RESERVED
from accounting.simulator import Simulator
from accounting.store import reading, transact, writing
from accounting.store.tables import reservations as rows
from accounting.usage import Outcome, UsageSource
from tests.books import Books
from tests.budgeted import CARD, EVERYTHING, budget
from tests.faults.life import Life, Spot

CARDS = [CARD.replace('"plain"', f'"{model}"') for model in ("z-ai/glm-5", "sim/messages")]
PHASES = {
    "reserving, before the commit": (
        Spot("accounting.reservations:reserve", "entering", 3, colours=("tasks",)),
        Spot("accounting.reservations:reserve", "leaving", 3, colours=("threads",)),
    ),
    "reserved, not sent": (
        Spot("accounting.storegate:StoreGate.reserve", "leaving", 4, colours=("threads",)),
        Spot("accounting.capture:Tap.judged", "leaving", 6, colours=("tasks",)),
    ),
    "sent, headers in": (Spot("accounting.capture:Tap.headers", "entering", 9, colours=("tasks",)),),
    "sent, mid-stream": (Spot("accounting.capture:Tap.read", "leaving", 40, colours=("threads",)),),
    "giving back, before the commit": (Spot("accounting.reservations:release", "leaving", 1, colours=("threads",)),),
    "given back": (Spot("accounting.storegate:StoreGate.release", "leaving", 1, colours=("tasks",)),),
    "settling, in the transaction": (
        Spot("accounting.settling:settle", "entering", 2, colours=("threads",)),
        Spot("accounting.settling:_write", "leaving", 2, colours=("tasks",)),
        Spot("accounting.settling:settle", "leaving", 2, colours=("threads",)),
    ),
    "settled, and still in the journal": (
        Spot("accounting.journal:Journal.delivered", "entering", 2, colours=("tasks",)),
    ),
}
LAPSING = (
    Spot("accounting.reservations:_move", "entering", colours=("lapse",)),
    Spot("accounting.reservations:lapse", "leaving", colours=("lapse",)),
)


@dataclass
class Budgeted:
    """The life of programs whose calls a budget covers."""

    life: Life
    books: Books
    cap: Budget

    def let_leases_end(self) -> None:
        """As if a quarter of an hour and more had gone by."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        with writing(self.books.engine) as conn:
            conn.execute(sa.update(rows).where(rows.c.state == RESERVED).values(leased_until=past))

    def aside(self, state: str) -> set[UUID]:
        """The calls for which something is set aside."""
        return {row["call_id"] for row in self.books.rows(rows) if row["state"] == state}


@pytest.fixture
def budgeted(books: Books, tmp_path: Path) -> Iterator[Budgeted]:
    for card in CARDS:
        books.load(card)
    total = Cycle(Every.TOTAL)
    cap = budget(books, "1000000", EVERYTHING, cycle=total, mode=Mode.HARD, now=datetime.now(UTC))
    with Simulator() as provider:
        life = Life(tmp_path, provider, books.engine.url.render_as_string(hide_password=False))
        yield Budgeted(life, books, cap)
        life.end()


def assert_sums_are_those_of_rows(budgeted: Budgeted) -> None:
    """The budget says as spent what its calls cost by themselves, and as set aside what its reservations add up to."""
    # In one snapshot: of a program that was just killed a server may yet end what it was asked.
    with reading(budgeted.books.engine) as conn:
        (period,) = budgetperiods.all_of(conn, budgeted.cap)
        counted = backfill.spent(budgeted.cap, scoped.costs(conn, EVERYTHING, budgeted.cap.counted_from))
        aside = reservations.aside(conn, budgeted.cap)
    amounts = {state: sum((each.amount for each in aside if each.state == state), ZERO) for state in (RESERVED, HELD)}
    assert period.spent == sum((each.spent for each in counted.values()), ZERO)
    assert amounts == {RESERVED: period.reserved, HELD: period.held}


def is_settled(call: dict[str, Any]) -> bool:
    """Whether all is known of its cost, or it can't have any."""
    status = call["http_status"]
    is_error = call["outcome"] == Outcome.FAILED and (status is None or not 200 <= status < 300)
    return is_error or call["usage_source"] == UsageSource.PROVIDER


def test_what_is_set_aside_for_calls_neither_leaks_nor_is_free_too_early_wherever_the_program_is_killed(
    budgeted: Budgeted,
) -> None:
    life = budgeted.life
    for phase, spots in PHASES.items():
        for spot in spots:
            life.die_at(phase, spot)
            assert_sums_are_those_of_rows(budgeted)
    life.die_held("sent, no headers", "threads", "wait=60")
    life.die_held("sent, mid-stream", "tasks", "stall=50%")
    assert budgeted.aside(RESERVED), "nothing was set aside, so the test can't tell"
    budgeted.let_leases_end()
    for spot in LAPSING:
        life.die_at("lapsing", spot)
        assert_sums_are_those_of_rows(budgeted)
    transact(budgeted.books.engine, reservations.lapse)
    assert not budgeted.aside(RESERVED)
    life.accounting("deliver")
    assert_sums_are_those_of_rows(budgeted)

    by_key = {key: dict(call) for key, (call,) in life.books().calls.items()}
    calls = {call["id"]: call for call in by_key.values()}
    held = budgeted.aside(HELD)
    assert held <= set(calls), "leaked: set aside for calls that nobody knows"
    assert not [id_ for id_ in held if is_settled(calls[id_])], "leaked: set aside for calls whose cost is known"
    sent = [by_key[line.key] for line in life.provider.ledger]
    unsure = {call["id"] for call in sent if not is_settled(call)}
    assert unsure, "all is settled, so the test can't tell"
    assert unsure <= held, "free too early: the provider may charge these"
