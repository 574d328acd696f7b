"""Delivery, from a real journal into a destination that can be away, slow, or lose its replies."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import delivery as delivery_module
from accounting.delivery import BATCH, LONGEST_PAUSE, Delivery, Drained, Faults, deliver_orphans, hand_over, pause
from accounting.errors import Undelivered
from accounting.estimates import Sizes, Snapshot
from accounting.journal import SUFFIX, Journal
from accounting.journals import open_journal
from accounting.places import journal_directory
from accounting.snapshots import Local, file_of
from accounting.usage import Call, Outcome
from tests.warehouse import NOON, Warehouse, ended, started, until

URL = "memory://warehouse"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The destination that every URL opens, its journals in a directory of the test's own."""
    warehouse = Warehouse()
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path))
    monkeypatch.setattr(delivery_module, "open_destination", lambda url: warehouse)
    return warehouse


@pytest.fixture
def journal(warehouse: Warehouse) -> Iterator[Journal]:
    with closing(open_journal(journal_directory(URL))) as journal:
        yield journal


Begin = Callable[[], Delivery]


@pytest.fixture
def begin(journal: Journal) -> Iterator[Begin]:
    """Starts the delivery of the journal; it is stopped at the test's end."""
    begun: list[Delivery] = []

    def begin() -> Delivery:
        begun.append(Delivery(journal, URL, Faults(), before_round=lambda: None))
        return begun[-1]

    yield begin
    for delivery in begun:
        delivery.stop(0)


def add(journal: Journal, count: int) -> list[Call]:
    calls = [ended(started()) for _ in range(count)]
    for call in calls:
        journal.add(call)
    return calls


def test_a_long_backlog_is_counted_anew_only_once_it_is_delivered(
    journal: Journal, warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "COUNTED_ANEW", 3)
    monkeypatch.setattr(delivery_module, "HEARTBEAT", 0)
    warehouse.away = True
    add(journal, 5)
    journal._open = 7
    delivery = begin()
    until(lambda: warehouse.tries > 1)
    assert journal.standing(datetime.now(UTC)).open == 7
    warehouse.away = False
    assert delivery.flush(10)
    until(lambda: journal.standing(datetime.now(UTC)).open == 0)


def test_a_batch_s_report_tells_how_the_journal_stands_once_it_is_delivered(
    journal: Journal, warehouse: Warehouse
) -> None:
    call = started(NOON)
    journal.start(call)
    add(journal, BATCH + 7)
    faults = Faults()
    assert [hand_over(journal, warehouse, faults) for _ in range(3)] == [BATCH, 7, 0]
    assert [(report.highest, report.open, report.backlog) for report in warehouse.reports] == [
        (BATCH + 8, 1, 7), (BATCH + 8, 1, 0), (BATCH + 8, 1, 0),
    ]  # fmt: skip
    assert {report.oldest_undelivered_at for report in warehouse.reports} == {NOON}
    assert {report.journal for report in warehouse.reports} == {journal.id}
    assert {report.closed_at for report in warehouse.reports} == {None}


def test_a_reply_lost_after_the_commit_loses_and_doubles_nothing(journal: Journal, warehouse: Warehouse) -> None:
    calls = add(journal, 3)
    warehouse.loses_replies = True
    with pytest.raises(ConnectionError):
        hand_over(journal, warehouse, Faults())
    assert journal.ready == 3
    warehouse.loses_replies = False
    assert hand_over(journal, warehouse, Faults()) == 3
    assert journal.ready == 0
    assert list(warehouse.calls.values()) == calls


def test_a_journal_says_goodbye_once_and_only_when_nothing_is_left(journal: Journal, warehouse: Warehouse) -> None:
    number, call = journal.start(started())
    hand_over(journal, warehouse, Faults(), closing=True)
    assert warehouse.reports[-1].closed_at is None
    journal.finish(number, ended(call))
    hand_over(journal, warehouse, Faults(), closing=True)
    assert warehouse.reports[-1].closed_at == warehouse.reports[-1].seen_at
    assert journal.fact("closed") == "yes"


