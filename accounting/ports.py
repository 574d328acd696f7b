"""Where the capture side and the store side meet, and nowhere else.

The journal's owner hands batches to a `Destination`; which one is loaded by name on first use, so that an
application that only wants metering imports no database toolkit until its delivery thread does.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from typing import Protocol, cast
from uuid import UUID

from accounting import places
from accounting.coverage import Coverage
from accounting.decisions import Ask, BudgetState, Decision
from accounting.usage import Call


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished row of a journal: its number there, and the call's bytes as journaled."""

    number: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What others need to know of a journal, as it will stand once the batch it comes with is delivered.

    `highest` numbers have been started without gaps from 1; of these `open` have no outcome yet and `backlog`
    have one but are not delivered; `oldest_undelivered_at` is the earliest start among both. `faults` counts,
    by step and since the journal began, what went wrong on our side. `closed_at` is set once by a clean end.
    """

    journal: UUID
    host: str
    highest: int
    open: int
    backlog: int
    oldest_undelivered_at: datetime | None
    seen_at: datetime
    closed_at: datetime | None = None
    faults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of one journal in the order of their numbers; a heartbeat has none."""

    source: SourceReport
    entries: tuple[Entry, ...] = ()


class Verdict(StrEnum):
    """What became of an entry. After any of these the journal may let it go.

    `SUPERSEDED`: the call was in the books with another outcome, and what is known best is there now.
    """

    INSERTED = "inserted"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A verdict for the number of each entry, and what is held of the journal now that the batch is in.

    All its numbers up to `contiguous` are held, and `ahead` more beyond it. A journal that delivered more than that
    knows of a store that has lost something, as one restored from a backup has.
    """

    verdicts: Mapping[int, Verdict]
    contiguous: int
    ahead: int


class Destination(Protocol):
    """Takes batches. `deliver` returns only after they are durable, or raises, and then nothing of it counts."""

    def deliver(self, batch: Batch) -> Receipt:
        """What became of the entries, and what is held of their journal."""

    def estimates(self) -> bytes | None:
        """What its store has learned for estimates, as the file of a host holds it; None where that is nothing yet."""

    def close(self) -> None:
        """Give back connections. The destination is not used again."""


class Gate(Protocol):
    """Asks the budgets of a store. Used by one thread; any method may raise, and then the store can't be asked."""

    def coverage(self) -> Coverage:
        """Which budgets cover which calls now; cheap where nothing changed since it was asked last."""

    def reserve(self, asks: Sequence[Ask]) -> list[Decision]:
        """Decide about calls that are about to be sent, in their order, in one transaction.

        Of each, all hard budgets that cover it set aside what it may cost, or none does. Durable on return.
        """

    def release(self, call_ids: Collection[UUID]) -> None:
        """Give back what was set aside for calls that were not sent, or answered with an HTTP error."""

    def states(self, call: Call) -> list[BudgetState]:
        """Where the budgets stand that cover the call, soft ones included and paused ones not, by name."""

    def close(self) -> None:
        """Give back connections. The gate is not used again."""


_DESTINATIONS = {"sqlite": "accounting.ingest:StoreDestination", "postgresql": "accounting.ingest:StoreDestination"}


def open_destination(url: str) -> Destination:
    """The destination that takes batches for a store's URL."""
    module, _, name = _DESTINATIONS[places.kind(url)].partition(":")
    return cast(Destination, getattr(import_module(module), name)(url))


_GATES = {"sqlite": "accounting.storegate:StoreGate", "postgresql": "accounting.storegate:StoreGate"}


def open_gate(url: str) -> Gate:
    """The gate that asks the budgets of the store at the URL."""
    module, _, name = _GATES[places.kind(url)].partition(":")
    return cast(Gate, getattr(import_module(module), name)(url))
