"""The command line, one file a group of commands. Settings, the clock and the console are read here and nowhere below.

Exit codes: 0 done; 1 the books don't balance, a job failed, the doctor found something bad, no rate holds, or an answer
tells no usage; 2 it could not be done, and a sentence says why; 130 it was interrupted; 141 the reader of the pipe left
before the end, as with any program that SIGPIPE ends.
"""

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import typer

from accounting import __version__
from accounting.errors import AccountingError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What a write fails with that a person can mend."""

_INTERRUPTED = 128 + 2
"""What a shell makes of a program that SIGINT (2) ended."""

_UNREAD = 128 + 13
"""What a shell makes of a program that SIGPIPE (13) ended."""

_COMMANDS = {
    "report": "report:report",
    "calls": "call:app",
    "verify": "verify:verify",
    "rebuild": "rebuild:rebuild",
    "doctor": "doctor:doctor",
    "extract": "extract:extract",
    "price": "price:price",
    "work": "work:work",
    "rollup": "work:rollup",
    "deliver": "work:deliver",
    "learn": "work:learn",
    "demo": "demo:demo",
    "rates": "rates:app",
    "fx": "fx:app",
    "rerate": "rerate:rerate",
    "projects": "projects:app",
    "budgets": "budgets:app",
    "keys": "handovers:app",
    "sources": "sources:app",
    "rejected": "putaside:rejected_app",
    "conflicts": "putaside:conflicts_app",
    "restatements": "restatements:app",
    "store": "moving:app",
}
"""Where each is: a module here, and a function or a group of commands in it. Only what is run is imported: all of them
take most of a second."""


def program(words: Sequence[str]) -> typer.Typer:
    """The program for these words; all of it where they begin with no command of its own."""
    app = typer.Typer(
        help="The books of a team that buys tokens: what was spent, by key, project and model.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_all)
    for name in _named(words):
        _add(app, name)
    app.command()(version)
    return app


def _named(words: Sequence[str]) -> Iterable[str]:
    if words[:1] == ["version"]:
        return ()
    return words[:1] if words and words[0] in _COMMANDS else _COMMANDS


def _add(app: typer.Typer, name: str) -> None:
    module, attribute = _COMMANDS[name].split(":")
    found = getattr(import_module(f"accounting.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name)
    else:
        app.command(name)(found)


def _all() -> None:
    """Of all commands: makes it a program of several, where only one is imported."""


def version() -> None:
    """Print the version of this program."""
    typer.echo(f"accounting {__version__}")


def main() -> None:
    """Run the command line; what a person can mend is told in a sentence, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name the terminal can't show must not end a report
    try:
        _run()
    except AccountingError as error:
        _give_up(str(error))
    except _database_errors() as error:
        # Its subclasses but OperationalError are faults of this program, and those keep their traceback.
        if type(error).__name__ not in ("DatabaseError", "OperationalError"):
            raise
        _give_up(f"The store can't be used: {error.orig}. Nothing was changed by the step that failed.")
    except SystemExit as end:
        # Typer and Rich both answer a broken pipe with 1, which here means that the books don't balance.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _end_unread()
    except BrokenPipeError:
        _end_unread()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _let_go_of_stdout()
        _give_up(f"Can't write: {error.strerror}. Make room, or let the output go elsewhere.")


def _database_errors() -> tuple[type[Any], ...]:
    """None where no command has imported what raises them."""
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    return (sqlalchemy.DatabaseError,) if sqlalchemy else ()


def _run() -> None:
    try:
        program(sys.argv[1:])(prog_name="accounting")
    except BaseException as error:
        # Whatever it came to: an interrupt may hit a connection half-way, whose closing then fails.
        if not _is_interrupt(error):
            raise
        typer.echo("Interrupted; what was done is whole, and the same command can be given again.", err=True)
        sys.exit(_INTERRUPTED)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether it began with Ctrl-C. What a database's connection raises while it closes may go round in a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen and not isinstance(error, KeyboardInterrupt):
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt)


def _end_unread() -> NoReturn:
    _let_go_of_stdout()
    sys.exit(_UNREAD)  # not 0: what the reader missed of `accounting verify` may be that the books don't balance


def _let_go_of_stdout() -> None:
    """Nobody can read what is still to be written; without this Python complains once more while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _give_up(sentence: str) -> NoReturn:
    typer.echo(_printable(sentence), err=True)
    sys.exit(2)


def _printable(sentence: str) -> str:
    """Line by line: a name in it comes from outside, and must not steer a terminal."""
    from accounting.sheets import printable

    return "\n".join(map(printable, sentence.expandtabs().split("\n")))
