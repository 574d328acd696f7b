"""Journal -> Destination: a background thread hands ended calls over in batches and never gives up.

A batch goes out when enough calls have ended or the oldest has waited a moment; with nothing to deliver, a
heartbeat a minute says that the journal is alive. While the store is away the thread backs off, with jitter,
and the journal keeps everything.
"""

import json
import logging
import random
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event, RLock, Thread

from accounting import replay, snapshots
from accounting.errors import AccountingError, StoreAway, Undelivered
from accounting.journal import Journal
from accounting.journals import orphans
from accounting.places import journal_directory, journal_settings
from accounting.ports import Batch, Destination, SourceReport, open_destination

log = logging.getLogger("accounting")

BATCH = 500
AGE = 1.0
"""Seconds an ended call waits at most before its batch goes out."""
HEARTBEAT = 60.0
LONGEST_PAUSE = 60.0

COUNTED_ANEW = 10_000
"""A longer backlog is not counted anew, as callers wait for the journal meanwhile: 2 ms for so many."""

ASKING_EVERY = timedelta(hours=1)
"""How often a journal that nobody owns any more is held against what the store has of it."""


class Faults:
    """Counts, by step, what went wrong on our side; the counts travel to the store with each batch."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._counts: Counter[str] = Counter()
        if journal is not None:
            self.add_from(journal)

    def count(self, step: str, error: BaseException) -> None:
        """Count a fault, and log the first of each step. Nothing of the call is logged, only where we failed."""
        self._counts[step] += 1
        if self._counts[step] == 1:
            # Our own errors say what to do; another's message may carry anything.
            advice = f" {error}" if isinstance(error, AccountingError) else ""
            what = f"step {step!r} ({type(error).__name__})"
            log.warning("Metering failed at %s; calls go on unless a budget refuses them.%s", what, advice)

    def note(self, step: str) -> None:
        """Count a fault where nothing may be logged, as a log takes locks."""
        self._counts[step] += 1

    def add_from(self, journal: Journal) -> None:
        """Go on from what former owners of the journal counted."""
        self._counts.update(json.loads(journal.fact("faults") or "{}"))

    def counts(self) -> dict[str, int]:
        return dict(self._counts)


def hand_over(
    journal: Journal,
    destination: Destination,
    faults: Faults,
    *,
    closing: bool = False,
    oldest_elsewhere: datetime | None = None,
) -> int:
    """Deliver one batch, or a heartbeat where nothing is ready; returns how many calls it held.

    With `closing` a report that leaves nothing behind says that the journal has come to a clean end.
    `oldest_elsewhere` is the earliest start of a call that could not be journaled, and still may be.
    """
    counts = faults.counts()
    with suppress(sqlite3.Error):  # a full disk must not keep the counts from the store
        journal.remember("faults", json.dumps(counts))
    entries = tuple(journal.entries(BATCH))
    standing = journal.standing(datetime.now(UTC), frozenset(entry.number for entry in entries))
    starts = [start for start in (standing.oldest_undelivered_at, oldest_elsewhere) if start is not None]
    is_end = closing and standing.open == 0 and standing.backlog == 0 and not starts
    report = SourceReport(
        journal=journal.id,
        host=socket.gethostname(),
        highest=standing.highest,
        open=standing.open,
        backlog=standing.backlog,
        oldest_undelivered_at=min(starts, default=None),
        seen_at=standing.at,
        closed_at=standing.at if is_end else None,
        faults=counts,
    )
    receipt = destination.deliver(Batch(report, entries))
    journal.delivered(receipt.verdicts.keys() & {entry.number for entry in entries}, standing.at)
    if is_end:
        journal.remember("closed", "yes")
    replay.mend(journal, receipt)
    return len(entries)


class Delivery:
    """The thread that empties one journal into one destination.

    `before_round` is called each time it looks, and says when the oldest call began that is in no journal yet.
    """

    def __init__(self, journal: Journal, url: str, faults: Faults, before_round: Callable[[], datetime | None]) -> None:
        self._journal = journal
        self._url = url
        self._faults = faults
        self._before_round = before_round
        self._destination: Destination | None = None
        self.busy = RLock()  # held while the journal or the store is worked on
        self._failures = 0  # in a row
        self._is_hopeless = False
        self._learn_at = 0.0
        self._bell = Event()  # somebody wants a round now
        self._round = Event()  # a round has ended
        self._stop_at: float | None = None
        self._thread = Thread(target=self._run, name="accounting-delivery", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Enough calls have ended to make a batch. While the store is away that hurries nothing."""
        if not self._failures:
            self._bell.set()

    def flush(self, timeout: float) -> bool:
        """Deliver every call that has ended by now; False if the time was too short, or the store is away."""
        deadline = time.monotonic() + timeout
        goal = self._journal.highest
        while not self._journal.is_delivered(goal):
            left = deadline - time.monotonic()
            if left <= 0 or not self._thread.is_alive():
                return False
            self._round.clear()
            self._bell.set()
            self._round.wait(left)
            if self._failures:  # the store is away: ask again soon, but not in a spin
                time.sleep(min(left, 0.25))
        return True

    def stop(self, timeout: float) -> None:
        """Deliver what can be delivered in the time, say goodbye to the store, and end the thread."""
        self._stop_at = time.monotonic() + timeout
        self._bell.set()
        self._thread.join(timeout + 1)

    def _run(self) -> None:
        heartbeat_at = 0.0
        while True:
            stop_at = self._stop_at
            is_due = stop_at is not None or time.monotonic() >= heartbeat_at
            if self._hand_over_all(is_due, closing=stop_at is not None) and is_due:
                heartbeat_at = time.monotonic() + HEARTBEAT
            self._round.set()
            if stop_at is not None and (not self._failures or self._is_hopeless or time.monotonic() >= stop_at):
                break
            self._bell.wait(pause(self._failures) if self._failures and stop_at is None else AGE)
            self._bell.clear()
        if self._destination is not None:
            self._destination.close()

    def _hand_over_all(self, heartbeat: bool, closing: bool) -> bool:
        """Hand over all that is ready, and a report if one is due; returns whether the store took it."""
        try:
            with self.busy:
                oldest = self._before_round()
                self._destination = self._destination or open_destination(self._url)
                if heartbeat and self._journal.ready <= COUNTED_ANEW:
                    self._journal.recount()
            held = BATCH if heartbeat or self._journal.ready else 0
            while held == BATCH or replay.is_under_way(self._journal):
                with self.busy:
                    held = hand_over(
                        self._journal, self._destination, self._faults, closing=closing, oldest_elsewhere=oldest
                    )
            self._journal.forget(datetime.now(UTC) - journal_settings().keep)
            self._journal.tidy(idle=heartbeat)
        except Exception as error:  # noqa: BLE001 - whatever it is: the journal keeps the calls, and we try again
            self._failures += 1
            # Only a person can mend what our own errors tell of, but for this one.
            self._is_hopeless = isinstance(error, AccountingError) and not isinstance(error, StoreAway)
            self._faults.count("deliver", error)
            log.debug("Delivery to the store failed: %s", error)
            return False
        self._failures = 0
        if heartbeat and not closing:
            self._learn(self._destination)
        return True

    def _learn(self, destination: Destination) -> None:
        """Fetch what the store has learned for estimates, if it is time. Without it the last or the priors hold."""
        if time.monotonic() < self._learn_at:
            return
        self._learn_at = time.monotonic() + snapshots.FRESH_SECONDS
        try:
            with self.busy:
                snapshots.refresh(snapshots.file_of(self._url), destination.estimates, time.time())
        except Exception as error:  # noqa: BLE001 - calls are delivered all the same
            self._faults.count("estimates", error)


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubling, capped, and jittered against herds."""
    return min(LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 12)) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


@dataclass(frozen=True, slots=True)
class Drained:
    """What was delivered out of journals without an owner."""

    journals: int
    calls: int


def deliver_orphans(
    url: str,
    progress: Callable[[int], None] | None = None,
    meant_for: str | None = None,
    *,
    asking_every: timedelta = ASKING_EVERY,
    restored_at: datetime | None = None,
    again: bool = False,
) -> Drained:
    """Deliver the journals whose processes are gone. Calls they left open go as unknown.

    Those that have delivered everything are held against the store so often, in case it has lost some since, and at
    once where they have not been since it came back from a backup, at `restored_at`; `again` sends whatever is kept in
    any case. `progress` is told after each batch how many calls were delivered so far.
    `meant_for` takes the journals that were to go to the store at that URL instead, as a person may ask whose URL was
    mistyped. A journal that can't be delivered stops no other: `Undelivered` is raised once those are through. What
    keeps the store from taking any is raised at once. The journals then keep everything, and the same command goes on
    where it stopped.
    """
    directory = journal_directory(meant_for or url)
    with _Round(url, progress or (lambda _calls: None), asking_every, restored_at, again) as round_:
        for journal in orphans(directory) if directory.is_dir() else ():
            round_.take(journal)
    if round_.failed:
        raise Undelivered(round_.failures())
    return round_.drained


@dataclass(slots=True)
class _Round:
    """One way past the journals without an owner."""

    url: str
    progress: Callable[[int], None]
    asking_every: timedelta
    restored_at: datetime | None
    again: bool
    drained: Drained = Drained(0, 0)
    failed: list[str] = field(default_factory=list)
    destination: Destination | None = None

    def __enter__(self) -> "_Round":
        return self

    def __exit__(self, *_error: object) -> None:
        if self.destination is not None:
            self.destination.close()

    def take(self, journal: Journal) -> None:
        """Deliver the journal if there is reason to, and let it go."""
        try:
            if _has_news(journal) or (_is_kept(journal) and self._asks(journal)):
                self._deliver(journal)
        except (AccountingError, OSError):
            raise  # the next one would fare no better
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are not to wait for it
            self.failed.append(f"{journal.file}: {_first_line(error)}")
        finally:
            journal.close()

    def _asks(self, journal: Journal) -> bool:
        """Whether it is to be held against what the store has of it."""
        # Not whether it was asked before: the store may have been restored by the clock of another host.
        is_restored = self.restored_at is not None and journal.fact("restored_at") != str(self.restored_at)
        return self.again or is_restored or _asked_at(journal) <= datetime.now(UTC) - self.asking_every

    def failures(self) -> str:
        what = "1 journal" if len(self.failed) == 1 else f"{len(self.failed)} journals"
        return (
            f"{what} could not be delivered and keep their calls; all others were. The same command tries "
            f"again, and accounting doctor tells more. {'; '.join(self.failed)}"
        )

    def _deliver(self, journal: Journal) -> None:
        if self.again:
            replay.again(journal)
        had_ended, before = journal.fact("closed") == "yes", self.drained
        self.destination = self.destination or open_destination(self.url)
        for held in _drain(journal, self.destination):
            self.drained = replace(self.drained, calls=self.drained.calls + held)
            self.progress(self.drained.calls)
        journal.remember("asked_at", datetime.now(UTC).isoformat())
        if self.restored_at is not None:
            journal.remember("restored_at", str(self.restored_at))
        if self.drained.calls > before.calls or not had_ended:
            self.drained = replace(self.drained, journals=self.drained.journals + 1)


def _first_line(error: Exception) -> str:
    """What went wrong, without the statement that a database adds."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def waiting_for_others(url: str) -> dict[str, int]:
    """How many calls wait in journals without an owner for another store than this, by that store's URL."""
    ours = journal_directory(url)
    waiting: Counter[str] = Counter()
    for directory in sorted(ours.parent.iterdir()) if ours.parent.is_dir() else ():
        for journal in orphans(directory) if directory != ours else ():
            if journal.ready:
                waiting[journal.fact("destination") or directory.name] += journal.ready
            journal.close()
    return dict(waiting)


def _has_news(journal: Journal) -> bool:
    """Whether it has something to deliver, or its end to report."""
    has_reported = journal.highest or journal.fact("promised")
    return bool(journal.ready or (has_reported and journal.fact("closed") != "yes"))


def _is_kept(journal: Journal) -> bool:
    """False where nothing was left to keep, and the journal is deleted."""
    journal.forget(datetime.now(UTC) - journal_settings().keep)
    if journal.is_empty:
        journal.delete()
        return False
    return True


def _asked_at(journal: Journal) -> datetime:
    """When the journal was last held against what the store has of it."""
    return datetime.fromisoformat(journal.fact("asked_at") or "1970-01-01T00:00:00+00:00")


def _drain(journal: Journal, destination: Destination) -> Iterator[int]:
    """Deliver the journal batch by batch; how many calls each held."""
    faults = Faults(journal)
    held = BATCH
    while held == BATCH or replay.is_under_way(journal):
        yield (held := hand_over(journal, destination, faults, closing=True))
