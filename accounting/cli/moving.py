"""`accounting store copy`, `backup` and `restore`: the books in another place, and back."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from accounting import delivery
from accounting.backup import Holdings, back_up
from accounting.backup import restore as put_back
from accounting.cli.books import books, counting, measuring, now, out
from accounting.cli.store import app
from accounting.errors import ConfigurationError
from accounting.journals import others, survey
from accounting.moving import Copied
from accounting.moving import copy as carry
from accounting.places import journal_directory, kind, without_secret
from accounting.settings import Settings
from accounting.sheets import counted, instant, say
from accounting.store import file_of, is_postgresql, named, open_engine, schema

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="A SQLite file, whatever the store is.")]


@app.command()
def copy(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where to: a SQLite file, or an empty PostgreSQL database.")
    ],
) -> None:
    """Copy the books to another store, SQLite or PostgreSQL, and compare every row.

    Programs may go on writing to the old one, which stays as it is. A copy that was interrupted goes on when asked
    for again.
    """
    target = open_engine(url, given_by="URL")
    _refuse_without_folder(target)
    with books() as engine:
        try:
            with measuring() as told:
                copied = carry(engine, target, told)
            _say_copied(copied, engine, target)
        finally:
            target.dispose()
    if copied.difference is not None:
        raise typer.Exit(1)


@app.command()
def backup(file: BackupFile) -> None:
    """Write the books into a file of their own, while programs go on writing to them."""
    engine = open_engine(Settings().store_url)
    try:
        with measuring() as told:
            held = back_up(engine, file, now(), told)
    finally:
        engine.dispose()
    say(out(), f"Backed up {_told(held)}, to {file}.")


@app.command()
def restore(
    file: BackupFile,
    replace: Annotated[bool, typer.Option(help="Move the store that is there aside, under the date.")] = False,
    was: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the lost store was, if programs wrote to it by another URL."),
    ] = None,
) -> None:
    """Put the books of a backup in the store's place, and have journals send what it lacks and they still keep."""
    url = Settings().store_url
    if was is not None:
        kind(was, "--was")
    engine = open_engine(url)
    try:
        with measuring() as told:
            restored = put_back(file, engine, now(), replace=replace, progress=told)
    finally:
        engine.dispose()
    say(out(), f"Restored {_told(restored.held)}, to {without_secret(url)}.")
    if restored.aside is not None:
        say(out(), f"The store that was there is {restored.aside}.")
    _send_again(url)
    say(
        out(),
        "Programs that run send what the store lacks within a minute. On other hosts: accounting deliver --replay",
    )
    if was is not None:
        _send_again(url, was)
        _say_elsewhere(shlex.quote(without_secret(was)))
    elif restored.aside is None:
        _say_elsewhere("OLD")
        _say_kept(url)


def _send_again(url: str, was: str | None = None) -> None:
    with counting("Delivering again") as told:
        drained = delivery.deliver_orphans(url, told, was, again=True)
    what = "still keep" if was is None else f"keep of what went to {without_secret(was)}"
    say(
        out(),
        f"Sent again what ended programs on this host {what}: {counted(drained.calls, 'call')} from "
        f"{counted(drained.journals, 'journal')}.",
    )


def _say_elsewhere(old: str) -> None:
    say(
        out(),
        f"What programs sent to the lost store by another URL{', OLD,' if old == 'OLD' else ''} they keep for that. "
        "Start them again with the new one; then, on each host:",
        f"    accounting deliver --replay --meant-for {old}",
    )


def _say_kept(url: str) -> None:
    """What could be meant by OLD, as far as this host knows."""
    kept: Counter[str] = Counter()
    for folder in others(journal_directory(url)):
        for seen in survey(folder, {}):
            kept[seen.destination or str(folder)] += seen.kept + seen.waiting
    for place, calls in (+kept).items():
        say(out(), f"Ended programs on this host keep {counted(calls, 'call')} for {place}.")


def _refuse_without_folder(target: Engine) -> None:
    """A mistyped path must not make folders, perhaps on another disk than was meant."""
    if not is_postgresql(target) and not (folder := file_of(target).parent).is_dir():
        raise ConfigurationError(f"There is no folder {folder}; make it first.")


def _told(held: Holdings) -> str:
    if held.schema != schema.HEAD:
        return f"{counted(held.calls, 'call')}, with schema {held.schema} as it is"
    until = "nobody has reported yet" if held.until is None else f"complete until {instant(held.until)}"
    return f"{counted(held.calls, 'call')}, {until}"


def _say_copied(copied: Copied, source: Engine, target: Engine) -> None:
    if copied.difference is not None:
        say(
            out(),
            f"The copy {named(target)} is not the same as the books, and can't be used: {copied.difference}.",
            "Remove it and copy again; if it happens again, it is a fault of this program.",
        )
        return
    calls = copied.rows["calls"]
    others = sum(copied.rows.values()) - calls
    secret = " (with its user and password)" if is_postgresql(target) else ""
    say(
        out(),
        f"Copied {counted(calls, 'call')} and {counted(others, 'other row')} to {named(target)}; each row is the same.",
        f"Now set ACCOUNTING_STORE_URL to {named(target)}{secret} for every program, and start them again.",
        "Then bring, on each host, what went to the old store after it was copied, or was still on its way there:",
        f"    accounting deliver --meant-for {shlex.quote(named(source))}",
    )
