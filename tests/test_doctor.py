import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from filelock import FileLock
from sqlalchemy import Connection

from accounting import doctor, symptoms
from accounting.doctor import CHECKS, Finding, examine, found, has_race
from accounting.errors import StoreAway
from accounting.ingest import ingest
from accounting.journal import Journal as JournalFile
from accounting.journals import Seen, open_journal
from accounting.places import journal_directory, sqlite_url
from accounting.ports import Batch
from accounting.restate import Order, begin
from accounting.scheduler import JOBS, Run, claim, finish
from accounting.sources import Source
from accounting.spend import UnpricedModel
from accounting.store import is_postgresql, open_engine, sqlite, writing
from accounting.store.tables import store as the_store
from accounting.symptoms import (
    Aside,
    Bench,
    Clocks,
    JobSeen,
    JournalsSeen,
    SourcesSeen,
    StoreSeen,
    Unfinished,
    Unrolled,
    Zones,
)
from accounting.verdicts import BAD, LOOK, OK, Check, State, Verdict
from tests.books import NOON, Books, Journal, made
from tests.conftest import NewBooks
from tests.databases import Database
from tests.warehouse import ended, started

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

SOURCE = Source(
    id=1,
    journal=UUID(int=7),
    host="build-7",
    contiguous=10,
    ahead=0,
    highest=10,
    open=0,
    backlog=0,
    oldest_undelivered_at=None,
    faults={},
    first_seen_at=NOON - HOUR,
    seen_at=NOON,
    closed_at=None,
    closed_why=None,
)


def seen(**changes: Any) -> SourcesSeen:
    return SourcesSeen((replace(SOURCE, **changes),))


def run(state: str, ago: timedelta = MINUTE) -> JobSeen:
    return JobSeen("rollup", Run(1, "rollup", NOON - ago, NOON - ago, state, "disk full"), NOON - ago)


# Verdicts: each is a call.


