"""Journals against a store that has lost what they delivered: they send again what they still keep, and no more."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import delivery as delivery_module
from accounting import journal as journal_module
from accounting import replay
from accounting.delivery import Delivery, Drained, Faults, deliver_orphans, hand_over
from accounting.errors import JournalUnavailable
from accounting.journal import Journal
from accounting.journals import memory_journal, open_journal
from accounting.places import journal_directory
from tests.warehouse import Warehouse, ended, started, until

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


def add(journal: Journal, count: int) -> None:
    for _ in range(count):
        journal.add(ended(started()))


def forget(journal: Journal, *numbers: int) -> None:
    """Rows that were delivered longest ago are kept no more."""
    long_ago = datetime.now(UTC) - timedelta(days=30)
    with journal.lock:
        for number in numbers:
            journal._connection.execute("DELETE FROM calls WHERE number = ? AND delivered_at > 0", (number,))
    journal.forget(long_ago)


def settle(journal: Journal, warehouse: Warehouse) -> int:
    """Hand over until there is nothing more to do; how many batches and heartbeats it took."""
    rounds = 1
    while hand_over(journal, warehouse, Faults()) or journal.ready or replay.is_under_way(journal):
        rounds += 1
        assert rounds < 200, "it goes on for ever"
    return rounds


def test_what_a_restored_store_no_longer_holds_is_sent_again(journal: Journal, warehouse: Warehouse) -> None:
    add(journal, 7)
    settle(journal, warehouse)
    warehouse.lose(5, 6, 7)
    settle(journal, warehouse)
    assert warehouse.numbers == [1, 2, 3, 4, 5, 6, 7]


def test_a_store_that_lost_nothing_is_sent_nothing_again(journal: Journal, warehouse: Warehouse) -> None:
    first, call = journal.start(started())
    add(journal, 3)
    settle(journal, warehouse)
    assert warehouse.numbers == [2, 3, 4], "ahead of a call that is still open"
    before = warehouse.tries
    hand_over(journal, warehouse, Faults())
    assert (warehouse.tries - before, journal.ready) == (1, 0)
    journal.finish(first, ended(call))
    assert settle(journal, warehouse) == 2
    assert warehouse.numbers == [1, 2, 3, 4]


def test_calls_that_are_open_do_not_hide_a_loss(journal: Journal, warehouse: Warehouse) -> None:
    numbers = [journal.start(started())[0] for _ in range(5)]
    add(journal, 5)
    settle(journal, warehouse)
    warehouse.lose(8)
    settle(journal, warehouse)
    assert warehouse.numbers == [6, 7, 8, 9, 10]
    for number in numbers:
        journal.abandon(number)
    settle(journal, warehouse)
    assert warehouse.numbers == list(range(1, 11))


def test_what_is_no_longer_kept_stays_a_gap_and_is_not_tried_for_ever(journal: Journal, warehouse: Warehouse) -> None:
    add(journal, 6)
    settle(journal, warehouse)
    forget(journal, 1, 2, 3)
    warehouse.lose(2, 3, 4, 5, 6)
    settle(journal, warehouse)
    assert warehouse.numbers == [1, 4, 5, 6]
    assert [settle(journal, warehouse) for _ in range(3)] == [1, 1, 1]
    add(journal, 2)
    assert settle(journal, warehouse) == 2, "of the new calls and of nothing else"


def test_a_gap_does_not_hide_what_is_lost_later(journal: Journal, warehouse: Warehouse) -> None:
    add(journal, 6)
    settle(journal, warehouse)
    forget(journal, 1, 2)
    for lost in ([1, 2], [5], [5, 6], [3]):
        warehouse.lose(*lost)
        settle(journal, warehouse)
        assert warehouse.numbers == [3, 4, 5, 6]


def test_a_store_restored_again_while_calls_go_out_loses_nothing(
    journal: Journal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "BATCH", 10)
    add(journal, 40)
    settle(journal, warehouse)
    warehouse.lose(*range(11, 41))
    for _ in range(3):  # the first finds out, two bring back twenty
        hand_over(journal, warehouse, Faults())
    assert len(warehouse.numbers) == 30
    warehouse.lose(*range(11, 41))
    settle(journal, warehouse)
    assert warehouse.numbers == list(range(1, 41))


def test_a_store_that_received_the_calls_again_from_elsewhere_is_left_alone(
    journal: Journal, warehouse: Warehouse
) -> None:
    add(journal, 5)
    settle(journal, warehouse)
    held = dict(warehouse.calls)
    warehouse.lose(4, 5)
    warehouse.calls |= held
    assert settle(journal, warehouse) == 1


def test_a_journal_in_memory_mends_the_store_as_well(tmp_path: Path, warehouse: Warehouse) -> None:
    with closing(memory_journal(tmp_path, 2**20)) as journal:
        add(journal, 3)
        settle(journal, warehouse)
        warehouse.lose(2, 3)
        settle(journal, warehouse)
        assert warehouse.numbers == [1, 2, 3]


def test_the_next_owner_goes_on_with_what_was_to_be_sent_again(warehouse: Warehouse) -> None:
    with closing(open_journal(journal_directory(URL))) as journal:
        add(journal, 5)
        settle(journal, warehouse)
        warehouse.lose(3, 4, 5)
        hand_over(journal, warehouse, Faults())
        assert journal.ready == 3
    assert deliver_orphans(URL) == Drained(1, 3)
    assert warehouse.numbers == [1, 2, 3, 4, 5]


def test_a_living_process_mends_the_store_within_a_heartbeat(
    journal: Journal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "HEARTBEAT", 0.05)
    monkeypatch.setattr(delivery_module, "AGE", 0.01)
    delivery = Delivery(journal, URL, Faults(), before_round=lambda: None)
    add(journal, 1200)
    assert delivery.flush(5)
    warehouse.lose(*range(300, 1200))
    assert until(lambda: len(warehouse.calls) == 1200)
    delivery.stop(2)


def test_a_process_that_ends_brings_back_what_it_learns_is_lost(journal: Journal, warehouse: Warehouse) -> None:
    add(journal, 3)
    settle(journal, warehouse)
    warehouse.lose(1, 2, 3)
    Delivery(journal, URL, Faults(), before_round=lambda: None).stop(5)
    assert warehouse.numbers == [1, 2, 3]
    assert warehouse.reports[-1].closed_at is not None
    assert journal.fact("closed") == "yes"


def orphan(warehouse: Warehouse, calls: int) -> None:
    """A journal whose process has delivered so many calls and is gone."""
    with closing(open_journal(journal_directory(URL))) as journal:
        add(journal, calls)
    deliver_orphans(URL)
    assert len(warehouse.calls) == calls


def test_a_journal_that_nobody_owns_is_held_against_the_store_every_hour(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan(warehouse, 3)
    warehouse.lose(2, 3)
    reports = len(warehouse.reports)
    assert deliver_orphans(URL) == Drained(0, 0)
    assert len(warehouse.reports) == reports, "it has just said goodbye"
    assert deliver_orphans(URL, asking_every=timedelta(0)) == Drained(1, 2)
    assert warehouse.numbers == [1, 2, 3]
    assert warehouse.reports[-1].closed_at is not None
    assert deliver_orphans(URL, asking_every=timedelta(0)) == Drained(0, 0), "nothing was lost"


def test_all_that_is_kept_is_sent_again_where_a_person_wants_it(warehouse: Warehouse) -> None:
    orphan(warehouse, 3)
    warehouse.calls.clear()
    told: list[int] = []
    assert deliver_orphans(URL, told.append, asking_every=timedelta(0), again=True) == Drained(1, 3)
    assert warehouse.numbers == [1, 2, 3]
    assert told[-1] == 3
    assert deliver_orphans(URL, asking_every=timedelta(0), again=True) == Drained(1, 3), "wanted is wanted"


def test_calls_that_went_to_another_store_come_to_this_one_where_a_person_says_so(warehouse: Warehouse) -> None:
    with closing(open_journal(journal_directory("memory://mistyped"))) as journal:
        add(journal, 4)
        settle(journal, Warehouse())
    assert deliver_orphans(URL, meant_for="memory://mistyped") == Drained(1, 4)
    assert warehouse.numbers == [1, 2, 3, 4]


def test_new_calls_find_room_in_a_full_journal_while_kept_ones_go_out_again(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    with closing(open_journal(tmp_path / "small", max_bytes=2**20)) as journal:
        fill(journal)
        settle(journal, warehouse)
        held = len(warehouse.calls)
        warehouse.calls.clear()
        hand_over(journal, warehouse, Faults())
        assert journal.ready == held
        add(journal, 2 * journal_module.CALLS_BETWEEN_LOOKS)
        assert fill(journal) < held, "but no room without end"
        settle(journal, warehouse)
        assert len(warehouse.calls) == journal.highest
        add(journal, held)


def fill(journal: Journal) -> int:
    """Add calls until the journal takes no more; how many it took."""
    before = journal.highest
    with pytest.raises(JournalUnavailable):
        add(journal, 1_000_000)
    return journal.highest - before


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 8)),
        st.tuples(st.just("start"), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("deliver"), st.booleans()),
        st.tuples(st.just("lose"), st.sets(st.integers(1, 40), max_size=12)),
        st.tuples(st.just("restore"), st.integers(0, 40)),
        st.tuples(st.just("forget"), st.integers(1, 6)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(OPS)
def test_whatever_a_store_loses_and_when_all_that_is_kept_is_there_in_the_end(ops: list[tuple[str, object]]) -> None:
    warehouse = Warehouse()
    with pytest.MonkeyPatch.context() as patch, closing(memory_journal(Path("/nowhere"), 2**30)) as journal:
        patch.setattr(delivery_module, "BATCH", 3)
        for op, value in [*ops, ("settle", 0)]:
            apply(journal, warehouse, op, value)
        assert set(kept(journal)) <= set(warehouse.numbers)
        assert settle(journal, warehouse) == 1, "and then there is quiet"


def apply(journal: Journal, warehouse: Warehouse, op: str, value: object) -> None:
    match op, value:
        case "add", int(count):
            add(journal, count)
        case "start", _:
            journal.start(started())
        case "end", int(index):
            end(journal, index)
        case "deliver", bool(loses_reply):
            deliver(journal, warehouse, loses_reply)
        case "lose", set(numbers):
            warehouse.lose(*numbers)
        case "restore", int(upto):
            warehouse.lose(*range(upto + 1, journal.highest + 1))
        case "forget", int(count):
            forget(journal, *kept(journal)[:count])
        case _:
            settle(journal, warehouse)


def end(journal: Journal, index: int) -> None:
    with journal.lock:
        numbers = [n for (n,) in journal._connection.execute("SELECT number FROM calls WHERE ended = 0")]
    for number in numbers[index : index + 1]:
        journal.abandon(number)


def deliver(journal: Journal, warehouse: Warehouse, loses_reply: bool) -> None:
    warehouse.loses_replies = loses_reply
    try:
        hand_over(journal, warehouse, Faults())
    except ConnectionError:
        assert loses_reply
    warehouse.loses_replies = False


def kept(journal: Journal) -> list[int]:
    """The numbers of delivered rows that are still there."""
    with journal.lock:
        rows = journal._connection.execute("SELECT number FROM calls WHERE delivered_at > 0 ORDER BY number")
        return [number for (number,) in rows]
