"""The process's one way into its journal.

The journal is opened, and delivery started, by the first call; after a fork both begin anew in the child. What
can't be written is held in memory and tried again; what fails is counted, and never the caller's problem,
unless `ACCOUNTING_JOURNAL_REQUIRED` says that a call which can't be written down must not be sent.
"""

import atexit
import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from threading import RLock, local
from uuid import UUID

from accounting.delivery import BATCH, Delivery, Faults
from accounting.errors import JournalUnavailable
from accounting.gate import Keeper
from accounting.journal import Journal
from accounting.journals import memory_journal, open_journal
from accounting.places import journal_directory, journal_settings, store_url, without_secret
from accounting.usage import Call, Outcome

EXIT_SECONDS = 5.0
GATE_SECONDS = 1.0
"""How long the end waits at most for the thread that asks budgets."""
HOLD_STILL_SECONDS = 1.0
"""How long a fork waits for each of our locks at most."""
MOST_HELD = 10_000
"""Endings kept in memory while the journal can't be written; the oldest go first, and are counted."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A started call: where it is written down. Without a number its start could not be."""

    call: Call
    journal: Journal | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, and the sub-calls that its answer told of. `amends`: an ending was written down before."""

    ticket: Ticket
    call: Call
    sub_calls: tuple[Call, ...] = ()
    amends: bool = False


class Recorder:
    """Writes calls to the journal and sees to their delivery. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.url = store_url()
        self.faults = Faults()
        self.gate = Keeper(self.url, self.faults)
        self._settings = journal_settings()
        self._lock = RLock()
        self._journal: Journal | None = None
        self._delivery: Delivery | None = None
        self._held: deque[Ending] = deque()
        self._adrift: dict[UUID, datetime] = {}  # calls that are in no journal, and when they began
        self._closed = False

    def start(self, call: Call) -> Ticket:
        """Write the call down before it is sent. Raises `JournalUnavailable` only where the journal is required."""
        try:
            journal = self._opened()
            number, call = journal.start(call)
            return Ticket(call, journal, number)
        except Exception as error:
            self.faults.count("journal.start", error)
            if self._settings.required:
                raise JournalUnavailable(
                    f"The call was not sent: it can't be written down in {journal_directory(self.url)} ({error}). "
                    "Make that folder writable, or unset ACCOUNTING_JOURNAL_REQUIRED to let such calls pass."
                ) from error
            self._adrift[call.id] = call.started_at
            return Ticket(call)

    def finish(self, ticket: Ticket, call: Call, sub_calls: tuple[Call, ...] = ()) -> None:
        """Write down how the call ended, and its sub-calls with it."""
        self._finish(Ending(ticket, call, sub_calls))

    def amend(self, call: Call, sub_calls: tuple[Call, ...] = ()) -> None:
        """Write down what became known of a call only after it had ended here, under a number of its own."""
        self._finish(Ending(Ticket(call), call, sub_calls, amends=True))

    def _finish(self, ending: Ending) -> None:
        try:
            self._write(ending)
        except Exception as error:  # noqa: BLE001 - counted, and tried again
            self.faults.count("journal.finish", error)
            self._hold(ending)
            return
        if self._held:
            self._retry_held()
        if self._journal is not None and self._journal.ready >= BATCH and self._delivery is not None:
            self._delivery.nudge()

    def leave(self, ticket: Ticket, call: Call, sub_calls: tuple[Call, ...] = ()) -> None:
        """Have the ending written down soon, by another thread; takes no lock, so it may be called from `__del__`."""
        self._hold(Ending(ticket, call, sub_calls))

    def abandon(self, ticket: Ticket) -> None:
        """End a call whose ending we failed to read: it is in the books, its outcome unknown."""
        self.finish(ticket, replace(ticket.call, outcome=Outcome.UNKNOWN))

    def flush(self, timeout: float) -> bool:
        """Deliver every call that has ended by now; whether that could be done in the time."""
        self._retry_held()
        if self._held:
            return False
        if self._delivery is None:
            return self._journal is None or self._journal.ready == 0
        return self._delivery.flush(timeout)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Deliver within the time, end delivery, and give the journal up for the next process to continue."""
        self.gate.end()
        self._close(timeout)
        self.gate.join(GATE_SECONDS)

    def _close(self, timeout: float) -> None:
        self._retry_held()
        with self._lock:
            self._closed = True
            journal, delivery = self._journal, self._delivery
            self._journal = self._delivery = None
        if journal is None:
            return
        try:
            journal.abandon_open()
        except Exception as error:  # noqa: BLE001 - they stay open in the journal, and its next owner ends them
            self.faults.count("journal.close", error)
        if delivery is not None:
            delivery.stop(timeout)
        journal.close()

    def locks(self) -> "Iterator[RLock]":
        """Who holds all of these knows that no thread of ours is inside a journal or a store; in order of taking."""
        journal, delivery = self._journal, self._delivery
        yield self.gate.busy
        if delivery is not None:
            yield delivery.busy
        yield self._lock
        if journal is not None:
            yield journal.lock

    def disown(self) -> None:
        """In a forked child: the journal is the parent's. Nothing is written to it here, not even by closing it."""
        _inherited.extend((self._journal, self.gate))
        self.gate.disown()
        self._lock = RLock()  # a thread of the parent may have held it
        self._journal = self._delivery = None
        self._held.clear()
        self._closed = True

    def _opened(self) -> Journal:
        if self._journal is None:
            with self._lock:
                self._journal = self._journal or self._open()
        return self._journal

    def _open(self) -> Journal:
        if self._closed:
            raise JournalUnavailable("The program is ending.")
        journal = self._journal_to_write()
        journal.remember("destination", without_secret(self.url))
        journal.remember("closed", "no")
        self.faults.add_from(journal)
        try:
            self._delivery = Delivery(journal, self.url, self.faults, before_round=self._retry_held)
        except RuntimeError as error:  # no thread to be had: the journal keeps the calls for its next owner
            self.faults.count("delivery.start", error)
        return journal

    def _journal_to_write(self) -> Journal:
        directory, settings = journal_directory(self.url), self._settings
        try:
            return open_journal(directory, sync=settings.sync, max_bytes=settings.max_bytes)
        except (OSError, sqlite3.Error, JournalUnavailable) as error:
            if settings.required:
                raise
            told = JournalUnavailable(
                f"No journal can be written in {directory} ({error}). Until that folder is writable and the program is "
                "started again, calls are kept in memory for delivery, and lost if it is killed."
            )
            self.faults.count("journal.open", told)
            return memory_journal(directory, settings.max_bytes)

    def _write(self, ending: Ending) -> None:
        ticket = ending.ticket
        if ending.amends:
            self._opened().amend(ending.call, ending.sub_calls)
        elif ticket.journal is None or ticket.number is None:
            self._opened().add(ending.call, ending.sub_calls)
            self._adrift.pop(ending.call.id, None)
        elif ticket.journal is self._journal:
            ticket.journal.finish(ticket.number, ending.call, ending.sub_calls)
        # else: this process was forked while the call ran; the parent, whose call it is, writes it down.

    def _hold(self, ending: Ending) -> None:
        self._held.append(ending)
        if len(self._held) > MOST_HELD:
            lost = self._held.popleft()
            self._adrift.pop(lost.call.id, None)
            self.faults.note("journal.held_lost")

    def _retry_held(self) -> datetime | None:
        """Write down what could not be before; returns when the oldest call began that still is in no journal."""
        while self._held:
            ending = self._held.popleft()
            try:
                self._write(ending)
            except (sqlite3.Error, OSError, JournalUnavailable):
                self._held.appendleft(ending)
                break
            except Exception as error:  # noqa: BLE001 - no second try will do better; the others' turn must come
                self._adrift.pop(ending.call.id, None)
                self.faults.count("journal.held", error)
        return min(list(self._adrift.values()), default=None)


