"""The journal, on real files, with real processes to own them."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import journals
from accounting.errors import JournalUnavailable
from accounting.journal import IDLE_LOG_BYTES, Journal
from accounting.journals import FORMAT, open_journal, orphans
from accounting.usage import Call, Outcome, id_time, new_id, sub_id
from tests.warehouse import NOON, ended, started

DAY = timedelta(days=1)

OWNER = """
import sys, time
from pathlib import Path
from accounting.journals import open_journal
from tests.warehouse import ended, started

journal = open_journal(Path(sys.argv[1]))
one, two, three = started(), started(), started()
for call in (one, two, three):
    journal.start(call)
journal.finish(2, ended(two))
print(journal.id, flush=True)
time.sleep(60)
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(open_journal(tmp_path)) as mine:
        yield mine


@contextmanager
def other_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a journal here, with calls 1 and 3 open and 2 ended."""
    command = [sys.executable, "-c", OWNER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip()
            yield process
        finally:
            process.kill()


def outcomes(journal: Journal) -> dict[int, Outcome | None]:
    return {entry.number: Call.decode(entry.payload).outcome for entry in journal.entries(1000)}


def test_a_call_is_delivered_once_it_has_ended_and_in_the_order_of_numbers(journal: Journal) -> None:
    calls = [started(NOON + timedelta(seconds=second)) for second in range(3)]
    assert [journal.start(call)[0] for call in calls] == [1, 2, 3]
    journal.finish(3, ended(calls[2]))
    journal.finish(1, ended(calls[0], Outcome.FAILED))
    assert outcomes(journal) == {1: Outcome.FAILED, 3: Outcome.FINISHED}
    standing = journal.standing(datetime.now(UTC), frozenset({1, 3}))
    assert (standing.highest, standing.open, standing.backlog) == (3, 1, 0)
    assert standing.oldest_undelivered_at == calls[1].started_at


def test_a_second_ending_changes_nothing(journal: Journal) -> None:
    call = started()
    number, _ = journal.start(call)
    journal.finish(number, ended(call, Outcome.INTERRUPTED))
    journal.finish(number, ended(call, Outcome.FINISHED))
    journal.abandon(number)
    assert outcomes(journal) == {1: Outcome.INTERRUPTED}
    assert journal.ready == 1


def below(call: Call, number: int) -> Call:
    """A sub-call of a call that has ended."""
    return replace(ended(call), id=sub_id(call.id, number), parent_id=call.id)


def test_sub_calls_are_written_down_with_the_end_of_their_call(journal: Journal) -> None:
    first, second = started(), started()
    number, _ = journal.start(first)
    assert journal.start(second)[0] == 2
    journal.finish(number, ended(first), [below(first, 1), below(first, 2)])
    journal.finish(number, ended(first), [below(first, 3)])  # it has ended already
    assert [Call.decode(entry.payload).parent_id for entry in journal.entries(9)] == [None, first.id, first.id]
    assert [entry.number for entry in journal.entries(9)] == [1, 3, 4]
    standing = journal.standing(datetime.now(UTC))
    assert (standing.highest, standing.open, standing.backlog) == (4, 1, 3)


def test_a_call_is_not_ended_without_its_sub_calls(journal: Journal) -> None:
    call = started()
    number, _ = journal.start(call)
    journal._connection.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON calls WHEN new.number IS NOT 1 AND (SELECT count(*) FROM calls) = 2 "
        "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="disk full"):
        journal.finish(number, ended(call), [below(call, 1), below(call, 2)])
    standing = journal.standing(datetime.now(UTC))
    assert (standing.highest, standing.open, standing.backlog) == (1, 1, 0)
    journal._connection.execute("DROP TRIGGER full")
    assert journal.start(started())[0] == 2


def test_all_before_an_undelivered_sub_call_is_complete_only_until_its_calls_start(journal: Journal) -> None:
    call = started(NOON)
    number, call = journal.start(call)
    journal.standing(NOON + timedelta(seconds=5))
    journal.finish(number, ended(call), [below(call, 1)])
    assert journal.standing(NOON + timedelta(seconds=6), frozenset({1})).oldest_undelivered_at == call.started_at


def test_a_full_journal_lets_the_sub_calls_of_a_started_call_in(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as journal:
        call = started()
        number, _ = journal.start(call)
        journal._max_bytes, journal._is_full = 0, True
        with pytest.raises(JournalUnavailable):
            journal.start(started())
        journal.finish(number, ended(call), [below(call, 1)])
        assert journal.ready == 2


def test_threads_leave_no_gap_in_the_numbers(journal: Journal) -> None:
    def one_call(_: int) -> int:
        call = started()
        number = journal.start(call)[0]
        journal.finish(number, ended(call))
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one_call, range(200))) == list(range(1, 201))
    assert journal.standing(datetime.now(UTC)).backlog == 200


STEPS = st.lists(st.sampled_from(["start", "add", "finish", "deliver", "forget", "reopen"]), max_size=40)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_a_journal_stands_as_its_steps_say_through_any_number_of_owners(steps: list[str]) -> None:
    open_numbers: list[int] = []
    ready: list[int] = []
    highest = 0
    with tempfile.TemporaryDirectory() as directory:
        journal = open_journal(Path(directory))
        for step in steps:
            if step in ("start", "add"):
                highest += 1
                number = journal.start(started())[0] if step == "start" else journal.add(ended(started()))
                assert number == highest
                (open_numbers if step == "start" else ready).append(number)
            elif step == "finish" and open_numbers:
                ready.append(open_numbers.pop())
                journal.finish(ready[-1], ended(started()))
            elif step == "deliver":
                journal.delivered([entry.number for entry in journal.entries(1000)], NOON)
                ready = []
            elif step == "forget":
                journal.forget(NOON + DAY)
            elif step == "reopen":
                journal.close()
                journal = open_journal(Path(directory))
                ready, open_numbers = ready + open_numbers, []
            standing = journal.standing(datetime.now(UTC))
            assert (standing.highest, standing.open, standing.backlog) == (highest, len(open_numbers), len(ready))
            assert [entry.number for entry in journal.entries(1000)] == sorted(ready)
        journal.close()


def test_what_a_killed_process_left_is_continued_by_the_next(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with closing(open_journal(tmp_path)) as adopted:
            assert outcomes(adopted) == {1: Outcome.UNKNOWN, 2: Outcome.FINISHED, 3: Outcome.UNKNOWN}
            assert adopted.start(started())[0] == 4
    assert len(list(tmp_path.glob("*.journal"))) == 1


def test_a_living_process_s_journal_is_nobody_else_s(tmp_path: Path) -> None:
    with other_process(tmp_path):
        assert list(orphans(tmp_path)) == []
        with closing(open_journal(tmp_path)) as mine:
            assert mine.highest == 0
            assert len(list(tmp_path.glob("*.journal"))) == 2


def test_a_process_owns_its_journal_against_itself_too(journal: Journal) -> None:
    assert list(orphans(journal.file.parent)) == []


def test_a_file_whose_process_died_before_it_had_tables_is_continued(tmp_path: Path) -> None:
    file = tmp_path / f"{new_id()}.journal"
    file.touch(0o600)
    with closing(open_journal(tmp_path)) as journal:
        assert journal.file == file
        assert journal.start(started())[0] == 1


def test_a_new_file_that_another_process_took_first_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = journals._own
    lost: list[Path] = []

    def own_but_be_late_once(file: Path, sync: str, max_bytes: int) -> Journal | None:
        if not lost:
            lost.append(file)
            return None
        return own(file, sync, max_bytes)

    monkeypatch.setattr(journals, "_own", own_but_be_late_once)
    with closing(open_journal(tmp_path)) as journal:
        assert journal.file != lost[0]


def test_a_journal_of_a_newer_version_is_left_untouched(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as journal:
        journal.start(started())
    with closing(sqlite3.connect(journal.file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    before = journal.file.read_bytes()
    with closing(open_journal(tmp_path)) as mine:
        assert mine.file != journal.file
    assert journal.file.read_bytes() == before


@pytest.mark.parametrize("where", ["everything", "the tables"])
def test_a_broken_journal_is_skipped_and_left_as_it_is(tmp_path: Path, where: str) -> None:
    with closing(open_journal(tmp_path)) as broken:
        for _ in range(50):
            broken.start(started())
    whole = broken.file.read_bytes()
    broken.file.write_bytes(b"\xa5" * 9000 if where == "everything" else whole[:4096] + b"\xa5" * (len(whole) - 4096))
    before = broken.file.read_bytes()
    with closing(open_journal(tmp_path)) as mine:
        assert mine.file != broken.file
    with closing(open_journal(tmp_path)) as again:
        assert again.file == mine.file
    assert broken.file.read_bytes() == before


def test_somebody_s_file_of_another_name_is_no_journal(tmp_path: Path) -> None:
    notes = tmp_path / "notes.journal"
    notes.write_text("")
    with closing(open_journal(tmp_path)) as mine:
        assert mine.file != notes
    assert notes.read_bytes() == b""


@pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with closing(open_journal(elsewhere)) as victim:
        victim.start(started())
    here = tmp_path / "here"
    here.mkdir()
    link = here / victim.file.name
    link.symlink_to(victim.file)
    with closing(open_journal(here)) as mine:
        assert mine.file != link
    with closing(open_journal(elsewhere)) as victim_again:
        assert victim_again.ready == 1


@pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")
def test_a_journal_is_its_user_s_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(open_journal(tmp_path / "journals")) as journal:
            journal.start(started())
            modes = {file.suffix: file.stat().st_mode & 0o777 for file in journal.file.parent.iterdir()}
    finally:
        os.umask(umask)
    assert modes == {".journal": 0o600, ".journal-wal": 0o600}
    assert (tmp_path / "journals").stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "journals").touch()
    with pytest.raises(FileExistsError):
        open_journal(tmp_path / "journals")


def fill(journal: Journal) -> list[tuple[int, Call]]:
    """Start calls until there is no room for one more."""
    calls: list[tuple[int, Call]] = []
    said = ""
    while len(calls) < 10_000:
        try:
            calls.append(_start(journal))
        except JournalUnavailable as refusal:
            said = str(refusal)
            break
    assert "raise ACCOUNTING_JOURNAL_MAX_MB" in said
    return calls


def _start(journal: Journal) -> tuple[int, Call]:
    call = started(model="m" * 300)
    return journal.start(call)


def test_a_full_journal_refuses_new_calls_but_those_let_in_can_end_and_go(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path, max_bytes=2**18)) as journal:
        calls = fill(journal)
        for number, call in calls:
            journal.finish(number, ended(call))
        journal.remember("faults", "x" * 10_000)
        assert journal.ready == len(calls)
        journal.delivered([number for number, _ in calls], NOON)
        assert _start(journal)[0] == len(calls) + 1, "rows kept for replay make room"


def test_a_full_journal_can_be_continued(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path, max_bytes=2**18)) as journal:
        calls = fill(journal)
    with closing(open_journal(tmp_path, max_bytes=2**18)) as adopted:
        assert adopted.file == journal.file
        assert set(outcomes(adopted).values()) == {Outcome.UNKNOWN}
        assert adopted.ready == len(calls)


def test_a_full_journal_stays_within_its_bound_while_the_store_takes_calls(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path, max_bytes=2**18)) as journal:
        for _ in range(2000):
            number, call = _start(journal)
            journal.finish(number, ended(call))
            journal.delivered([number], NOON)
    assert journal.file.stat().st_size < 2**19


def test_delivered_rows_are_kept_for_replay_and_then_forgotten(journal: Journal) -> None:
    for at in (NOON, NOON + DAY):
        journal.delivered([journal.add(ended(started()))], at)
    assert journal.forget(NOON) == 0
    assert journal.forget(NOON + timedelta(microseconds=1)) == 1
    assert journal.forget(NOON + 2 * DAY) == 1
    assert journal.is_empty
    assert journal.highest == 2


def test_a_call_that_never_ends_keeps_no_other_from_being_forgotten(journal: Journal) -> None:
    journal.start(started())
    numbers = [journal.add(ended(started())) for _ in range(1200)]
    journal.delivered(numbers, NOON)
    assert [journal.forget(NOON + DAY) for _ in range(4)] == [500, 500, 200, 0]
    assert journal.standing(datetime.now(UTC)).open == 1


def test_numbers_go_on_after_everything_was_forgotten(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as journal:
        journal.delivered([journal.add(ended(started()))], NOON)
        journal.forget(NOON + DAY)
    with closing(open_journal(tmp_path)) as adopted:
        assert adopted.highest == 1
        assert adopted.start(started())[0] == 2


def test_a_deleted_journal_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.delete()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_call_go_on_as_they_are(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as journal:
        journal.start(started())
        journal._connection.execute("UPDATE calls SET payload = ?", (b"?",))
    with closing(open_journal(tmp_path)) as adopted:
        assert [entry.payload for entry in adopted.entries(10)] == [b"?"]


def test_a_call_that_began_before_a_report_and_is_written_after_it_begins_anew(journal: Journal) -> None:
    early = started()
    standing = journal.standing(datetime.now(UTC))
    _, written = journal.start(early)
    assert early.started_at <= standing.at <= written.started_at == id_time(written.id)
    assert written == replace(early, id=written.id, started_at=written.started_at)


def test_reports_never_say_the_same_instant_twice_though_the_clock_steps_back(tmp_path: Path) -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    with closing(open_journal(tmp_path)) as journal:
        instants = [journal.standing(noon).at, journal.standing(noon - timedelta(hours=1)).at]
    with closing(open_journal(tmp_path)) as continued:
        instants.append(continued.standing(noon - timedelta(days=1)).at)
    assert instants == sorted(set(instants))


def test_a_signal_handler_may_make_a_call_in_the_midst_of_one(journal: Journal) -> None:
    with journal.lock:
        assert journal.start(started())[0] == 1


def test_counts_that_an_interrupt_left_off_are_counted_anew(journal: Journal) -> None:
    journal.start(started())
    journal._ready, journal._open = -1, 5
    journal.recount()
    standing = journal.standing(datetime.now(UTC))
    assert (standing.open, standing.backlog, journal.ready) == (1, 0, 0)


def test_no_caller_waits_for_the_disk_while_the_log_is_copied_into_the_file(journal: Journal) -> None:
    log = journal.file.with_name(f"{journal.file.name}-wal")
    while log.stat().st_size < IDLE_LOG_BYTES:
        journal.start(started())
    journal.tidy(idle=False)
    assert log.stat().st_size >= IDLE_LOG_BYTES
    journal.tidy(idle=True)
    assert log.stat().st_size == 0


def test_a_journal_that_can_not_be_begun_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_SCHEMA", "CREATE TABLE calls (;")
    with pytest.raises(sqlite3.Error):
        open_journal(tmp_path)
    assert list(tmp_path.iterdir()) == []
