"""`accounting keys`: the API keys that call, and which project pays for each."""

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, func, select

from accounting import credentials, keys, periods, projects, stamps
from accounting.cli.books import AsJson, books, now, out, put_json, roll_up
from accounting.cli.spans import books_zone
from accounting.errors import ConfigurationError
from accounting.keys import Assignment, Key
from accounting.projects import UNASSIGNED
from accounting.settings import whoami
from accounting.sheets import Cell, Column, Sheet, counted, instant, printable, say, show
from accounting.spend import SpendLine, spend
from accounting.spend_sheet import money
from accounting.store import reading
from accounting.store.tables import spend_days

app = typer.Typer(help="API keys: their names, and which project pays for each.", no_args_is_help=True)

_MOST_READ = 64 * 1024

KeyText = Annotated[
    str, typer.Argument(metavar="KEY", help="Its last four, the start of its fingerprint, or its name.")
]


@dataclass(frozen=True, slots=True)
class Standing:
    """A key with who pays for it, now and planned, and what it called and spent in the running month."""

    key: Key
    assignments: tuple[Assignment, ...]
    month: SpendLine
    last_on: date | None

    def payer(self, at: datetime) -> str:
        turns = [each.project for each in self.assignments if each.since <= at]
        return turns[-1] if turns else UNASSIGNED


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Each key: its project, calls and spend of the running month, and when it was first and last seen."""
    standings, month = _now_standing()
    if as_json:
        put_json({"month": f"{month:%Y-%m}", "keys": [_fields(standing) for standing in standings]})
    elif standings:
        show(out(), _sheet(standings))
    else:
        say(out(), "No key yet: the first call makes one known, or accounting keys create.")


@app.command("show")
def show_(key: KeyText, as_json: AsJson = False) -> None:
    """One key: its name and fingerprint, and who paid for it when."""
    with books() as engine, reading(engine) as conn:
        wanted = keys.find(conn, key)
    standings, month = _now_standing()
    standing = next(standing for standing in standings if standing.key.id == wanted.id)
    if as_json:
        put_json({"month": f"{month:%Y-%m}", **_fields(standing)})
        return
    for what, said in _facts(standing, month).items():
        say(out(), f"{what:14}{said}")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it. Never the key itself.")],
    from_: Annotated[
        str, typer.Option("--from", metavar="env:VAR|file:PATH|-", help="Where the key is read from; - asks for it.")
    ],
    project: Annotated[str | None, typer.Option(help="Who pays for what it calls.")] = None,
) -> None:
    """Make a key known before its first call. Only its SHA-256 and its last four are kept."""
    credential = credentials.known_as(_secret(from_))
    with books() as engine:
        made, payer = stamps.decide(engine, lambda conn: _created(conn, credential, name, project))
    say(
        out(),
        f"Made key {printable(made.label)}, fingerprint {made.fingerprint[:8]}. "
        f"{printable(payer or UNASSIGNED)} pays for what it calls without naming a project.",
    )


def _created(
    conn: Connection, credential: credentials.Credential, name: str, project: str | None
) -> tuple[Key, str | None]:
    payer = projects.find(conn, project) if project else None
    made = keys.create(conn, credential, name, now())
    if payer:
        # Whenever they began: calls may be on their way from a journal.
        always = Assignment(keys.ALWAYS, payer.id, payer.name)
        keys.assign(conn, made, always, now(), whoami(), "made for it")
    return made, payer.name if payer else None


def _secret(reference: str) -> str:
    """The text of a key that a reference leads to; it is in no message."""
    kind, _, place = reference.partition(":")
    if reference == "-":
        return getpass.getpass("Key: ") if sys.stdin.isatty() else _one_line(sys.stdin.read(_MOST_READ), "the input")
    if kind == "env" and place:
        if place not in os.environ:
            raise ConfigurationError(f"--from {reference}: there is no {place} in the environment.")
        return _one_line(os.environ[place], reference)
    if kind == "file" and place:
        return _one_line(_contents(Path(place).expanduser()), reference)
    # Not quoted: it may be the key itself, and messages end up in logs.
    raise ConfigurationError("--from names a place, and never the key: env:VAR, file:PATH, or - for the input.")


def _contents(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_MOST_READ)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"Can't read the key from {file}: {reason}.") from error


def _one_line(text: str, place: str) -> str:
    lines = text.strip().splitlines()
    if len(lines) != 1:
        raise ConfigurationError(f"Expected one line with the key in {place}, found {counted(len(lines), 'line')}.")
    return lines[0]


@app.command()
def rename(
    key: KeyText, name: Annotated[str, typer.Argument(help="What people call it. Never the key itself.")]
) -> None:
    """Name a key, in all reports, also of the past."""
    with books() as engine:
        named = stamps.decide(engine, lambda conn: keys.rename(conn, keys.find(conn, key), name))
    say(out(), f"This key is {printable(named.label)} now.")


def _now_standing() -> tuple[list[Standing], date]:
    """All keys, and the running month in the books' zone."""
    with books() as engine:
        roll_up(engine)  # what was delivered a moment ago counts, too
        with reading(engine) as conn:
            month = periods.billed_on(now(), books_zone(conn)).replace(day=1)
            return _standings(conn, month), month