_recorder: Recorder | None = None
_first = RLock()
_inherited: list[Journal | Keeper | None] = []


def recorder() -> Recorder:
    """The process's recorder."""
    global _recorder
    found = _recorder
    if found is None:
        with _first:
            found = _recorder = _recorder or Recorder()
    return found


def close(timeout: float = EXIT_SECONDS) -> None:
    """Deliver within the time and forget the recorder; the next call begins a new one from the environment."""
    global _recorder
    closing, _recorder = _recorder, None
    if closing is not None:
        closing.close(timeout)


class _Forking(local):
    """The locks that this thread holds while it forks."""

    def __init__(self) -> None:
        self.locks: list[RLock] = []


_forking = _Forking()


def _hold_still() -> None:
    """Before a fork: from a thread inside SQLite at that moment the child would inherit locks that nobody frees."""
    books = _recorder
    for lock in books.locks() if books is not None else ():
        if lock.acquire(timeout=HOLD_STILL_SECONDS):
            _forking.locks.append(lock)


def _go_on() -> None:
    """After the fork, in the parent."""
    while _forking.locks:
        _forking.locks.pop().release()


def _begin_anew() -> None:
    """After a fork the child must not touch the parent's journal: not even to close it, which would tidy its files."""
    global _recorder, _first
    _first = RLock()
    _forking.locks.clear()
    if _recorder is not None:
        _recorder.disown()
        _recorder = None


# Imported before our hooks are registered: it has hooks of its own, and would add them in the midst of a fork that
# waits for delivery to load it.
import_module("filelock")

atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_still, after_in_parent=_go_on, after_in_child=_begin_anew)
