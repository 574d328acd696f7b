"""What is done by the clock. APScheduler only rings the bell.

What is due, who is on it and until when stands in `jobs`, and each run is a row of `job_runs`. So two
schedulers, a late one, or one killed half-way do no harm: a lease lapses and the next ring takes over, and the
work itself may be done twice, as it claims in its own transactions what it does.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import Connection, Engine, or_, select, update

from accounting import delivery, learning, rerating, reservations, rollup
from accounting.restate import by_job
from accounting.restated import Restated
from accounting.settings import whoami
from accounting.sheets import counted
from accounting.store import insert, reading, transact, writing
from accounting.store.tables import job_runs, jobs, store

log = logging.getLogger(__name__)

GONE_AFTER = timedelta(days=7)
"""A job that has not run for so long was that of a host which is gone."""

KEPT_RUNS = 50_000
"""So many last runs are kept: about a week of them."""

PRICING_AT_ONCE = timedelta(minutes=5)
"""So long unpriced calls are priced in one run, once a rate for them has arrived."""

RINGS = 3
"""The bell rings so often in a job's interval, so that a job is late by a third of it at most."""

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a job works with. `stopped` asks one that takes long to leave the rest to its next run."""

    engine: Engine
    url: str
    clock: Clock
    stopped: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Job:
    """Work that falls due every so often; `work` says in a few words what it did, or nothing.

    `lease` bounds how long a run that was killed keeps others away.
    """

    name: str
    every: timedelta
    lease: timedelta
    work: Callable[[Desk], str]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job: running, done or failed; `detail` is empty where there was nothing to do."""

    id: int
    job: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    detail: str


def _roll(desk: Desk) -> str:
    rolled = rollup.roll_all(desk.engine, desk.clock)
    return _from(rolled.calls, counted(rolled.batches, "batch", "batches")) if rolled.batches else ""


def _deliver_orphans(desk: Desk) -> str:
    with reading(desk.engine) as conn:
        restored_at = conn.scalar(select(store.c.restored_at))
    drained = delivery.deliver_orphans(desk.url, restored_at=restored_at)
    return _from(drained.calls, counted(drained.journals, "journal")) if drained.journals else ""


def _learn(desk: Desk) -> str:
    learned = learning.learn(desk.engine, desk.clock)
    return f"learned from {counted(learned.calls, 'call')}" if learned.calls else ""


def _price(desk: Desk) -> str:
    """A run is stopped before its lease lapses; the next goes on where it was."""
    until, done = desk.clock() + PRICING_AT_ONCE, Restated()

    def progress(so_far: Restated) -> None:
        nonlocal done
        done = so_far
        if desk.stopped.is_set() or desk.clock() >= until:
            raise _Enough

    try:
        rerating.price_arrivals(desk.engine, desk.clock, by_job(whoami()), progress)
    except _Enough:
        return f"priced {counted(done.changed, 'call')}; the next run goes on"
    return f"priced {counted(done.changed, 'call')}" if done.changed else ""


class _Enough(Exception):
    """Raised between two steps of a job, each of which is whole."""


def _lapse(desk: Desk) -> str:
    """What is set aside for calls that nobody has heard of for long is held until somebody does."""
    held = 0
    while not desk.stopped.is_set() and (more := transact(desk.engine, reservations.lapse)):
        held += more
    return f"holds what was set aside for {counted(held, 'call')}" if held else ""


def _from(calls: int, where: str) -> str:
    return f"{counted(calls, 'call')} from {where}"


# Anybody can roll up; the journals of a host can be delivered there alone, so no host waits for another's turn.
JOBS = (
    Job("rollup", timedelta(seconds=15), timedelta(minutes=5), _roll),
    Job(f"deliver on {socket.gethostname()}", timedelta(minutes=1), timedelta(minutes=15), _deliver_orphans),
    Job("prices", timedelta(minutes=1), timedelta(minutes=15), _price),
    Job("reservations", timedelta(minutes=1), timedelta(minutes=5), _lapse),
    Job("estimates", timedelta(hours=1), timedelta(minutes=15), _learn),
)


def ring(desk: Desk, job: Job) -> Run | None:
    """Run the job if it is due and nobody is on it; None if not. A fault ends in the run's row, and is not raised."""
    with reading(desk.engine) as conn:
        if not conn.scalar(select(_due(job, desk.clock()))):
            return None
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    with writing(desk.engine) as conn:
        run = claim(conn, job, desk.clock(), holder)
    if run is None:
        return None
    state, detail = _attempt(desk, job)
    with writing(desk.engine) as conn:
        return finish(conn, job, run, holder, state, detail, desk.clock())


