import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from accounting import moving
from accounting.delivery import Faults, hand_over
from accounting.ingest import StoreDestination
from accounting.journals import open_journal
from accounting.moving import Copied, Difference
from accounting.places import journal_directory, sqlite_url, without_secret
from accounting.store import file_of, tables
from tests.books import Books, made
from tests.cli.conftest import Ran, Run
from tests.databases import Database, PostgresDatabases
from tests.full_books import contents, contents_but_for_a_restore, fill
from tests.warehouse import ended, started


def test_copy_says_what_it_copied_and_what_to_do_next(run: Run, books: Books, postgresql: PostgresDatabases) -> None:
    fill(books)
    calls = len(books.rows(tables.calls))
    there = postgresql.empty()
    shown = without_secret(there)
    said = run("store", "copy", there).out
    assert said.startswith(f"Copied {calls} calls and ")
    assert f"set ACCOUNTING_STORE_URL to {shown} " in said
    assert said.endswith(f"    accounting deliver --meant-for {books.url}\n")
    assert contents(there) == contents(books.url)


def test_what_went_to_the_old_store_meanwhile_comes_by_the_command_that_copy_names(
    run: Run, books: Books, postgresql: PostgresDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = postgresql.empty()
    journal = open_journal(journal_directory(books.url))
    old = StoreDestination(books.url)
    journal.add(ended(started()))
    hand_over(journal, old, Faults())
    run("store", "copy", there)
    journal.add(ended(started()))
    hand_over(journal, old, Faults())
    journal.add(ended(started()))
    journal.close()
    old.close()
    monkeypatch.setenv("ACCOUNTING_STORE_URL", there)
    assert run("deliver", "--meant-for", books.url).code == 0
    assert len(contents(there)["calls"]) == 3


def test_a_copy_that_is_not_the_same_names_the_row_and_exits_with_1(
    run: Run, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = range(2, len(tables.calls.columns) - 1)
    one, other = ("a1", 0, 1, *rest), ("a1", 0, 77, *rest)
    found = Copied({"calls": 0}, Difference("calls", {"id": "a1"}, one, other))
    monkeypatch.setattr(moving._Copying, "run", lambda _: found)
    ran = run("store", "copy", sqlite_url(tmp_path / "there.sqlite3"))
    assert ran.code == 1
    assert "can't be used: calls, the row of id a1: source_id is 77 and not 1." in ran.out


def test_a_place_with_books_in_it_is_left_alone(run: Run, books: Books, tmp_path: Path) -> None:
    with_books = Books(tmp_path / "other")
    with_books.deliver(made())
    with_books.close()
    ran = run("store", "copy", with_books.url)
    assert (ran.code, ran.out) == (2, "")
    assert "has a store in it already" in ran.err


COPY = """
import itertools, os, signal, sys
from accounting import moving
from accounting.cli import main

last, turns, transact = int(sys.argv.pop()), itertools.count(1), moving.transact

def deadly(engine, work):
    if next(turns) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return transact(engine, work)

moving.ROWS_AT_ONCE = 10
moving.transact = deadly
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_copy_that_was_killed_goes_on_when_asked_for_again(run: Run, books: Books, tmp_path: Path) -> None:
    fill(books)
    there = sqlite_url(tmp_path / "there.sqlite3")
    for turn in (2, 4, 6):
        command = [sys.executable, "-c", COPY, "store", "copy", there, str(turn)]
        killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert "not finished" in run_at(run, there).err
    assert run("store", "copy", there).code == 0
    assert contents(there) == contents(books.url)


def run_at(run: Run, url: str) -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCOUNTING_STORE_URL", url)
        return run("report")


def test_a_backup_and_its_way_back(run: Run, books: Books, tmp_path: Path) -> None:
    fill(books)
    present = contents(books.url)
    file = tmp_path / "monday.sqlite3"
    said = run("store", "backup", file).out
    assert said.startswith(f"Backed up {len(present['calls'])} calls, complete until ")
    assert said.endswith(f", to {file}.\n")
    books.deliver(made(number=77))
    assert run("store", "restore", file).code == 2
    said = run("store", "restore", file, "--replace").out
    assert f"Restored {len(present['calls'])} calls, " in said
    assert "The store that was there is " in said
    assert "Sent again what ended programs on this host still keep: 0 calls from 0 journals." in said
    assert "accounting deliver --replay" in said
    assert contents_but_for_a_restore(books.url) == present


def test_a_restored_store_gets_back_what_ended_programs_still_keep(run: Run, books: Books, tmp_path: Path) -> None:
    file = tmp_path / "monday.sqlite3"
    run("store", "backup", file)
    journal = open_journal(journal_directory(books.url))
    for _ in range(3):
        journal.add(ended(started()))
    destination = StoreDestination(books.url)
    hand_over(journal, destination, Faults())
    journal.close()
    destination.close()
    assert "3 calls from 1 journal" in run("store", "restore", file, "--replace").out
    assert len(contents(books.url)["calls"]) == 3
    assert run("deliver").out == "Delivered 0 calls from 0 journals.\n", "nothing is lost any more"
    assert run("deliver", "--replay").out == "Delivered 3 calls from 1 journal.\n"
    assert len(contents(books.url)["calls"]) == 3


def program(url: str, calls: int) -> None:
    """A program that ends once it has delivered so many calls to the store at the URL."""
    journal, destination = open_journal(journal_directory(url)), StoreDestination(url)
    journal.remember("destination", without_secret(url))
    for _ in range(calls):
        journal.add(ended(started()))
    hand_over(journal, destination, Faults())
    journal.close()
    destination.close()


def checked(run: Run, name: str) -> dict[str, str]:
    """What the doctor says to the check of that name."""
    found: list[dict[str, str]] = json.loads(run("doctor", "--json").out)["checks"]
    (check,) = (check for check in found if check["check"] == name)
    return check


def test_books_restored_to_another_database_get_back_what_was_kept_for_the_lost_one(
    run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, new, file = database.store(), database.empty(), tmp_path / "monday.sqlite3"
    monkeypatch.setenv("ACCOUNTING_STORE_URL", lost)
    program(lost, 3)
    run("store", "backup", file)
    program(lost, 4)
    monkeypatch.setenv("ACCOUNTING_STORE_URL", new)
    said = run("store", "restore", file, "--was", lost).out
    assert "Sent again what ended programs on this host keep of what went to " in said
    assert ": 7 calls from 1 journal." in said
    assert said.endswith(f"    accounting deliver --replay --meant-for {shlex.quote(without_secret(lost))}\n")
    assert len(contents(new)["calls"]) == 7
    assert checked(run, "kept")["state"] == "ok"


def test_without_that_url_the_restore_and_the_doctor_name_what_this_host_keeps(
    run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, new, file = database.store(), database.empty(), tmp_path / "monday.sqlite3"
    unrelated = database.store()
    monkeypatch.setenv("ACCOUNTING_STORE_URL", lost)
    program(lost, 3)
    program(unrelated, 2)
    run("store", "backup", file)
    program(lost, 4)
    monkeypatch.setenv("ACCOUNTING_STORE_URL", new)
    said = run("store", "restore", file).out
    assert "    accounting deliver --replay --meant-for OLD\n" in said
    assert f"Ended programs on this host keep 7 calls for {without_secret(lost)}.\n" in said
    check = checked(run, "kept")
    advice = f"accounting deliver --meant-for {shlex.quote(without_secret(lost))}"
    assert (check["state"], check["advice"]) == ("look", advice)
    assert check["said"].startswith("The store lacks 4 calls that went to ")
    run("deliver", "--meant-for", lost)
    assert len(contents(new)["calls"]) == 7
    assert checked(run, "kept")["state"] == "ok"


def test_the_doctor_tells_who_still_keeps_what_went_to_the_old_store_after_the_copy(
    run: Run, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(books.url, 2)
    there = sqlite_url(tmp_path / "there.sqlite3")
    run("store", "copy", there)
    monkeypatch.setenv("ACCOUNTING_STORE_URL", there)
    assert checked(run, "kept")["state"] == "ok"
    program(books.url, 1)
    assert checked(run, "kept")["advice"] == f"accounting deliver --meant-for {books.url}"


def test_calls_that_the_store_lost_and_a_journal_keeps_are_bad(run: Run, books: Books, tmp_path: Path) -> None:
    program(books.url, 2)
    run("store", "backup", tmp_path / "monday.sqlite3")
    program(books.url, 3)
    books.close()  # and with it the log is gone
    (tmp_path / "monday.sqlite3").rename(file_of(books.engine))
    check = checked(run, "kept")
    assert (check["state"], check["advice"]) == ("bad", "accounting deliver --replay")
    assert check["said"].startswith("The store lacks 3 calls ")
    run("deliver", "--replay")
    assert checked(run, "kept")["state"] == "ok"


def test_a_lost_store_is_named_by_a_url(run: Run, books: Books, tmp_path: Path) -> None:
    ran = run("store", "restore", tmp_path / "monday.sqlite3", "--was", "production")
    assert ran.code == 2
    assert ran.err.startswith("--was is no URL; expected one like sqlite:///")


@pytest.mark.parametrize("url", ["garbage", "sqlite:////tmp/x.db?mode=ro", "postgresql://me:p@ss@host/books"])
def test_a_place_that_is_no_url_is_told_by_the_argument(run: Run, books: Books, url: str) -> None:
    ran = run("store", "copy", url)
    assert ran.code == 2
    assert ran.err.startswith("URL ")
    assert "ACCOUNTING_STORE_URL" not in ran.err


def test_a_copy_makes_no_folders(run: Run, books: Books, tmp_path: Path) -> None:
    ran = run("store", "copy", sqlite_url(tmp_path / "none" / "x.db"))
    assert (ran.code, ran.err) == (2, f"There is no folder {tmp_path / 'none'}; make it first.\n")
    assert not (tmp_path / "none").exists()


def test_only_a_database_has_a_user_and_a_password(run: Run, books: Books, tmp_path: Path) -> None:
    assert "password" not in run("store", "copy", sqlite_url(tmp_path / "there.sqlite3")).out