def test_faults_travel_with_reports_and_are_handed_to_the_next_owner(
    journal: Journal, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults()
    for _ in range(3):
        faults.count("journal.start", OSError("secret in a message"))
    hand_over(journal, warehouse, faults)
    assert warehouse.reports[-1].faults == {"journal.start": 3}
    assert Faults(journal).counts() == {"journal.start": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "Metering failed at step 'journal.start' (OSError); calls go on unless a budget refuses them."
    ]


def test_calls_go_out_by_themselves_soon_after_they_end(
    journal: Journal, warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "AGE", 0.02)
    begin()
    add(journal, 2 * BATCH + 1)
    assert until(lambda: len(warehouse.calls) == 2 * BATCH + 1)


def test_a_journal_with_nothing_to_deliver_says_that_it_lives(
    warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "HEARTBEAT", 0.05)
    monkeypatch.setattr(delivery_module, "AGE", 0.01)
    begin()
    assert until(lambda: len(warehouse.reports) >= 3)
    seen = [report.seen_at for report in warehouse.reports]
    assert seen == sorted(seen)
    assert seen[1] - seen[0] >= timedelta(seconds=0.05)


def test_what_the_store_has_learned_is_fetched_seldom_and_lies_beside_the_journals(
    warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "HEARTBEAT", 0.02)
    monkeypatch.setattr(delivery_module, "AGE", 0.01)
    learned = Snapshot(sizes={("wcode", "z-ai/glm-5", "", "*"): Sizes(120, 900)})
    warehouse.learned = learned.encode()
    begin()
    assert until(lambda: len(warehouse.reports) >= 4)
    assert Local(file_of(URL)).snapshot() == learned
    assert warehouse.asked_for_estimates == 1


def test_what_was_learned_may_be_out_of_reach_without_delivery_coming_to_a_halt(
    journal: Journal, warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "HEARTBEAT", 0.02)
    monkeypatch.setattr(delivery_module, "AGE", 0.01)
    file_of(URL).mkdir()  # where a file should be, and an old one
    os.utime(file_of(URL), (0, 0))
    warehouse.learned = Snapshot().encode()
    begin()
    add(journal, 1)
    assert until(lambda: len(warehouse.calls) == 1)
    assert until(lambda: warehouse.reports[-1].faults == {"estimates": 1})


def test_while_the_store_is_away_the_journal_keeps_everything(
    journal: Journal, warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "LONGEST_PAUSE", 0.05)
    warehouse.away = True
    begin()
    calls = add(journal, 3)
    assert until(lambda: warehouse.tries >= 3)
    assert journal.ready == 3
    warehouse.away = False
    assert until(lambda: list(warehouse.calls.values()) == calls)
    assert until(lambda: warehouse.reports[-1].faults["deliver"] >= 2)


def test_a_nudge_hurries_nothing_while_the_store_is_away(
    warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "pause", lambda failures: 60.0)
    warehouse.away = True
    delivery = begin()
    assert until(lambda: delivery._failures == 1)
    for _ in range(50):
        delivery.nudge()
        time.sleep(0.001)
    assert warehouse.tries == 1


@given(st.integers(1, 10_000))
def test_pauses_double_up_to_a_bound_and_are_spread(failures: int) -> None:
    longest = min(LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 50))
    assert longest / 2 <= pause(failures) <= longest


def test_pauses_of_many_processes_are_not_the_same() -> None:
    assert len({pause(5) for _ in range(100)}) > 90


def test_flush_returns_when_every_call_ended_by_then_is_in_the_store(
    journal: Journal, warehouse: Warehouse, begin: Begin
) -> None:
    journal.start(started())  # still open: flush does not wait for it
    add(journal, BATCH + 1)
    assert begin().flush(5)
    assert len(warehouse.calls) == BATCH + 1


def test_flush_gives_up_in_time_and_does_not_hammer_a_store_that_is_away(
    journal: Journal, warehouse: Warehouse, begin: Begin
) -> None:
    warehouse.away = True
    delivery = begin()
    add(journal, 1)
    began = time.monotonic()
    assert not delivery.flush(0.6)
    assert 0.5 < time.monotonic() - began < 1.5
    assert warehouse.tries < 10
    assert journal.ready == 1


def test_stop_delivers_what_is_left_says_goodbye_and_closes_the_destination(
    journal: Journal, warehouse: Warehouse, begin: Begin
) -> None:
    delivery = begin()
    assert until(lambda: bool(warehouse.reports))
    add(journal, BATCH + 1)
    delivery.stop(5)
    assert len(warehouse.calls) == BATCH + 1
    assert [report.closed_at is not None for report in warehouse.reports] == [False, False, True]
    assert warehouse.closed


def test_stop_ends_in_time_though_the_store_is_away(journal: Journal, warehouse: Warehouse, begin: Begin) -> None:
    warehouse.away = True
    add(journal, 1)
    delivery = begin()
    began = time.monotonic()
    delivery.stop(0.2)
    assert time.monotonic() - began < 2
    assert journal.ready == 1
    assert journal.fact("closed") != "yes"


