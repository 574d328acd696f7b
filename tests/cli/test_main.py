import subprocess
import sys

import pytest

import accounting
from accounting import cli
from tests.books import Books, made
from tests.cli.conftest import Run

COMMANDS = ("report", "calls", "verify", "work", "rollup", "deliver", "rates", "sources", "store", "demo", "version")


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

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ZeroDivisionError):
        run("version")


def test_a_reader_that_leaves_early_ends_the_command_quietly(books: Books) -> None:
    books.deliver(*(made(number=number) for number in range(2, 500)))
    program = f"{sys.executable} -c 'from accounting.cli import main; main()' calls --limit 500 --json | head -1"
    ended = subprocess.run(program, shell=True, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("{\n", "")


def test_a_name_that_the_terminal_cannot_show_is_spelt_out(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.deliver(made(project="搜索"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    program = [sys.executable, "-c", "from accounting.cli import main; main()", "calls"]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert r"\u641c\u7d22" in ended.stdout
