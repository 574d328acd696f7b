"""The process's way into its journal: at its start, in trouble, after a fork and at its end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from accounting import delivery as delivery_module
from accounting import recorder as recorder_module
from accounting.errors import JournalUnavailable
from accounting.journals import open_journal
from accounting.places import journal_directory
from accounting.recorder import Recorder, close, recorder
from accounting.usage import Outcome, sub_id
from tests.warehouse import Warehouse, ended, started, until

URL = "memory://me:hush@warehouse"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """The destination of this process's recorder, which keeps its journals in a directory of the test's own."""
    warehouse = Warehouse()
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ACCOUNTING_STORE_URL", URL)
    monkeypatch.delenv("ACCOUNTING_JOURNAL_DIR", raising=False)
    monkeypatch.delenv("ACCOUNTING_JOURNAL_REQUIRED", raising=False)
    monkeypatch.setattr(delivery_module, "open_destination", lambda url: warehouse)
    monkeypatch.setattr(delivery_module, "AGE", 0.02)
    yield warehouse
    close(0)


def broken(books: Recorder) -> Path:
    """Put a file in the place of the journal's directory: nothing can be written there, not even by root."""
    directory = journal_directory(books.url)
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.touch()
    return directory


def test_a_call_is_in_the_journal_from_its_start_and_in_the_store_after_its_end(warehouse: Warehouse) -> None:
    books = recorder()
    ticket = books.start(call := started())
    assert ticket.journal is not None
    assert ticket.journal.standing(datetime.now(UTC)).open == 1
    assert warehouse.calls == {}
    books.finish(ticket, ended(call))
    assert books.flush(5)
    assert list(warehouse.calls.values()) == [ended(call)]


def test_the_journal_names_its_destination_without_its_secret(warehouse: Warehouse) -> None:
    ticket = recorder().start(started())
    assert ticket.journal is not None
    assert ticket.journal.fact("destination") == "memory://warehouse"


def test_threads_that_call_first_at_once_share_one_recorder_and_one_journal(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_url() -> str:
        time.sleep(0.01)  # lets them meet
        return URL

    monkeypatch.setattr(recorder_module, "store_url", slow_url)
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: recorder(), range(64)))
        tickets = list(pool.map(lambda _: recorder().start(started()), range(64)))
    assert len(found) == 1
    assert sorted(ticket.number or 0 for ticket in tickets) == list(range(1, 65))


def test_a_full_batch_goes_out_without_waiting(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "AGE", 60.0)
    books = recorder()
    books.start(started())
    assert until(lambda: bool(warehouse.reports)), "the first round, which found nothing ended"
    for _ in range(delivery_module.BATCH):
        books.finish(books.start(call := started()), ended(call))
    assert until(lambda: len(warehouse.calls) == delivery_module.BATCH)