@pytest.mark.parametrize(
    ("version", "is_hit"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_sqlite_has_the_race_before_it_was_mended(version: tuple[int, ...], is_hit: bool) -> None:
    assert has_race(version) is is_hit
    assert doctor.store(StoreSeen("sqlite:///x", "0002", False, version), NOON).state is (LOOK if is_hit else OK)


@pytest.mark.parametrize(("version", "state"), [(13, BAD), (14, OK), (18, OK)])
def test_an_old_postgresql_is_bad(version: int, state: State) -> None:
    assert doctor.store(StoreSeen("postgresql://db/books", "0002", True, (version, 3)), NOON).state is state


@pytest.mark.parametrize(
    ("size", "state"), [(None, OK), (0, OK), (64 * 2**20 - 1, OK), (64 * 2**20, LOOK), (2**30, BAD)]
)
def test_a_log_that_grows_has_a_reader_that_does_not_end(size: int | None, state: State) -> None:
    assert doctor.log(size, NOON).state is state


def test_a_silent_journal_is_bad_where_it_holds_calls() -> None:
    gone = {"seen_at": NOON - HOUR - MINUTE, "first_seen_at": NOON - 9 * HOUR}
    assert doctor.sources(seen(), NOON).state is OK
    assert doctor.sources(seen(**gone), NOON).state is LOOK
    verdict = doctor.sources(seen(**gone, backlog=3), NOON)
    assert verdict.state is BAD
    assert "journal 00000000-0000-0000-0000-000000000007 on build-7 with 3 calls" in verdict.said
    assert 'accounting sources close 00000000-0000 --why "…"' in verdict.advice


def test_a_journal_that_was_closed_is_neither_live_nor_silent() -> None:
    verdict = doctor.sources(SourcesSeen((), closed=4), NOON + 9 * HOUR)
    assert verdict == Verdict(OK, "0 journals live, 0 silent, 4 closed.")
    assert doctor.sources(SourcesSeen(()), NOON).said == "No journal has reported yet."


def test_lost_numbers_are_bad_and_name_the_journal() -> None:
    verdict = doctor.lost(seen(highest=15, backlog=2), NOON)
    assert verdict.state is BAD
    assert verdict.said.startswith("3 calls never came, most of them of journal 00000000-0000-0000-0000-000000000007")
    assert doctor.lost(seen(highest=12, backlog=2), NOON).state is OK


def test_faults_of_live_journals_are_summed_by_step() -> None:
    both = SourcesSeen((replace(SOURCE, faults={"deliver": 2}), replace(SOURCE, faults={"deliver": 1, "usage": 5})))
    verdict = doctor.faults(both, NOON)
    assert verdict.state is LOOK
    assert "usage 5×, deliver 3×" in verdict.said
    assert doctor.faults(seen(faults={"deliver": 2}, closed_at=NOON), NOON).state is OK


@pytest.mark.parametrize(
    ("age", "state"), [(timedelta(0), OK), (5 * MINUTE - MINUTE / 60, OK), (5 * MINUTE, LOOK), (HOUR, BAD)]
)
def test_delivery_is_judged_by_the_oldest_call_that_is_not_here(age: timedelta, state: State) -> None:
    verdict = doctor.undelivered(seen(backlog=1, oldest_undelivered_at=NOON - age), NOON)
    assert verdict.state is state
    assert bool(verdict.advice) is (state is not OK)


def test_delivery_of_a_silent_journal_is_not_counted_twice() -> None:
    silent = seen(
        first_seen_at=NOON - 9 * HOUR, seen_at=NOON - 2 * HOUR, oldest_undelivered_at=NOON - 3 * HOUR, backlog=1
    )
    assert doctor.undelivered(silent, NOON).state is OK


@pytest.mark.parametrize(("age", "state"), [(MINUTE, OK), (HOUR, LOOK), (900 * HOUR, LOOK)])
def test_what_waits_for_the_rollup_is_never_bad_as_reports_roll_up(age: timedelta, state: State) -> None:
    verdict = doctor.unrolled(Unrolled(2, 900, NOON - age), NOON)
    assert verdict.state is state
    assert "900 calls in 2 batches" in verdict.said
    assert doctor.unrolled(Unrolled(), NOON).state is OK


def test_a_job_that_failed_is_bad_and_one_that_is_overdue_is_looked_at() -> None:
    assert doctor.jobs((run("done"), JobSeen("deliver")), NOON).state is OK
    assert doctor.jobs((run("failed"),), NOON) == Verdict(
        BAD,
        "rollup failed at 2026-11-23 11:59:00 UTC: disk full.",
        "Mend what it says; the next run takes over what this one left.",
    )
    assert doctor.jobs((run("done", 5 * MINUTE),), NOON) == Verdict(
        LOOK, "rollup was due 5 min ago: no scheduler runs.", "accounting work"
    )
    assert doctor.jobs((JobSeen("rollup"), JobSeen("deliver")), NOON).state is OK


def test_what_was_put_aside_is_looked_at_until_it_is_settled() -> None:
    assert doctor.aside(Aside(), NOON).state is OK
    verdict = doctor.aside(Aside(rejected=2), NOON)
    assert verdict == Verdict(
        LOOK, "2 rejected calls and 0 conflicts are in no total.", "See and settle them: accounting rejected list"
    )


def test_an_unfinished_restatement_is_looked_at() -> None:
    verdict = doctor.restatements((Unfinished(1, "key-moved", "me@here", NOON - HOUR, 900, 500),), NOON)
    assert verdict.state is LOOK
    assert "key-moved by me@here, begun 60 min ago, 500 calls changed" in verdict.said


def test_unpriced_calls_name_their_models() -> None:
    models = tuple(UnpricedModel("wcode", f"m{n}", 10 - n, False) for n in range(5))
    verdict = doctor.unpriced(models, NOON)
    assert verdict.state is LOOK
    assert "40 calls in the sums of the last 31 days have no rate: wcode/m0 (10 calls)" in verdict.said
    assert verdict.said.endswith("and 2 more.")
    assert verdict.advice.startswith("accounting rates explain m0 --provider wcode. Once it has a rate")
    one = doctor.unpriced((UnpricedModel("wcode", "m", 1, False),), NOON)
    assert one.said == "1 call in the sums of the last 31 days has no rate: wcode/m (1 call)."


@pytest.mark.parametrize(
    ("ahead", "behind", "state", "said"),
    [
        (0.0, 0.0, OK, "agrees with the database's"),
        (2.0, 0.0, OK, "agrees with the database's"),
        (2.5, 0.0, LOOK, "2 s ahead of the database's"),
        (-3.0, 0.0, LOOK, "3 s behind the database's"),
        (-61.0, 0.0, BAD, "61 s behind the database's"),
        (0.0, 61.0, BAD, "A report is 61 s ahead"),
        (None, 0.0, OK, "agrees with the reports'"),
        (None, 3.0, LOOK, "A report is 3 s ahead"),
    ],
)
def test_a_clock_is_judged_by_how_far_it_is_off(ahead: float | None, behind: float, state: State, said: str) -> None:
    off = None if ahead is None else timedelta(seconds=ahead)
    verdict = doctor.clocks(Clocks(off, timedelta(seconds=behind)), NOON)
    assert (verdict.state, said in verdict.said) == (state, True)


def test_a_zone_without_rules_is_bad() -> None:
    assert doctor.zones(Zones("2026.6"), NOON).state is OK
    assert doctor.zones(Zones("2026.6", ("Mars/Base",)), NOON).state is BAD


def test_a_folder_in_which_no_journal_can_be_begun_is_bad() -> None:
    assert doctor.journals(JournalsSeen(Path("/j"), 100, refusal="/j is no folder"), NOON).state is BAD


@pytest.mark.parametrize(("size", "state"), [(79, OK), (80, LOOK), (100, BAD)])
def test_a_journal_is_judged_by_how_full_it_is(size: int, state: State) -> None:
    assert doctor.journals(JournalsSeen(Path("/j"), 100, (Seen(Path("a"), size),)), NOON).state is state


def test_a_journal_that_cannot_be_read_is_bad() -> None:
    broken = Seen(Path("/j/a.journal"), 5, trouble="file is not a database")
    verdict = doctor.journals(JournalsSeen(Path("/j"), 100, (broken,)), NOON)
    assert verdict.state is BAD
    assert "a.journal: file is not a database" in verdict.said


@pytest.mark.parametrize(("age", "state"), [(MINUTE, LOOK), (HOUR, BAD)])
def test_calls_of_a_process_that_is_gone_are_bad_after_an_hour(age: timedelta, state: State) -> None:
    orphan = Seen(Path("a"), 5, waiting=3, oldest=NOON - age)
    verdict = doctor.orphans(JournalsSeen(Path("/j"), 100, (orphan, Seen(Path("b"), 5))), NOON)
    assert (verdict.state, verdict.advice) == (state, "accounting deliver")
    assert verdict.said.startswith("3 calls in 1 journal whose process is gone")


def test_calls_for_another_store_are_looked_at() -> None:
    verdict = doctor.elsewhere(JournalsSeen(Path("/j"), 100, elsewhere={"sqlite:////a b": 2}), NOON)
    assert verdict.state is LOOK
    assert verdict.advice.endswith("accounting deliver --meant-for 'sqlite:////a b'")


# Looking: at real stores and real journals.


@pytest.fixture
def books(new_books: NewBooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path / "journals"))
    return new_books("Asia/Shanghai")


def bench(books: Books) -> Bench:
    return Bench(books.url, books.engine, NOON)


def findings(some: Bench) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in examine(some)}