def test_delivered_rows_are_forgotten_after_the_days_they_are_kept(
    journal: Journal, warehouse: Warehouse, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_KEEP_DAYS", "2")
    now = datetime.now(UTC)
    for days in (1.9, 2.1):
        add(journal, 1)
        hand_over(journal, warehouse, Faults())
        journal.delivered(journal.recall(journal.highest - 1), now - timedelta(days=days))
    begin()
    assert until(lambda: journal.standing(datetime.now(UTC)).highest == 2 and kept(journal) == [1])


def kept(journal: Journal) -> list[int]:
    with journal.lock:
        return [number for (number,) in journal._connection.execute("SELECT number FROM calls ORDER BY number")]


def orphan(*calls: Call, closed: bool = False) -> Path:
    """A journal whose process is gone, having left these calls open."""
    before = set(journal_directory(URL).glob("*.journal"))
    held = [open_journal(journal_directory(URL)) for _ in before]  # continue none of those that are there
    with closing(open_journal(journal_directory(URL))) as journal:
        for call in calls:
            journal.start(call)
        journal.remember("closed", "yes" if closed else "no")
    for other in held:
        other.close()
    return journal.file


def test_orphans_are_delivered_by_hand_their_open_calls_as_unknown(warehouse: Warehouse) -> None:
    orphan(started(), started())
    orphan(started())
    told: list[int] = []
    assert deliver_orphans(URL, told.append) == Drained(journals=2, calls=3)
    assert warehouse.outcomes == [Outcome.UNKNOWN] * 3
    assert [report.closed_at is not None for report in warehouse.reports] == [True, True]
    assert told == [2, 3]
    assert deliver_orphans(URL) == Drained(0, 0)
    assert len(warehouse.reports) == 2, "a goodbye is said once"


def test_a_large_orphan_goes_in_batches(warehouse: Warehouse) -> None:
    orphan(*(started() for _ in range(BATCH + 1)))
    told: list[int] = []
    assert deliver_orphans(URL, told.append).calls == BATCH + 1
    assert told == [BATCH, BATCH + 1]


def test_a_living_journal_is_no_orphan(journal: Journal, warehouse: Warehouse) -> None:
    add(journal, 1)
    assert deliver_orphans(URL) == Drained(0, 0)
    assert warehouse.calls == {}


def test_orphans_keep_everything_while_the_store_is_away(warehouse: Warehouse) -> None:
    orphan(started())
    warehouse.away = True
    with pytest.raises(ConnectionError):
        deliver_orphans(URL)
    assert warehouse.closed
    warehouse.away = False
    assert deliver_orphans(URL) == Drained(1, 1)


def test_a_journal_that_cannot_be_delivered_stops_no_other(warehouse: Warehouse) -> None:
    first, bad, last = (orphan(started()) for _ in range(3))
    warehouse.refused = {UUID(bad.name.removesuffix(SUFFIX))}
    with pytest.raises(Undelivered, match="1 journal could not be delivered") as error:
        deliver_orphans(URL)
    assert str(bad) in str(error.value)
    assert not any(str(good) in str(error.value) for good in (first, last))
    assert len(warehouse.calls) == 2
    warehouse.refused = set()
    assert deliver_orphans(URL) == Drained(1, 1)


def test_an_orphan_with_unreadable_notes_stops_no_other(warehouse: Warehouse) -> None:
    bad, _ = orphan(started()), orphan(started())
    with closing(sqlite3.connect(bad)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('faults', '{')")
    with pytest.raises(Undelivered, match="JSONDecodeError"):
        deliver_orphans(URL)
    assert len(warehouse.calls) == 1


def test_an_orphan_that_never_had_a_call_is_deleted_unannounced(warehouse: Warehouse) -> None:
    file = orphan()
    assert deliver_orphans(URL) == Drained(0, 0)
    assert warehouse.reports == []
    assert not any(file.parent.iterdir())


def test_a_delivered_orphan_is_deleted_when_its_rows_are_no_longer_kept(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = orphan(started())
    deliver_orphans(URL)
    deliver_orphans(URL)
    assert file.exists()
    monkeypatch.setenv("ACCOUNTING_JOURNAL_KEEP_DAYS", "0")
    deliver_orphans(URL)
    assert not any(file.parent.iterdir())


def test_without_a_directory_there_are_no_orphans(warehouse: Warehouse) -> None:
    assert deliver_orphans(URL) == Drained(0, 0)
    assert not journal_directory(URL).exists(), "nothing is made to look for them"