def test_where_no_journal_can_be_written_calls_go_to_the_store_from_memory_and_it_is_told(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    books = recorder()
    directory = broken(books)
    ticket = books.start(call := started())
    books.finish(ticket, ended(call))
    assert books.flush(5)
    assert list(warehouse.calls.values()) == [ended(call)]
    assert until(lambda: warehouse.reports[-1].faults == {"journal.open": 1})
    assert f"No journal can be written in {directory}" in caplog.text


def test_where_the_journal_is_required_such_a_call_is_refused_with_the_way_out(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_REQUIRED", "true")
    books = recorder()
    obstacle = broken(books)
    with pytest.raises(JournalUnavailable, match=f"not sent.*{obstacle.name}.*unset ACCOUNTING_JOURNAL_REQUIRED"):
        books.start(started())
    obstacle.unlink()
    assert books.start(started()).number == 1


@pytest.mark.parametrize("required", ["", "true"])
def test_a_full_journal_refuses_or_lets_pass_as_it_was_told(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_REQUIRED", required)
    monkeypatch.setenv("ACCOUNTING_JOURNAL_MAX_MB", "0")
    books = recorder()
    if required:
        with pytest.raises(JournalUnavailable, match="full of calls"):
            books.start(started())
    else:
        assert books.start(started()).number is None
    assert books.faults.counts()["journal.start"] == 1


def test_an_ending_that_can_t_be_written_is_held_and_tried_again(warehouse: Warehouse) -> None:
    books = recorder()
    ticket = books.start(call := started())
    assert ticket.journal is not None
    with ticket.journal.lock:
        ticket.journal._connection.execute("ALTER TABLE calls RENAME TO gone")
    books.finish(ticket, ended(call))
    assert books.faults.counts()["journal.finish"] == 1
    assert not books.flush(0.1)
    with ticket.journal.lock:
        ticket.journal._connection.execute("ALTER TABLE gone RENAME TO calls")
    assert until(lambda: books.flush(1))
    assert list(warehouse.calls.values()) == [ended(call)]


@pytest.mark.parametrize("way", ["finish", "leave"])
def test_sub_calls_are_written_with_their_call(warehouse: Warehouse, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_MAX_MB", "0")
    books = recorder()
    ticket = books.start(call := started())  # in no journal
    sub = replace(ended(call), id=sub_id(call.id, 1), parent_id=call.id)
    getattr(books, way)(ticket, ended(call), (sub,))
    assert not books.flush(0.1)
    make_room(books)
    assert until(lambda: books.flush(1))
    assert list(warehouse.calls.values()) == [ended(call), sub]
    assert warehouse.reports[-1].highest == 2


def test_an_ending_that_never_can_be_written_holds_up_no_other(warehouse: Warehouse) -> None:
    books = recorder()
    bad, good = books.start(started()), books.start(call := started())
    books.finish(bad, ended(started(model=b"?")))  # type: ignore[arg-type]
    books.finish(good, ended(call))
    assert books.flush(5)
    assert list(warehouse.calls.values()) == [ended(call)]
    assert books.faults.counts()["journal.held"] == 1


def test_endings_given_up_for_want_of_memory_are_counted(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "MOST_HELD", 2)
    monkeypatch.setenv("ACCOUNTING_JOURNAL_MAX_MB", "0")
    books = recorder()
    calls = [started() for _ in range(3)]
    for call in calls:
        books.finish(books.start(call), ended(call))
    assert books.faults.counts()["journal.held_lost"] == 1
    make_room(books)
    assert books.flush(5)
    assert list(warehouse.calls.values()) == [ended(call) for call in calls[1:]]


def test_the_books_are_complete_only_until_the_start_of_a_call_that_is_in_no_journal(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "HEARTBEAT", 0.01)
    monkeypatch.setenv("ACCOUNTING_JOURNAL_MAX_MB", "0")
    books = recorder()
    ticket = books.start(call := started())
    assert until(lambda: warehouse.reports and warehouse.reports[-1].oldest_undelivered_at == call.started_at)
    make_room(books)
    books.finish(ticket, ended(call))
    assert until(lambda: warehouse.reports[-1].oldest_undelivered_at is None)
    assert list(warehouse.calls.values()) == [ended(call)]


def make_room(books: Recorder) -> None:
    assert books._journal is not None
    books._journal._max_bytes = 2**20


def test_leaving_an_ending_takes_no_lock(warehouse: Warehouse) -> None:
    books = recorder()
    ticket = books.start(call := started())
    assert ticket.journal is not None
    thread = Thread(target=lambda: books.leave(ticket, ended(call, Outcome.INTERRUPTED)))
    with books._lock, ticket.journal.lock:
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert until(lambda: warehouse.outcomes == [Outcome.INTERRUPTED])


def test_a_call_whose_ending_we_failed_to_read_is_in_the_books_as_unknown(warehouse: Warehouse) -> None:
    books = recorder()
    books.abandon(books.start(started()))
    assert books.flush(5)
    assert warehouse.outcomes == [Outcome.UNKNOWN]


def test_closing_ends_open_calls_as_unknown_delivers_all_and_gives_up_the_journal(warehouse: Warehouse) -> None:
    books = recorder()
    books.start(started())
    books.finish(books.start(call := started()), ended(call))
    close()
    assert sorted(str(outcome) for outcome in warehouse.outcomes) == ["finished", "unknown"]
    assert warehouse.reports[-1].closed_at is not None
    with closing(open_journal(journal_directory(URL))) as journal:
        assert (journal.highest, journal.ready) == (2, 0)


def test_a_journal_that_is_continued_is_no_longer_closed(warehouse: Warehouse) -> None:
    recorder().start(started())
    close()
    ticket = recorder().start(started())
    assert ticket.number == 2
    assert ticket.journal is not None
    assert ticket.journal.fact("closed") == "no"
    assert until(lambda: warehouse.reports[-1].closed_at is None)


def test_closing_ends_in_time_though_the_store_is_slow_and_the_next_process_delivers(warehouse: Warehouse) -> None:
    warehouse.seconds = 30.0
    books = recorder()
    books.finish(books.start(call := started()), ended(call))
    assert until(lambda: warehouse.tries == 1)
    began = time.monotonic()
    close(0.1)
    assert time.monotonic() - began < 3
    warehouse.seconds = 0.0
    delivered = delivery_module.deliver_orphans(URL)
    assert delivered.calls == 1


def test_without_a_thread_for_delivery_calls_are_kept_for_the_journal_s_next_owner(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(recorder_module, "Delivery", no_thread)
    books = recorder()
    books.finish(books.start(call := started()), ended(call))
    assert not books.flush(0.1)
    close()
    assert delivery_module.deliver_orphans(URL).calls == 1


def test_an_ending_after_the_close_changes_nothing(warehouse: Warehouse) -> None:
    books = recorder()
    ticket = books.start(call := started())
    close()
    books.finish(ticket, ended(call))
    assert warehouse.outcomes == [Outcome.UNKNOWN]
    assert books.start(started()).number is None, "and a closed recorder opens no journal"


PROGRAM = """
import json, os, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from accounting import delivery, recorder
from accounting.usage import Call, Outcome
from tests.warehouse import Warehouse, ended, started

class Shelf(Warehouse):
    def deliver(self, batch):
        receipt = super().deliver(batch)
        with open(os.environ["SHELF"], "a") as shelf:
            for entry in batch.entries:
                outcome = Call.decode(entry.payload).outcome
                print(json.dumps([str(batch.source.journal), entry.number, outcome]), file=shelf)
            if batch.source.closed_at:
                print(json.dumps([str(batch.source.journal), "closed"]), file=shelf)
        return receipt

delivery.open_destination = lambda url: Shelf()
delivery.AGE = 60.0
books = recorder.recorder()
books.start(started())
ticket = books.start(call := started())
"""


def run(tmp_path: Path, program: str) -> tuple[subprocess.CompletedProcess[str], list[list[Any]]]:
    """What the program, two calls under way, came to, and what is on the shelf afterwards."""
    shelf = tmp_path / "shelf"
    shelf.touch()
    environment = os.environ | {
        "ACCOUNTING_DATA_DIR": str(tmp_path / "data"), "ACCOUNTING_STORE_URL": URL, "SHELF": str(shelf),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", PROGRAM + program], cwd=Path(__file__).parents[1], env=environment,
                          capture_output=True, text=True, timeout=30)  # fmt: skip
    return done, [json.loads(line) for line in shelf.read_text().splitlines()]


@pytest.mark.parametrize(("end", "code", "complaint"), [
    ("", 0, ""), ("sys.exit(3)", 3, ""), ("raise KeyError('theirs')", 1, "KeyError: 'theirs'"),
])  # fmt: skip
def test_a_program_s_journal_is_empty_when_it_ends_however_it_ends(
    tmp_path: Path, end: str, code: int, complaint: str
) -> None:
    done, shelf = run(tmp_path, f"books.finish(ticket, ended(call))\n{end}")
    assert done.returncode == code
    assert done.stderr.strip().endswith(complaint)
    assert "accounting" not in done.stderr
    assert sorted(line[1:] for line in shelf[:-1]) == [[1, "unknown"], [2, "finished"]]
    assert shelf[-1][1:] == ["closed"]


FORK = """
while ticket.journal.fact("promised") is None:
    time.sleep(0.01)  # until delivery's first round has written what it writes
wal = Path(f"{ticket.journal.file}-wal")
before = wal.read_bytes()
child = os.fork()
if child == 0:
    books.finish(ticket, ended(call, Outcome.FAILED))  # the parent's call, which the parent will end
    assert recorder.recorder() is not books
    own = recorder.recorder().start(started())
    recorder.recorder().finish(own, ended(own.call))
    sys.exit(own.number)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(code, wal.read_bytes() == before, ticket.journal.standing(datetime.now(UTC)).open)
books.finish(ticket, ended(call))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_begins_its_own_journal_and_leaves_its_parent_s_alone(tmp_path: Path) -> None:
    done, shelf = run(tmp_path, FORK)
    assert done.stdout.split() == ["1", "True", "2"], done.stderr
    parent, child = shelf[-1][0], shelf[0][0]
    assert parent != child
    assert shelf == [
        [child, 1, "finished"], [child, "closed"], [parent, 1, "unknown"], [parent, 2, "finished"], [parent, "closed"],
    ]  # fmt: skip


BUSY = """
from threading import Thread

def call_on_and_on():
    while True:
        one = books.start(started())
        books.finish(one, ended(one.call))

delivery.AGE = 0.01
Thread(target=call_on_and_on, daemon=True).start()
for _ in range(30):
    if (child := os.fork()) == 0:
        signal.alarm(5)  # kills a child that waits for ever
        own = recorder.recorder().start(started())
        os._exit(own.number)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_others_call_is_free_to_call(tmp_path: Path) -> None:
    # From a thread inside SQLite the child would inherit locks that nobody frees.
    done, _ = run(tmp_path, BUSY)
    assert done.stdout.split().count("-14") == 0, done.stderr
    assert len(done.stdout.split()) == 30


KILLED = """
if os.fork() == 0:
    sys.exit()
os.wait()
books.finish(ticket, ended(call))
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_s_clean_end_takes_nothing_from_a_parent_killed_later(tmp_path: Path) -> None:
    _, shelf = run(tmp_path, KILLED)
    assert shelf == []
    _, shelf = run(tmp_path, "")
    assert sorted(line[1:] for line in shelf[:-1]) == [[1, "unknown"], [2, "finished"], [3, "unknown"], [4, "unknown"]]
    assert shelf[-1][1:] == ["closed"]