def test_in_healthy_books_nothing_is_bad(books: Books) -> None:
    books.deliver(made())
    books.roll()
    all_ = findings(bench(books))
    assert list(all_) == [check.name for check in CHECKS]
    assert {name for name, verdict in all_.items() if verdict.state is not OK} <= {"store"}


def test_a_list_of_providers_that_cannot_be_read_is_bad_as_no_client_can_be_metered(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    file = tmp_path / "providers.toml"
    assert findings(bench(books))["providers"] == (
        OK,
        f"Providers go by the shipped list and none of your own, as there is no {file}.",
        "",
    )
    file.write_text("[[provider]]\nhosts = 3")
    monkeypatch.setenv("ACCOUNTING_PROVIDERS", str(file))
    state, said, advice = findings(bench(books))["providers"]
    assert state is BAD
    assert f"{file} is no providers file" in said
    assert "move it away" in advice
    file.unlink()
    assert "providers.toml: No such file" in findings(bench(books))["providers"].said


def test_each_trouble_in_the_books_is_found(books: Books) -> None:
    books.deliver(made(NOON - HOUR), made(NOON, 2, request_model="nobody/knows"), still_open=3, now=NOON - 2 * HOUR)
    books.roll()
    books.deliver(made(NOON - HOUR, http_status=500), made(NOON + 48 * HOUR), made(NOON, 5), now=NOON - 2 * HOUR)
    gap = Journal("gap").batch(made(NOON, 8)).source
    ingest(books.engine, Batch(replace(gap, highest=5, faults={"usage": 3})), NOON)
    with writing(books.engine) as conn:
        begin(conn, Order("moved", {}, "me", "why"), NOON)
        broken_run(conn)
    states = {name: verdict.state for name, verdict in findings(bench(books)).items() if verdict.state is not OK}
    states.pop("store", None)
    assert states == {
        "sources": BAD,
        "lost": BAD,
        "faults": LOOK,
        "rollup": LOOK,
        "jobs": BAD,
        "aside": LOOK,
        "restatements": LOOK,
        "unpriced": LOOK,
    }


def broken_run(conn: Connection) -> None:
    run_id = claim(conn, JOBS[0], NOON, "me")
    assert run_id is not None
    finish(conn, JOBS[0], run_id, "me", "failed", "disk full", NOON)


def test_a_report_from_the_future_tells_of_a_wrong_clock(books: Books) -> None:
    books.deliver(made(), now=NOON.replace(year=2200))
    assert findings(bench(books))["clock"].state is BAD


def test_a_zone_that_nobody_knows_is_found(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.execute(the_store.update().values(zone="Mars/Base"))
    assert findings(bench(books))["zones"].state is BAD


def test_a_check_that_fails_by_a_fault_of_its_own_says_so_and_the_others_go_on(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_bench: Bench) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(doctor, "CHECKS", (Check("broken", fail, doctor.zones), *CHECKS[-2:]))
    all_ = list(examine(bench(books)))
    assert all_[0] == Finding(
        "broken",
        Verdict(
            BAD,
            "This check failed by a fault of its own (ZeroDivisionError: oh).",
            "The others stand. Please report it.",
        ),
    )
    assert [finding.check for finding in all_[1:]] == ["elsewhere", "kept"]


def test_without_a_store_that_is_the_finding_and_this_host_is_looked_at_all_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path / "journals"))
    url = database.empty()
    engine = open_engine(url)
    all_ = findings(Bench(url, engine, NOON))
    engine.dispose()
    assert list(all_) == ["store", "providers", "journals", "orphans", "elsewhere"]
    assert all_["store"].state is BAD
    assert "accounting store create" in all_["store"].said