def _standings(conn: Connection, month: date) -> list[Standing]:
    all_ = keys.known(conn)
    payers = keys.payers(conn, [key.id for key in all_]).assignments
    lines = {line.id: line for line in spend(conn, "key", month, periods.next_month(month), now=now()).lines}
    last = _last(conn)
    return [
        Standing(
            key=key,
            assignments=payers.get(key.id, ()),
            month=lines.get(key.fingerprint) or SpendLine(group=key.label, id=key.fingerprint),
            last_on=last.get(key.id),
        )
        for key in all_
    ]


def _last(conn: Connection) -> Mapping[int, date]:
    """The day of each key's last call."""
    query = select(spend_days.c.key_id, func.max(spend_days.c.billed_on)).group_by(spend_days.c.key_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def _sheet(standings: list[Standing]) -> Sheet:
    currencies = sorted({code for standing in standings for code in standing.month.spent})
    columns = (
        Column("key", figure=False),
        Column("fingerprint", figure=False, spare=3),
        Column("project", figure=False),
        Column("calls this month"),
        *(Column(f"{code} this month") for code in currencies),
        Column("of unknown cost"),
        Column("first seen", figure=False, spare=2),
        Column("last seen", figure=False, spare=1),
    )
    return Sheet(columns, tuple(_cells(standing, currencies) for standing in standings))


def _cells(standing: Standing, currencies: list[str]) -> tuple[Cell, ...]:
    month = standing.month
    return (
        standing.key.label,
        standing.key.fingerprint[:8] or None,
        standing.payer(now()),
        month.calls,
        *(month.spent.get(code) for code in currencies),
        month.unpriced + month.usage_missing,
        f"{standing.key.first_seen_at:%Y-%m-%d}",
        f"{standing.last_on}" if standing.last_on else "never",
    )


def _facts(standing: Standing, month: date) -> dict[str, str]:
    key = standing.key
    turns = [f"{printable(each.project)} from {instant(each.since)} on" for each in standing.assignments]
    return {
        "key": printable(key.label),
        "fingerprint": key.fingerprint or "none: these calls sent no key",
        "first seen": instant(key.first_seen_at),
        "last seen": f"{standing.last_on or 'never'}",
        "project": "; ".join(turns) or f"{UNASSIGNED}: what it calls without naming one",
        f"{month:%Y-%m}": f"{counted(standing.month.calls, 'call')}, {money(standing.month.spent)}",
    }


def _fields(standing: Standing) -> dict[str, Any]:
    key, month = standing.key, standing.month
    return {
        "key": key.label,
        "name": key.name,
        "last4": key.last4,
        "fingerprint": key.fingerprint,
        "project": standing.payer(now()),
        "projects": [{"from": each.since, "project": each.project} for each in standing.assignments],
        "first_seen_at": key.first_seen_at,
        "last_seen_on": standing.last_on,
        "this_month": {
            "calls": month.calls,
            "unpriced": month.unpriced,
            "usage_missing": month.usage_missing,
            "spent": month.spent,
        },
    }
