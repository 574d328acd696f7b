import errno
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
import typer

import accounting
from accounting import cli
from accounting.store.tables import spend_days
from tests.books import NOON, Books, made
from tests.cli.conftest import Run

COMMANDS = (
    "report",
    "calls",
    "verify",
    "extract",
    "work",
    "rollup",
    "deliver",
    "rates",
    "sources",
    "store",
    "demo",
    "version",
)


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("version").out == f"accounting {accounting.__version__}\n"


def test_help_names_every_command(run: Run) -> None:
    text = run("--help").out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "rates load", "rates show", "sources close", "store upgrade"])
def test_every_command_has_help(run: Run, command: str) -> None:
    ran = run(*command.split(), "--help")
    assert ran.code == 0
    assert "Usage: accounting" in ran.out


def test_a_fault_of_this_program_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(prog_name: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "program", lambda words: broken)
    with pytest.raises(ZeroDivisionError):
        run("version")


def interrupted(prog_name: str) -> None:
    raise KeyboardInterrupt


def interrupted_and_then_closed(prog_name: str) -> None:
    try:
        raise KeyboardInterrupt
    finally:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.close()
            connection.execute("ROLLBACK")


def interrupted_in_a_command(prog_name: str) -> None:
    app = typer.Typer()
    app.command()(lambda: interrupted(prog_name))
    app([])


@pytest.mark.parametrize("app", [interrupted, interrupted_and_then_closed, interrupted_in_a_command])
def test_an_interrupt_ends_with_130_and_a_line_whatever_it_hits(
    run: Run, monkeypatch: pytest.MonkeyPatch, app: Callable[[str], None]
) -> None:
    monkeypatch.setattr(cli, "program", lambda words: app)
    ran = run("store", "copy")
    assert ran.code == 130
    assert ran.err == "Interrupted; what was done is whole, and the same command can be given again.\n"


@pytest.mark.timeout(20)
def test_an_error_whose_causes_go_round_in_a_ring_ends_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = OSError(errno.ENOSPC, "No space left on device"), ValueError()
    first.__cause__, last.__context__ = last, first

    def failed(prog_name: str) -> NoReturn:
        raise first

    monkeypatch.setattr(cli, "program", lambda words: failed)
    monkeypatch.setattr(cli, "_let_go_of_stdout", lambda: None)
    ran = run("store", "copy")
    assert (ran.code, ran.err) == (
        2,
        "Can't write: No space left on device. Make room, or let the output go elsewhere.\n",
    )


PROGRAM = f"{sys.executable} -c 'from accounting.cli import main; main()'"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    bash = ["bash", "-c", f"set -o pipefail; {command}"]  # pipefail: a pipe ends as the first of its programs to fail
    return subprocess.run(bash, capture_output=True, text=True, timeout=60)


def test_a_reader_that_leaves_early_ends_the_command_quietly_as_sigpipe_would(books: Books) -> None:
    books.deliver(*(made(NOON - timedelta(days=number)) for number in range(500)))
    ended = shell(f"{PROGRAM} calls --limit 500 | head -1")
    assert (ended.returncode, ended.stderr) == (141, "")
    assert ended.stdout.startswith("Calls, all days (UTC)")


@pytest.mark.parametrize("command", ["report", "report --json", "verify", "--help"])
def test_a_reader_that_left_before_the_first_line_hears_no_complaint(books: Books, command: str) -> None:
    books.deliver(made())
    ended = shell(f"{{ sleep 1; {PROGRAM} {command}; }} | true")
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_reader_that_takes_the_first_of_a_few_lines_ends_nothing(books: Books) -> None:
    books.deliver(made())
    ended = shell(f"{PROGRAM} version | (head -1; cat)")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_books_that_do_not_balance_still_end_a_pipe_with_1(books: Books) -> None:
    books.deliver(made())
    books.roll()
    books.overwrite(spend_days, "input_tokens", 1)
    assert shell(f"{PROGRAM} verify | cat").returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("command", ["report", "report --json", "version"])
def test_an_output_without_room_is_answered_with_a_sentence(books: Books, command: str) -> None:
    books.deliver(made())
    ended = shell(f"{PROGRAM} {command} > /dev/full")
    assert ended.returncode == 2
    assert ended.stderr == "Can't write: No space left on device. Make room, or let the output go elsewhere.\n"


def test_a_name_that_the_terminal_cannot_show_is_spelt_out(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.deliver(made(project="搜索"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    program = [sys.executable, "-c", "from accounting.cli import main; main()", "calls"]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert r"\u641c\u7d22" in ended.stdout


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("version", ["sqlalchemy", "pydantic_settings", "httpx", "apscheduler"]),
        ("rates", ["accounting.demo", "accounting.simulator", "apscheduler"]),
    ],
)
def test_a_command_does_not_wait_for_what_only_others_need(command: str, unused: list[str]) -> None:
    code = (
        f"import sys; from accounting.cli import program; sys.argv[1:] = [{command!r}, '--help']\n"
        "try: program(sys.argv[1:])()\n"
        f"except SystemExit: print(sorted(set({unused!r}) & sys.modules.keys()))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "[]"