def test_a_store_that_is_away_is_bad() -> None:
    def away(_bench: Bench) -> Any:
        raise StoreAway("The store can't be reached.")

    broken = found(Check("store", away, doctor.store), Bench("", None, NOON))  # type: ignore[arg-type]
    assert broken == Verdict(BAD, "The store can't be reached.")


def test_a_store_of_another_schema_is_bad(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    verdict = findings(bench(books))["store"]
    assert verdict.state is BAD
    assert "accounting store upgrade" in verdict.said


def test_a_table_that_somebody_has_locked_is_a_finding_and_keeps_nobody_waiting(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symptoms, "PATIENCE", timedelta(milliseconds=50))
    with writing(books.engine) as conn:
        if is_postgresql(conn):
            conn.exec_driver_sql("LOCK TABLE spend_days, batches IN ACCESS EXCLUSIVE MODE")
            all_ = findings(bench(books))
            assert {"rollup", "unpriced"} == {name for name, verdict in all_.items() if verdict.state is BAD}
        else:
            assert findings(bench(books))["writers"].state is LOOK


def test_a_file_that_another_program_has_to_itself_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("PRAGMA busy_timeout = 50",))
    books = Books(tmp_path)
    books.close()
    with closing(sqlite3.connect(tmp_path / "books.sqlite3", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        verdict = findings(bench(books))["store"]
    books.close()
    assert verdict == Verdict(
        BAD,
        "The database refused: database is locked.",
        "A backup, a migration or another program may hold it: end that, and look again.",
    )


# Journals on this host.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the journals for the store in this test's folder are."""
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", str(tmp_path / "journals"))
    return journal_directory(sqlite_url(tmp_path / "books.sqlite3"))


def with_two_calls(folder: Path) -> JournalFile:
    journal = open_journal(folder)
    number, call = journal.start(started())
    journal.finish(number, ended(call))
    journal.start(started())
    journal.remember("destination", "sqlite:////else")
    return journal


def here(tmp_path: Path) -> JournalsSeen:
    url = sqlite_url(tmp_path / "books.sqlite3")
    return symptoms.journals(Bench(url, open_engine(url), NOON))


def test_a_journal_in_use_is_no_orphan_and_is_left_to_its_owner(folder: Path, tmp_path: Path) -> None:
    journal = with_two_calls(folder)
    (one,) = here(tmp_path).seen
    assert (one.is_owned, one.waiting, one.trouble) == (True, 0, "")
    journal.start(started())
    journal.close()


def test_looking_at_an_orphan_changes_nothing_in_it(folder: Path, tmp_path: Path) -> None:
    with_two_calls(folder).close()
    for _ in range(2):
        (one,) = here(tmp_path).seen
        assert (one.is_owned, one.waiting, one.destination) == (False, 2, "sqlite:////else")
    file = sqlite3.connect(one.file)
    assert file.execute("SELECT count(*) FROM calls WHERE ended = 0").fetchone() == (1,)
    file.close()


def test_calls_for_another_store_are_counted_by_its_url(folder: Path, tmp_path: Path) -> None:
    with_two_calls(folder.parent / "another").close()
    assert here(tmp_path).elsewhere == {"sqlite:////else": 2}


def test_a_file_that_is_no_journal_any_more_is_trouble(folder: Path, tmp_path: Path) -> None:
    with_two_calls(folder).close()
    (file,) = folder.glob("*.journal")
    file.write_bytes(b"x" * 5000)
    assert here(tmp_path).seen[0].trouble == "file is not a database"


def test_a_journal_of_a_newer_version_is_trouble(folder: Path, tmp_path: Path) -> None:
    with_two_calls(folder).close()
    (file,) = folder.glob("*.journal")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer version" in here(tmp_path).seen[0].trouble


def test_a_folder_that_is_a_file_is_no_place_for_journals(folder: Path, tmp_path: Path) -> None:
    folder.parent.write_text("")
    assert here(tmp_path).refusal == f"{folder.parent} is no folder"


def test_writers_that_wait_for_a_lock_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symptoms, "PATIENCE", timedelta(milliseconds=50))
    url = sqlite_url(tmp_path / "books.sqlite3")
    here_ = Bench(url, open_engine(url), NOON)
    assert not symptoms.writers_wait(here_)
    with FileLock(tmp_path / "books.sqlite3.lock"):
        assert symptoms.writers_wait(here_)
    assert not symptoms.writers_wait(here_)