def claim(conn: Connection, job: Job, now: datetime, holder: str) -> int | None:
    """Take the job's lease and begin a run, whose id is returned; None if it isn't due or another holds it."""
    conn.execute(insert(conn, jobs).values(name=job.name, due_at=now).on_conflict_do_nothing())
    taken = conn.execute(
        update(jobs)
        .where(jobs.c.name == job.name, *_free(job, now))
        .values(leased_until=now + job.lease, leased_by=holder)
    )
    if taken.rowcount == 0:
        return None
    _bury(conn, job, now)
    begun = conn.execute(sa.insert(job_runs).values(job=job.name, started_at=now, state="running"))
    assert begun.inserted_primary_key is not None  # noqa: S101 - the table has one
    return int(begun.inserted_primary_key[0])


def finish(conn: Connection, job: Job, run: int, holder: str, state: str, detail: str, now: datetime) -> Run:
    """Write down how the run ended; give the lease back, unless it has lapsed and is another's by now."""
    started_at = conn.scalar(select(job_runs.c.started_at).where(job_runs.c.id == run)) or now
    # The job before its runs, as in `claim`: the two may meet once a lease has lapsed.
    conn.execute(
        update(jobs)
        .where(jobs.c.name == job.name, jobs.c.leased_by == holder)
        .values(leased_until=None, leased_by=None, due_at=started_at + job.every)
    )
    conn.execute(update(job_runs).where(job_runs.c.id == run).values(state=state, ended_at=now, detail=detail))
    conn.execute(sa.delete(job_runs).where(job_runs.c.id <= run - KEPT_RUNS))
    conn.execute(sa.delete(jobs).where(jobs.c.due_at < now - GONE_AFTER))
    return Run(run, job.name, started_at, now, state, detail)


def last_runs(conn: Connection) -> list[Run]:
    """The last run of each job, by the job's name."""
    last = select(sa.func.max(job_runs.c.id)).group_by(job_runs.c.job)
    rows = conn.execute(select(job_runs).where(job_runs.c.id.in_(last)).order_by(job_runs.c.job))
    return [Run(row.id, row.job, row.started_at, row.ended_at, row.state, row.detail or "") for row in rows]


@contextmanager
def ringing(desk: Desk, jobs: Sequence[Job], told: Callable[[Run], None]) -> Iterator[None]:
    """Ring for the jobs in the background; `told` gets each run as it ends. Leaving waits for runs under way."""
    bell = BackgroundScheduler(timezone=UTC)
    said: dict[str, str] = {}
    for job in jobs:
        bell.add_job(
            _pull,
            IntervalTrigger(seconds=job.every.total_seconds() / RINGS, timezone=UTC),
            args=(desk, job, told, said),
            next_run_time=datetime.now(UTC),
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
    bell.start()
    try:
        yield
    finally:
        desk.stopped.set()
        bell.shutdown(wait=True)


def _pull(desk: Desk, job: Job, told: Callable[[Run], None], said: dict[str, str]) -> None:
    """Ring once. What keeps a job from running is said once, not at each ring for as long as the store is away."""
    try:
        if (run := ring(desk, job)) is not None:
            told(run)
        said.pop(job.name, None)
    except Exception as error:  # noqa: BLE001 - the next ring tries again
        fault = f"{type(error).__name__}: {error}"
        if said.get(job.name) != fault:
            log.warning("Job %s can't run, and is tried again: %s", job.name, fault)
        said[job.name] = fault


def _attempt(desk: Desk, job: Job) -> tuple[str, str]:
    try:
        return "done", job.work(desk)
    except Exception as error:  # noqa: BLE001 - kept in the run's row, where a person sees it
        return "failed", f"{type(error).__name__}: {error}"


def _due(job: Job, now: datetime) -> sa.ColumnElement[bool]:
    waiting = select(jobs.c.name).where(jobs.c.name == job.name, sa.not_(sa.and_(*_free(job, now))))
    return sa.not_(waiting.exists())


def _free(job: Job, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    # A time further ahead than any that is written now comes from a clock that has since been put back.
    due = or_(jobs.c.due_at <= now, jobs.c.due_at > now + job.every)
    lapsed = or_(jobs.c.leased_until.is_(None), jobs.c.leased_until <= now, jobs.c.leased_until > now + job.lease)
    return due, lapsed


def _bury(conn: Connection, job: Job, now: datetime) -> None:
    """A run still called running by a job that nobody holds was killed."""
    conn.execute(
        update(job_runs)
        .where(job_runs.c.job == job.name, job_runs.c.state == "running")
        .values(state="failed", ended_at=now, detail="Its lease lapsed: whoever ran it was killed or is stuck.")
    )
