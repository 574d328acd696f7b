import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from accounting.journals import open_journal
from accounting.places import journal_directory
from accounting.scheduler import JOBS
from accounting.store.tables import batches, job_runs
from tests.books import Books, made
from tests.cli.conftest import Run
from tests.warehouse import ended, started


@contextmanager
def working() -> Iterator[subprocess.Popen[str]]:
    """`accounting work` as a process of its own, with this test's environment."""
    program = [sys.executable, "-c", "from accounting.cli import main; main()", "work"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


DELIVER = JOBS[1].name


def done(books: Books, job: str) -> int:
    return sum(row["job"] == job and row["state"] == "done" for row in books.rows(job_runs))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_rolls_up_what_comes_in_and_stops_cleanly_when_told(books: Books, number: signal.Signals) -> None:
    books.deliver(made())
    with working() as process:
        wait_until(lambda: done(books, "rollup") == 1 and done(books, DELIVER) == 1)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "rollup done: 1 call from 1 batch" in said
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in said
    assert all(row["rolled_at"] is not None for row in books.rows(batches))


def test_two_schedulers_share_the_work_and_each_turn_is_done_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_ROLLUP_SECONDS", "1")
    with working(), working():
        wait_until(lambda: done(books, "rollup") >= 4)
    starts = [row["started_at"] for row in books.rows(job_runs) if row["job"] == "rollup"]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    assert min(gaps) >= 1


def test_after_a_killed_scheduler_the_next_one_goes_on(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_ROLLUP_SECONDS", "1")
    with working() as process:
        wait_until(lambda: done(books, "rollup") >= 1)
        process.kill()
    with working():
        before = done(books, "rollup")
        wait_until(lambda: done(books, "rollup") > before)


def test_work_without_a_store_says_where_it_looked(run: Run, store: str) -> None:
    ran = run("work")
    assert (ran.code, ran.out) == (2, "")
    assert store in ran.err


def test_rollup_says_what_it_added(run: Run, books: Books) -> None:
    books.deliver(made(number=1), made(number=2))
    assert run("rollup").out == "Rolled up 2 calls from 1 batch.\n"
    assert run("rollup").out == "Rolled up 0 calls from 0 batches.\n"


@pytest.mark.parametrize("url", ["postgresql://h:abc/books", "postgresql://h/books?foo=bar", "mysql://h/books"])
@pytest.mark.parametrize("command", ["deliver", "report", "rollup"])
def test_a_url_that_can_not_be_used_is_refused_though_no_journal_would_try_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, url: str
) -> None:
    monkeypatch.setenv("ACCOUNTING_STORE_URL", url)
    ran = run(command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("ACCOUNTING_STORE_URL ")


def test_deliver_without_abandoned_journals_has_nothing_to_do(run: Run, books: Books) -> None:
    assert run("deliver").out == "Delivered 0 calls from 0 journals.\n"


def test_what_waits_for_a_mistyped_store_is_named_and_can_be_had(run: Run, books: Books) -> None:
    wrong = "sqlite:////nowhere/boks.sqlite3"
    journal = open_journal(journal_directory(wrong))
    journal.remember("destination", wrong)
    number, call = journal.start(started())
    journal.finish(number, ended(call))
    journal.close()
    said = run("deliver").out
    assert f"Waiting for another store: 1 call, for {wrong}." in said
    assert run("deliver", "--meant-for", wrong).out == "Delivered 1 call from 1 journal.\n"
    assert str(call.id) in run("calls", "--json").out
