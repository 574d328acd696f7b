import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, update

from accounting import restate, scheduler
from accounting.places import sqlite_url
from accounting.scheduler import Desk, Job, Run, _pull, claim, finish, last_runs, ring, ringing
from accounting.store import open_engine, reading, writing
from accounting.store.tables import calls, job_runs, jobs, restatements
from tests.books import Books, made

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


class Work:
    """A job's work that counts how often it was done."""

    def __init__(self, says: str = "") -> None:
        self.done = 0
        self.says = says

    def __call__(self, desk: Desk) -> str:
        self.done += 1
        return self.says


@pytest.fixture
def desk(books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    return Desk(books.engine, books.url, Clock())


def put(desk: Desk, at: datetime) -> None:
    assert isinstance(desk.clock, Clock)
    desk.clock.at = at


def minutely(work: Work) -> Job:
    return Job("rollup", MINUTE, 5 * MINUTE, work)


def states(engine: Engine) -> list[str]:
    with reading(engine) as conn:
        return list(conn.scalars(select(job_runs.c.state).order_by(job_runs.c.id)))


def test_a_run_is_a_row_with_its_start_end_and_what_it_did(desk: Desk) -> None:
    run = ring(desk, minutely(Work("3 calls")))
    assert run == Run(1, "rollup", NOON, NOON, "done", "3 calls")
    with reading(desk.engine) as conn:
        assert last_runs(conn) == [run]


def test_a_job_is_not_done_again_before_it_is_due(desk: Desk) -> None:
    job = minutely(work := Work())
    ring(desk, job)
    put(desk, NOON + MINUTE - timedelta(microseconds=1))
    assert ring(desk, job) is None
    put(desk, NOON + MINUTE)
    assert ring(desk, job) is not None
    assert work.done == 2


def test_a_job_that_was_missed_for_days_is_done_once_and_not_made_up_for(desk: Desk) -> None:
    job = minutely(work := Work())
    ring(desk, job)
    put(desk, NOON + timedelta(days=3))
    ring(desk, job)
    assert ring(desk, job) is None
    assert work.done == 2


def test_a_failure_is_a_row_and_the_job_is_due_again(desk: Desk) -> None:
    def fail(desk: Desk) -> str:
        raise OSError("disk full")

    job = Job("rollup", MINUTE, 5 * MINUTE, fail)
    run = ring(desk, job)
    assert run is not None
    assert (run.state, run.detail) == ("failed", "OSError: disk full")
    put(desk, NOON + MINUTE)
    assert ring(desk, replace(job, work=Work("ok"))) is not None
    assert states(desk.engine) == ["failed", "done"]


def test_while_one_holds_the_lease_another_gets_nothing(desk: Desk) -> None:
    job = minutely(Work())
    with writing(desk.engine) as conn:
        assert claim(conn, job, NOON, "one") is not None
    put(desk, NOON + 2 * MINUTE)
    assert ring(desk, job) is None
    with writing(desk.engine) as conn:
        assert claim(conn, job, NOON + 2 * MINUTE, "other") is None


def test_two_schedulers_at_the_same_moment_do_it_once(desk: Desk) -> None:
    job = minutely(work := Work())
    start = threading.Barrier(4)

    def both() -> None:
        start.wait()
        ring(desk, job)

    threads = [threading.Thread(target=both) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert work.done == 1
    assert states(desk.engine) == ["done"]


def test_the_lease_of_a_killed_run_lapses_and_its_row_says_so(desk: Desk) -> None:
    job = minutely(work := Work("done after all"))
    with writing(desk.engine) as conn:
        claim(conn, job, NOON, "killed")
    put(desk, NOON + job.lease)
    assert ring(desk, job) is not None
    assert work.done == 1
    assert states(desk.engine) == ["failed", "done"]


def test_a_run_that_outlived_its_lease_does_not_take_away_the_next_ones(desk: Desk) -> None:
    job = minutely(Work())
    with writing(desk.engine) as conn:
        slow = claim(conn, job, NOON, "slow")
    late = NOON + job.lease
    with writing(desk.engine) as conn:
        claim(conn, job, late, "next")
    assert slow is not None
    with writing(desk.engine) as conn:
        finish(conn, job, slow, "slow", "done", "", late)
        assert conn.scalar(select(jobs.c.leased_by)) == "next"
    assert states(desk.engine) == ["done", "running"]


def test_a_run_that_ends_as_its_lapsed_lease_is_taken_waits_for_its_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = minutely(Work())
    with writing(desk.engine) as conn:
        slow = claim(conn, job, NOON, "slow")
    assert slow is not None
    bury, late, ends = scheduler._bury, NOON + job.lease, list[Future[Run]]()

    def end() -> Run:
        with writing(desk.engine) as conn:
            return finish(conn, job, slow, "slow", "done", "", late)

    def meanwhile(*args: Any) -> None:
        ends.append(pool.submit(end))
        wait(ends, timeout=0.3)
        bury(*args)

    monkeypatch.setattr(scheduler, "_bury", meanwhile)
    with ThreadPoolExecutor() as pool, writing(desk.engine) as conn:
        claim(conn, job, late, "next")
    assert [one.result().state for one in ends] == ["done"]
    assert states(desk.engine) == ["done", "running"]


def test_a_clock_put_back_a_year_delays_nothing(desk: Desk) -> None:
    job = minutely(work := Work())
    ring(desk, job)
    put(desk, NOON - timedelta(days=365))
    ring(desk, job)
    assert work.done == 2


def test_a_lease_taken_before_the_clock_was_put_back_lapses(desk: Desk) -> None:
    job = minutely(work := Work())
    with writing(desk.engine) as conn:
        claim(conn, job, NOON, "killed")
    put(desk, NOON - timedelta(days=365))
    ring(desk, job)
    assert work.done == 1


def test_only_so_many_runs_are_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "KEPT_RUNS", 3)
    for minute in range(6):
        put(desk, NOON + minute * MINUTE)
        ring(desk, minutely(Work()))
    with reading(desk.engine) as conn:
        assert conn.scalar(select(func.min(job_runs.c.id))) == 4
        assert conn.scalar(select(func.count()).select_from(job_runs)) == 3


def test_a_ring_that_finds_nothing_due_writes_nothing(desk: Desk) -> None:
    job = minutely(Work())
    ring(desk, job)
    with writing(desk.engine):  # a writer would wait here for ever
        assert ring(desk, job) is None


def test_the_bell_rings_for_each_job_and_leaving_waits_for_the_run_under_way(desk: Desk) -> None:
    told: list[Run] = []
    begun, go_on = threading.Event(), threading.Event()

    def slowly(desk: Desk) -> str:
        begun.set()
        go_on.wait(10)
        return "slow"

    table = (Job("slow", MINUTE, MINUTE, slowly), Job("quick", MINUTE, MINUTE, Work("quick")))
    with ringing(desk, table, told.append):
        assert begun.wait(10)
        threading.Timer(0.2, go_on.set).start()
    assert sorted(run.detail for run in told) == ["quick", "slow"]


def test_a_job_is_done_again_and_again_while_the_bell_rings(desk: Desk) -> None:
    enough = threading.Event()
    job = Job("rollup", timedelta(seconds=0.05), MINUTE, Work())
    runs: list[Run] = []

    def told(run: Run) -> None:
        runs.append(run)
        if len(runs) == 3:
            enough.set()

    with ringing(replace(desk, clock=lambda: datetime.now(UTC)), (job,), told):
        assert enough.wait(20)


def test_while_the_store_is_away_that_is_said_once(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = replace(desk, engine=open_engine(sqlite_url(tmp_path / "away.sqlite3")))
    runs: list[Run] = []
    said: dict[str, str] = {}
    for where in (away, away, away, desk, away, away):
        _pull(where, minutely(Work()), runs.append, said)
    assert len(runs) == 1
    one, other = (record.getMessage() for record in caplog.records if record.name == scheduler.log.name)
    assert one == other
    assert "Job rollup can't run, and is tried again: StoreMissing: There is no store at sqlite://" in one


def test_the_shipped_jobs_roll_up_deliver_price_hold_and_learn(desk: Desk) -> None:
    runs = [ring(desk, job) for job in scheduler.JOBS]
    deliver = f"deliver on {socket.gethostname()}"
    assert [(run.job, run.state) for run in runs if run] == [
        ("rollup", "done"),
        (deliver, "done"),
        ("prices", "done"),
        ("reservations", "done"),
        ("estimates", "done"),
    ]


def test_jobs_of_hosts_that_are_gone_are_forgotten(desk: Desk) -> None:
    with writing(desk.engine) as conn:
        long_ago = NOON - scheduler.GONE_AFTER - timedelta(seconds=1)
        conn.execute(insert(jobs).values(name="deliver on gone", due_at=long_ago))
    ring(desk, minutely(Work()))
    with reading(desk.engine) as conn:
        assert "deliver on gone" not in conn.scalars(select(jobs.c.name)).all()


def test_a_due_time_is_what_the_table_says(desk: Desk) -> None:
    job = minutely(work := Work())
    ring(desk, job)
    with writing(desk.engine) as conn:
        conn.execute(update(jobs).values(due_at=NOON))
    ring(desk, job)
    assert work.done == 2


PRICES = next(job for job in scheduler.JOBS if job.name == "prices")

LATE_CARD = """
provider = "wcode"
currency = "CNY"
source = "a list that came late"
[[rate]]
model = "nobody/knows"
valid_from = 2026-01-01
input = 0.1
output = 0
"""


def unpriced(books: Books) -> int:
    return [row["rate_id"] for row in books.rows(calls)].count(0)


def test_calls_are_priced_a_minute_after_a_rate_for_them_arrives(desk: Desk, books: Books) -> None:
    books.deliver(made(number=1, request_model="nobody/knows"), made(number=2))
    assert ring(desk, PRICES) is not None
    books.load(LATE_CARD)
    assert ring(desk, PRICES) is None
    put(desk, NOON + MINUTE)
    run = ring(desk, PRICES)
    assert run is not None
    assert (run.state, run.detail, unpriced(books)) == ("done", "priced 1 call", 0)
    (log,) = books.rows(restatements)
    assert log["who"].endswith(", scheduler")
    put(desk, NOON + 2 * MINUTE)
    run = ring(desk, PRICES)
    assert run is not None
    assert (run.state, run.detail) == ("done", "")


def test_a_scheduler_that_is_stopped_leaves_the_rest_of_the_pricing_to_the_next(
    desk: Desk, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restate, "CALLS_AT_ONCE", dict.fromkeys(restate.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number, request_model="nobody/knows") for number in range(5)))
    books.load(LATE_CARD)
    with ringing(desk, [], lambda _: None):
        pass
    run = ring(desk, PRICES)
    assert run is not None
    assert (run.state, run.detail, unpriced(books)) == ("done", "priced 0 calls; the next run goes on", 5)
    put(desk, NOON + MINUTE)
    ring(replace(desk, stopped=threading.Event()), PRICES)
    assert unpriced(books) == 0


def test_pricing_that_takes_too_long_goes_on_in_the_next_run(
    desk: Desk, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restate, "CALLS_AT_ONCE", dict.fromkeys(restate.CALLS_AT_ONCE, 2))
    books.deliver(*(made(number=number, request_model="nobody/knows") for number in range(5)))
    books.load(LATE_CARD)
    step = scheduler.PRICING_AT_ONCE / 4

    def clock() -> datetime:
        desk.clock.at += step  # type: ignore[attr-defined]
        return desk.clock()

    details = [PRICES.work(replace(desk, clock=clock))]
    while details[-1]:
        details.append(PRICES.work(replace(desk, clock=clock)))
    assert details[:2] == ["priced 2 calls; the next run goes on"] * 2
    assert unpriced(books) == 0
    assert [(row["changed"], row["ended_at"] is None) for row in books.rows(restatements)] == [(5, False)]
